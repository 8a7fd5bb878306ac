//! Whose certificates are believed: the platform's trust store, and what a person adds to it.

use std::path::{Path, PathBuf};

use reqwest::Certificate;

/// A file of `--ca-file` that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TrustError {
    /// It cannot be read.
    #[error("the certificates of `--ca-file` cannot be read")]
    #[diagnostic(code(usage::ca_file), help("name the file with the school's root certificate, in PEM form"))]
    Unreadable(#[source] std::io::Error),
    /// It holds no certificate.
    #[error("{} holds no certificate in PEM form", .0.display())]
    #[diagnostic(
        code(usage::ca_file),
        help(
            "it should have a line `-----BEGIN CERTIFICATE-----`; a DER file becomes one with `openssl x509 -inform der -in FILE -out FILE.pem`"
        )
    )]
    Empty(PathBuf),
}

/// Certificates to believe besides the platform's.
#[derive(Debug, Clone, Default)]
pub struct ExtraRoots(pub(super) Vec<Certificate>);

impl ExtraRoots {
    /// Reads every certificate of these files.
    ///
    /// # Errors
    /// When a file cannot be read or has no certificate.
    pub fn read(files: &[PathBuf]) -> Result<Self, TrustError> {
        let mut roots = Vec::new();
        for file in files {
            roots.extend(certificates(file)?);
        }
        Ok(Self(roots))
    }
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, TrustError> {
    let bytes = fs_err::read(file).map_err(TrustError::Unreadable)?;
    match Certificate::from_pem_bundle(&bytes) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TrustError::Empty(file.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("school.der");
        assert!(matches!(ExtraRoots::read(std::slice::from_ref(&file)).unwrap_err(), TrustError::Unreadable(_)));
        for text in ["", "0\u{82}\u{3}", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            fs_err::write(&file, text).unwrap();
            assert!(
                matches!(ExtraRoots::read(std::slice::from_ref(&file)).unwrap_err(), TrustError::Empty(_)),
                "{text}"
            );
        }
    }
}

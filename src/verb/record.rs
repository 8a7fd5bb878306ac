//! What an installed cluster really asked for, to a file and back.

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use crate::{
    base::file::write_atomically,
    demand::record::{Record, SCHEMA, containers},
    step::{Install, Target},
};

/// A record that cannot be made or used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RecordError {
    /// The API server does not answer.
    #[error("cannot list the cluster's pods for the record")]
    #[diagnostic(code(record::ask), help("the install itself is done; run the same command again to record it"))]
    Ask(#[from] kube::Error),
    /// The file system says no.
    #[error("cannot write the record {path}")]
    #[diagnostic(code(record::write), help("name a file in a folder that you may write to: --record FILE"))]
    Write {
        /// The file.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// There is none, or it cannot be read.
    #[error("cannot read the record {path}")]
    #[diagnostic(code(record::read), help("make one with `ztlab install --record FILE`"))]
    Read {
        /// The file.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// Not what `install --record` writes.
    #[error("{path} is no record of this ztlab: {reason}")]
    #[diagnostic(code(record::syntax), help("make a new one with `ztlab install --record FILE`"))]
    Syntax {
        /// The file.
        path: String,
        /// What is the matter with it.
        reason: String,
    },
}

/// Writes down what the cluster of an install asked for; the number of containers.
///
/// # Errors
/// When the cluster or its node does not answer, or the file cannot be written.
pub async fn write(install: &Install, path: &Path) -> miette::Result<usize> {
    let pods = Api::<Pod>::all(install.connect().await?.client.clone()).list(&ListParams::default()).await;
    let images = install.connect_node().await?.images(install.node).await?;
    let lock = install.complete.lock();
    let record = Record {
        schema: SCHEMA,
        lab: lock.name.clone(),
        lab_id: install.complete.lab_id().to_string(),
        profile: install.complete.profile().name.clone(),
        own_cluster: matches!(install.target, Target::Minikube { .. }),
        containers: containers(&pods.map_err(RecordError::Ask)?.items),
        node_images: images.into_iter().map(|(reference, id)| (reference, id.config.to_string())).collect(),
    };
    let failed = |source| RecordError::Write { path: path.display().to_string(), source };
    let text = serde_json::to_string_pretty(&record).map_err(|error| failed(error.into()))?;
    write_atomically(path, format!("{text}\n").as_bytes()).map_err(failed)?;
    Ok(record.containers.len())
}

/// Reads a record.
///
/// # Errors
/// When it is not there, or not a record.
pub fn read(path: &Path) -> Result<Record, RecordError> {
    let shown = path.display().to_string();
    let text = fs_err::read_to_string(path).map_err(|source| RecordError::Read { path: shown.clone(), source })?;
    let record: Record = serde_json::from_str(&text)
        .map_err(|error| RecordError::Syntax { path: shown.clone(), reason: error.to_string() })?;
    if record.schema != SCHEMA {
        let reason = format!("expected schema {SCHEMA}, found {}", record.schema);
        return Err(RecordError::Syntax { path: shown, reason });
    }
    Ok(record)
}

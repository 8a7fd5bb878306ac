//! One context of a kubeconfig as a kubeconfig of its own.

use std::path::Path;

use kube::config::{Kubeconfig, KubeconfigError};

/// What of a kubeconfig one context needs: itself, its cluster and its user, and it is the current one. `None` when
/// there is no such context, or no kubeconfig at all. Without a path, the kubeconfig is the one that kubectl would use.
///
/// # Errors
/// When the kubeconfig cannot be read.
pub fn only(path: Option<&Path>, context: &str) -> Result<Option<Kubeconfig>, Box<KubeconfigError>> {
    let read = match path {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let mut file = match read {
        Ok(file) => file,
        Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Box::new(error)),
    };
    file.contexts.retain(|named| named.name == context);
    let Some(found) = file.contexts.first().and_then(|named| named.context.clone()) else { return Ok(None) };
    file.clusters.retain(|named| named.name == found.cluster);
    file.auth_infos.retain(|named| Some(&named.name) == found.user.as_ref());
    Ok(Some(Kubeconfig { current_context: Some(context.to_owned()), ..header(file) }))
}

/// A kubeconfig that leads nowhere: a program that reads it asks no other cluster.
pub fn empty() -> Kubeconfig {
    header(Kubeconfig::default())
}

/// kubectl and Go programs want both fields, and a file may lack them.
fn header(file: Kubeconfig) -> Kubeconfig {
    Kubeconfig { kind: Some("Config".to_owned()), api_version: Some("v1".to_owned()), ..file }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "
apiVersion: v1
kind: Config
current-context: work
clusters:
- {name: work, cluster: {server: 'https://work.example'}}
- {name: lab, cluster: {server: 'https://192.168.49.2:8443', certificate-authority: ca.crt}}
users:
- {name: work, user: {token: work-secret}}
- {name: lab, user: {client-key-data: bGFi}}
contexts:
- {name: work, context: {cluster: work, user: work}}
- {name: ztlab, context: {cluster: lab, user: lab, namespace: webapp}}
";

    #[test]
    fn one_context_with_its_cluster_and_user_and_nothing_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs_err::write(&path, TWO).unwrap();
        let text = serde_json::to_string(&only(Some(&path), "ztlab").unwrap().unwrap()).unwrap();
        assert!(!text.contains("work"), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["current-context"], "ztlab");
        assert_eq!(read["contexts"][0]["context"]["namespace"], "webapp");
        // A path beside the file stays right elsewhere.
        let authority = folder.path().join("ca.crt");
        assert_eq!(read["clusters"][0]["cluster"]["certificate-authority"], authority.to_str().unwrap());
        assert_eq!(read["users"][0]["user"]["client-key-data"], "bGFi");
        assert!(only(Some(&path), "other").unwrap().is_none());
        assert!(only(Some(&folder.path().join("none")), "ztlab").unwrap().is_none());
    }

    #[test]
    fn a_kubeconfig_that_leads_nowhere_names_nothing() {
        let read = serde_json::to_value(empty()).unwrap();
        assert_eq!(read["kind"], "Config");
        assert_eq!(read["clusters"], serde_json::json!([]));
    }
}

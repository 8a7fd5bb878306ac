//! dockerd: an image ID is the digest of the image's config, so listing is proving.

use std::collections::BTreeMap;

use super::{ImageId, LIST_DEADLINE, Node, NodeError};
use crate::base::normalize_reference;

const LIST_FORMAT: &str = "{{.Repository}}:{{.Tag}} {{.ID}}";

pub(super) async fn images(node: &Node) -> Result<BTreeMap<String, ImageId>, NodeError> {
    let child = node.child(LIST_DEADLINE).arguments(["image", "ls", "--no-trunc", "--format", LIST_FORMAT]);
    let output = child.run().await.map_err(|source| node.failed("list images", source))?;
    parse_images(&output.text()).map_err(|found| NodeError::Answer {
        what: "a name and an image ID".to_owned(),
        node: node.to_string(),
        found,
    })
}

pub(super) async fn remove(node: &Node, names: &[String]) -> Result<(), NodeError> {
    // `docker image rm` fails for a name that is not there.
    let has = images(node).await?;
    let names: Vec<_> = names.iter().filter(|name| has.contains_key(&normalize_reference(name))).cloned().collect();
    if names.is_empty() {
        return Ok(());
    }
    let child = node.child(LIST_DEADLINE).arguments(["image", "rm"]).arguments(names);
    child.run().await.map(|_| ()).map_err(|source| node.failed("remove images", source))
}

/// Reads `REPOSITORY:TAG ID` lines; images without a name are skipped. The error is the line that is none.
fn parse_images(text: &str) -> Result<BTreeMap<String, ImageId>, String> {
    let mut images = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.contains("<none>")) {
        let (name, id) = line.trim().split_once(' ').ok_or_else(|| line.to_owned())?;
        let config = id.trim().parse().map_err(|_| line.to_owned())?;
        images.insert(normalize_reference(name), ImageId { config, target: None });
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_come_out_in_full_and_nameless_images_not_at_all() {
        let text = format!("prom/prometheus:v2.41.0 {ID}\nquay.io/kiali/kiali:v1.76 {ID}\n<none>:<none> {ID}\n\n");
        let images = parse_images(&text).unwrap();
        assert_eq!(
            images.keys().collect::<Vec<_>>(),
            ["docker.io/prom/prometheus:v2.41.0", "quay.io/kiali/kiali:v1.76"]
        );
        assert!(images.values().all(|id| id.config.to_string() == ID));
    }

    #[test]
    fn a_shortened_id_proves_nothing() {
        assert_eq!(parse_images("nginx:1 e3b0c44298fc"), Err("nginx:1 e3b0c44298fc".to_owned()));
    }
}

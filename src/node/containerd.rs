//! containerd: a name points to a manifest or an index; the config digest is read from the manifest.
//!
//! An import makes the names before it unpacks. After a failed one a name may stand for an image that is not there,
//! so only what `ctr images check` calls ready counts, and a failed load removes the rest of its names.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{ImageId, LIST_DEADLINE, Node, NodeError};
use crate::base::{Digest, Platform, normalize_reference};

/// Documents read at once; each is a child process of some ten milliseconds.
const PARALLEL: usize = 4;
/// Second names of images that a load replaces: this, and the digits of what the first name stood for.
const HELD: &str = "localhost/ztlab-held:";

pub(super) fn import_arguments(platform: Platform) -> Vec<String> {
    let platform = format!("{}/{}", platform.os(), platform.architecture());
    ["images", "import", "--platform", &platform, "-"].map(str::to_owned).into()
}

pub(super) async fn images(node: &Node, platform: Platform) -> Result<BTreeMap<String, ImageId>, NodeError> {
    let ready = ready(node).await?;
    let mut targets = listed(node).await?;
    targets.retain(|name, _| ready.contains(name) && !is_held(name));
    let distinct: BTreeSet<Digest> = targets.values().copied().collect();
    let configs: BTreeMap<Digest, Digest> = stream::iter(distinct)
        .map(|target| async move { Ok::<_, NodeError>((target, config_of(node, target, platform).await?)) })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    let images = targets.into_iter().filter_map(|(name, target)| {
        let config = *configs.get(&target)?;
        Some((normalize_reference(&name), ImageId { config, target: Some(target) }))
    });
    Ok(images.collect())
}

/// Removes those of the names that are listed but not ready.
pub(super) async fn remove_incomplete(node: &Node, names: &[String]) -> Result<(), NodeError> {
    let ready = ready(node).await?;
    let half: Vec<_> = names.iter().filter(|name| !ready.contains(*name)).cloned().collect();
    remove(node, &half).await
}

pub(super) async fn remove(node: &Node, names: &[String]) -> Result<(), NodeError> {
    let listed = listed(node).await?;
    let names: Vec<_> = names.iter().filter(|name| listed.contains_key(*name)).cloned().collect();
    if names.is_empty() {
        return Ok(());
    }
    let child = node.child(LIST_DEADLINE).arguments(["images", "rm"]).arguments(names);
    child.run().await.map(|_| ()).map_err(|source| node.failed("remove images", source))
}

/// Gives images that are listed under these names a second name.
///
/// containerd lets go of an image as soon as its name stands for another one, and of its unpacked layers with it: also
/// of those that the new image shares, while `ctr` is still between finding them and unpacking on top of them ("parent
/// snapshot … does not exist", now and then with containerd 1.6.20).
pub(super) async fn hold(node: &Node, names: &[String]) -> Result<(), NodeError> {
    let listed = listed(node).await?;
    for (name, target) in names.iter().filter_map(|name| Some((name, listed.get(name)?))) {
        let held = format!("{HELD}{}", target.hex());
        let child = node.child(LIST_DEADLINE).arguments(["images", "tag", "--force", name, &held]);
        child.run().await.map_err(|source| node.failed("hold an image", source))?;
    }
    Ok(())
}

/// Takes away every second name that [`hold`] gave, also what a killed process left.
pub(super) async fn release(node: &Node) -> Result<(), NodeError> {
    let held: Vec<String> = listed(node).await?.into_keys().filter(|name| is_held(name)).collect();
    remove(node, &held).await
}

/// Whether it is a name that [`hold`] gave.
fn is_held(name: &str) -> bool {
    name.starts_with(HELD)
}

async fn listed(node: &Node) -> Result<BTreeMap<String, Digest>, NodeError> {
    let output = node.child(LIST_DEADLINE).arguments(["images", "ls"]).run().await;
    let output = output.map_err(|source| node.failed("list images", source))?;
    parse_list(&output.text()).map_err(|found| answer(node, "a name, a type and a digest", &found))
}

async fn ready(node: &Node) -> Result<BTreeSet<String>, NodeError> {
    let output = node.child(LIST_DEADLINE).arguments(["images", "check", "--quiet"]).run().await;
    let output = output.map_err(|source| node.failed("check images", source))?;
    Ok(output.text().lines().map(|line| line.trim().to_owned()).collect())
}

async fn config_of(node: &Node, target: Digest, platform: Platform) -> Result<Digest, NodeError> {
    if let Some(config) = node.known.get(&target) {
        return Ok(*config);
    }
    let mut digest = target;
    // An index leads to a manifest, a manifest to its config; an index of indexes exists, deeper ones do not.
    for _ in 0..3 {
        let child = node.child(LIST_DEADLINE).arguments(["content".to_owned(), "get".to_owned(), digest.to_string()]);
        let output = child.run().await.map_err(|source| node.failed("read an image's manifest", source))?;
        match parse_document(&output.stdout, platform) {
            Some(Link::Config(config)) => return Ok(config),
            Some(Link::Manifest(next)) => digest = next,
            None => break,
        }
    }
    Err(answer(node, &format!("the config of {target} for {platform}"), &digest.to_string()))
}

fn answer(node: &Node, what: &str, found: &str) -> NodeError {
    NodeError::Answer { what: what.to_owned(), node: node.to_string(), found: found.to_owned() }
}

/// Reads the table of `ctr images ls`. CRI also lists each image under its bare config digest: those are no names.
fn parse_list(text: &str) -> Result<BTreeMap<String, Digest>, String> {
    let mut images = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("REF ")) {
        let mut columns = line.split_whitespace();
        let (Some(name), Some(digest)) = (columns.next(), columns.nth(1)) else { return Err(line.to_owned()) };
        if !name.starts_with("sha256:") {
            images.insert(name.to_owned(), digest.parse().map_err(|_| line.to_owned())?);
        }
    }
    Ok(images)
}

#[derive(Debug, PartialEq, Eq)]
enum Link {
    Config(Digest),
    Manifest(Digest),
}

/// Reads a manifest's config, or an index's entry for a platform.
fn parse_document(bytes: &[u8], platform: Platform) -> Option<Link> {
    #[derive(Deserialize)]
    struct Document {
        config: Option<Entry>,
        #[serde(default)]
        manifests: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        digest: Digest,
        platform: Option<EntryPlatform>,
    }
    #[derive(Deserialize)]
    struct EntryPlatform {
        os: String,
        architecture: String,
    }
    let document: Document = serde_json::from_slice(bytes).ok()?;
    if let Some(config) = document.config {
        return Some(Link::Config(config.digest));
    }
    let fits = |entry: &&Entry| {
        entry
            .platform
            .as_ref()
            .is_some_and(|named| named.os == platform.os() && named.architecture == platform.architecture())
    };
    // The index of an archive may hold one manifest and not say for which platform.
    let only = (document.manifests.len() == 1).then(|| document.manifests.first()).flatten();
    document.manifests.iter().find(fits).or(only).map(|entry| Link::Manifest(entry.digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

    #[test]
    fn the_table_gives_names_and_targets() {
        let text = format!(
            "REF                                  TYPE                                       DIGEST  SIZE      PLATFORMS   LABELS\n\
             docker.io/library/nginx:1            application/vnd.oci.image.index.v1+json    {ONE} 2.1 MiB   linux/amd64 io.cri-containerd.image=managed\n\
             registry.k8s.io/pause@{TWO}          application/vnd.oci.image.manifest.v1+json {TWO} 300.0 KiB -           -\n\
             {ONE}                                application/vnd.oci.image.index.v1+json    {ONE} 2.1 MiB   linux/amd64 io.cri-containerd.image=managed\n"
        );
        let images = parse_list(&text).unwrap();
        assert_eq!(images.len(), 2);
        assert_eq!(images["docker.io/library/nginx:1"].to_string(), ONE);
        assert!(parse_list("docker.io/library/nginx:1 only-two-columns").is_err());
        assert_eq!(parse_list("REF TYPE DIGEST SIZE PLATFORMS LABELS\n"), Ok(BTreeMap::new()));
    }

    #[test]
    fn an_index_leads_to_the_platforms_manifest_and_a_manifest_to_its_config() {
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[
                {{"digest":"{ONE}","platform":{{"os":"linux","architecture":"amd64"}}}},
                {{"digest":"{TWO}","platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}}]}}"#
        );
        let link = |platform| parse_document(index.as_bytes(), platform);
        assert_eq!(link(Platform::LinuxAmd64), Some(Link::Manifest(ONE.parse().unwrap())));
        assert_eq!(link(Platform::LinuxArm64), Some(Link::Manifest(TWO.parse().unwrap())));
        assert_eq!(link(Platform::DarwinArm64), None);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{TWO}"}},"layers":[]}}"#);
        assert_eq!(parse_document(manifest.as_bytes(), Platform::LinuxArm64), Some(Link::Config(TWO.parse().unwrap())));
        assert_eq!(parse_document(b"<html>", Platform::LinuxArm64), None);
    }
}

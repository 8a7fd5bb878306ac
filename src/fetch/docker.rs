//! This machine's Docker as a source.
//!
//! With the containerd image store, Docker keeps what the registry sent, and `docker save` gives it back byte for
//! byte. The classic store keeps unpacked layers: their gzip bytes are gone, and gzipping them again gives others.
//! So the classic store is passed over, and that is said (docs.docker.com, "containerd image store").

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{lockfile::Origin, plan::PlannedBlob, store::StoreError};

use super::{from::Place, saved};

/// A Docker that does not say within this time what it is will not save images either.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often to look whether a question is answered.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What `docker info` calls the containerd image store (moby, `daemon/containerd/service.go`).
const CONTAINERD_STORE: &str = "io.containerd.snapshotter";

/// Takes what Docker has of the missing images. Blocks.
pub(super) fn take(
    environment: &BTreeMap<String, String>,
    place: &Place<'_>,
    mut missing: Vec<PlannedBlob>,
) -> Result<Vec<PlannedBlob>, StoreError> {
    let docker = Docker { environment };
    match docker.ask(&["info", "--format", "{{json .DriverStatus}}"]) {
        Ok(Some(status)) if status.contains(CONTAINERD_STORE) => {}
        Ok(Some(_)) => {
            place.pass_over(
                "its classic image store keeps unpacked layers, not the registry's bytes; the containerd image store \
                 (in Docker Desktop's settings) keeps them",
            );
            return Ok(missing);
        }
        Ok(None) => {
            place.pass_over("it does not answer; is it running?");
            return Ok(missing);
        }
        Err(error) => {
            place.pass_over(&format!("`docker` cannot be run ({error})"));
            return Ok(missing);
        }
    }
    for reference in references(&missing) {
        if !matches!(docker.ask(&["image", "inspect", "--format", "{{.Id}}", &reference]), Ok(Some(_))) {
            continue;
        }
        missing = docker.save(&reference, place, missing)?;
    }
    Ok(missing)
}

/// The images that missing blobs belong to.
fn references(missing: &[PlannedBlob]) -> BTreeSet<String> {
    let origins = missing.iter().flat_map(|blob| &blob.origins);
    let images = origins.filter_map(|origin| match origin {
        Origin::RegistryManifest(reference) | Origin::RegistryBlob(reference) => Some(reference.clone()),
        _ => None,
    });
    images.collect()
}

struct Docker<'a> {
    environment: &'a BTreeMap<String, String>,
}

impl Docker<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let path = self.environment.get("PATH").map_or("", String::as_str);
        let found = std::env::split_paths(path).map(|folder| folder.join("docker")).find(|file| file.is_file());
        let mut command = Command::new(found.unwrap_or_else(|| "docker".into()));
        command.args(arguments).env_clear().envs(self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    /// A short answer; `None` when it is an error, or does not come.
    fn ask(&self, arguments: &[&str]) -> io::Result<Option<String>> {
        let mut child = self.command(arguments).spawn()?;
        let begun = Instant::now();
        while child.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Some(text).filter(|text| output.status.success() && !text.is_empty()))
    }

    fn save(
        &self,
        reference: &str,
        place: &Place<'_>,
        missing: Vec<PlannedBlob>,
    ) -> Result<Vec<PlannedBlob>, StoreError> {
        let failed = |why: String| place.pass_over(&format!("`docker save {reference}` {why}"));
        let mut child = match self.command(&["save", reference]).spawn() {
            Ok(child) => child,
            Err(error) => {
                failed(error.to_string());
                return Ok(missing);
            }
        };
        let Some(stream) = child.stdout.take() else { return Ok(missing) };
        let left = saved::take(stream, place, missing);
        // Everything may be here before the stream's end; then nobody reads the rest.
        let _ = child.kill();
        let _ = child.wait();
        left
    }
}

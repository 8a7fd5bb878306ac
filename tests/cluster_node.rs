//! A node's runtime against fake `docker` and `ctr` programs that keep their images in a folder.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

use std::{path::Path, time::Duration};

use ztlab::{
    base::Platform,
    cluster::process::Environment,
    node::{Node, NodeAddress, NodeError},
};

const CONFIG: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const MANIFEST: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const NAME: &str = "docker.io/library/nginx:1";
const DEADLINE: Duration = Duration::from_secs(30);

/// Puts a program into the folder that is the whole PATH, together with the few real ones that scripts need.
fn program(folder: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    let script = format!("#!/bin/sh\nPATH=/usr/bin:/bin\ncd '{}'\n{script}\n", folder.display());
    fs_err::write(&path, script).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn node(folder: &Path, address: &str, version: &str) -> Node {
    let environment = Environment::default().with("PATH", folder.to_str().unwrap());
    Node::new(&address.parse::<NodeAddress>().unwrap(), version, &environment).unwrap()
}

/// A `docker` that runs `docker exec -i CONTAINER docker …`; `load` keeps its stdin, `image ls` lists what it was told.
fn docker(folder: &Path, listed_after_load: &str) {
    fs_err::write(folder.join("list"), listed_after_load).unwrap();
    program(
        folder,
        "docker",
        r#"echo "$*" >> calls
[ "$1" = exec ] && shift 4
case "$1 $2" in
  "load "*) cat > loaded; echo "Error unpacking image" >&2 ;;
  "image ls") [ -e loaded ] && cat list; exit 0 ;;
  "image rm") exit 0 ;;
  *) echo "unknown: $*" >&2; exit 9 ;;
esac"#,
    );
}

/// A `ctr` whose import fails or works as told; names appear before the import is complete, as in containerd.
fn ctr(folder: &Path, import_works: bool) {
    let ready = if import_works { "cp names ready" } else { "echo 'content digest not found' >&2; exit 1" };
    let script = format!(
        r#"echo "$*" >> calls
while [ "${{1#-}}" != "$1" ]; do shift 2; done
case "$1 $2" in
  "images import") cat > archive; echo {NAME} > names; {ready} ;;
  "images ls") echo 'REF TYPE DIGEST SIZE PLATFORMS LABELS'
     [ -e names ] && echo '{NAME} application/vnd.oci.image.manifest.v1+json {MANIFEST} 1.0 MiB linux/amd64 -'; exit 0 ;;
  "images check") [ -e ready ] && cat ready; exit 0 ;;
  "images rm") rm -f names ready ;;
  "content get") echo '{{"config":{{"digest":"{CONFIG}"}}}}' ;;
  *) echo "unknown: $*" >&2; exit 9 ;;
esac"#
    );
    program(folder, "ctr", &script);
}

#[tokio::test]
async fn dockers_image_id_is_read_back_after_a_load() {
    let folder = tempfile::tempdir().unwrap();
    docker(folder.path(), &format!("nginx:1 {CONFIG}\n"));
    let node = node(folder.path(), "docker:zt", "docker://24.0.7");
    assert!(node.images(Platform::LinuxAmd64).await.unwrap().is_empty());

    let archive = b"an archive".as_slice();
    let loaded =
        node.load(Box::pin(archive), &[NAME.to_owned()], Platform::LinuxAmd64, DEADLINE, &mut |_| {}).await.unwrap();

    assert_eq!(loaded[NAME].config.to_string(), CONFIG);
    assert_eq!(fs_err::read(folder.path().join("loaded")).unwrap(), archive);
    let calls = fs_err::read_to_string(folder.path().join("calls")).unwrap();
    assert!(calls.contains("exec -i zt docker load --quiet\n"), "{calls}");
}

#[tokio::test]
async fn a_load_that_ends_well_without_the_image_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    docker(folder.path(), &format!("other:1 {CONFIG}\n"));
    let node = node(folder.path(), "docker:zt", "docker://24.0.7");
    let archive = b"x".as_slice();
    let error = node
        .load(Box::pin(archive), &[NAME.to_owned()], Platform::LinuxAmd64, DEADLINE, &mut |_| {})
        .await
        .unwrap_err();
    assert!(matches!(&error, NodeError::NotKept { names, .. } if names == &[NAME]), "{error}");
}

#[tokio::test]
async fn containerds_config_digest_is_read_from_its_content() {
    let folder = tempfile::tempdir().unwrap();
    ctr(folder.path(), true);
    let node = node(folder.path(), "containerd:/run/containerd/containerd.sock", "");
    let archive = b"x".as_slice();
    let loaded =
        node.load(Box::pin(archive), &[NAME.to_owned()], Platform::LinuxAmd64, DEADLINE, &mut |_| {}).await.unwrap();
    assert_eq!(loaded[NAME].config.to_string(), CONFIG);
    assert_eq!(loaded[NAME].target.unwrap().to_string(), MANIFEST);
    let calls = fs_err::read_to_string(folder.path().join("calls")).unwrap();
    assert!(calls.contains("-n k8s.io images import --platform linux/amd64 -\n"), "{calls}");
}

/// A `ctr` of which only the names count: one line a name in `list`, with what it stands for.
fn names_only(folder: &Path, listed: &str) {
    fs_err::write(folder.join("list"), listed).unwrap();
    program(
        folder,
        "ctr",
        r#"while [ "${1#-}" != "$1" ]; do shift 2; done
case "$1 $2" in
  "images ls") echo 'REF TYPE DIGEST SIZE PLATFORMS LABELS'; cat list ;;
  "images check") cut -d' ' -f1 list ;;
  "images tag") [ "$3" = --force ] || exit 9
     { grep -v "^$5 " list; grep "^$4 " list | sed "s|^[^ ]*|$5|"; } > new; mv new list ;;
  "images rm") shift 2; for name; do grep -v "^$name " list > new; mv new list; done; exit 0 ;;
  "content get") echo '{"config":{"digest":"CONFIG"}}' ;;
  *) echo "unknown: $*" >&2; exit 9 ;;
esac"#
            .replace("CONFIG", CONFIG)
            .as_str(),
    );
}

#[tokio::test]
async fn what_a_load_replaces_is_held_under_a_second_name_until_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let left = format!("localhost/ztlab-held:{} application/x {CONFIG} 1.0 MiB linux/amd64 -", "0".repeat(64));
    let other = format!("docker.io/library/other:1 application/x {CONFIG} 1.0 MiB linux/amd64 -");
    let ours = format!("{NAME} application/x {MANIFEST} 1.0 MiB linux/amd64 -");
    names_only(folder.path(), &format!("{left}\n{other}\n{ours}\n"));
    let node = node(folder.path(), "containerd:/run/containerd/containerd.sock", "");
    let list = || fs_err::read_to_string(folder.path().join("list")).unwrap();

    node.hold(&[NAME.to_owned(), "docker.io/library/absent:1".to_owned()]).await;
    let held = format!("localhost/ztlab-held:{} application/x {MANIFEST} ", &MANIFEST["sha256:".len()..]);
    assert_eq!(list().lines().filter(|line| line.starts_with(&held)).count(), 1, "{}", list());
    let images = node.images(Platform::LinuxAmd64).await.unwrap();
    assert_eq!(images.into_keys().collect::<Vec<_>>(), [NAME, "docker.io/library/other:1"]);

    node.release().await;
    assert_eq!(list(), format!("{other}\n{ours}\n"), "also what a killed process left is gone");
}

#[tokio::test]
async fn a_failed_import_leaves_no_half_loaded_name() {
    let folder = tempfile::tempdir().unwrap();
    ctr(folder.path(), false);
    let node = node(folder.path(), "containerd:/run/containerd/containerd.sock", "");
    let archive = b"x".as_slice();
    let error = node
        .load(Box::pin(archive), &[NAME.to_owned()], Platform::LinuxAmd64, DEADLINE, &mut |_| {})
        .await
        .unwrap_err();
    assert!(matches!(&error, NodeError::Command { action: "load images", .. }), "{error}");
    assert!(!folder.path().join("names").exists(), "the name was left behind");
}

#[tokio::test]
async fn removing_a_name_that_is_not_there_runs_no_command() {
    let folder = tempfile::tempdir().unwrap();
    docker(folder.path(), "");
    let node = node(folder.path(), "docker:zt", "docker://24.0.7");
    node.remove(&[NAME.to_owned()]).await.unwrap();
    assert!(!fs_err::read_to_string(folder.path().join("calls")).unwrap().contains("image rm"));
}

//! Locks that are incomplete, stale or tampered with: each with its message, its next command and its exit code.

use crate::home::{Home, Ran};

const LOCK: &str = "lab/lock/ztlab.lock";

fn check(home: &Home) -> Ran {
    let ran = home.run(&["lock", "--check"]);
    assert_eq!(ran.stdout, "", "errors are not data");
    ran
}

#[test]
fn a_complete_lock_is_said_to_be_so() {
    let ran = Home::with_small_lab().run(&["lock", "--check"]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.starts_with("the lock answers the intent: lab "), "{}", ran.stdout);
}

#[test]
fn the_shipped_lock_names_its_gaps_and_what_fills_them() {
    let home = Home::with_shipped_lab();
    let ran = check(&home);
    let text = fs_err::read_to_string(home.path(LOCK)).unwrap();
    let gaps = text.lines().filter(|line| line.starts_with("pending = ")).count();
    if gaps == 0 {
        assert_eq!(ran.exit, 0, "nothing is pending any more");
        return;
    }
    assert_eq!(ran.exit, 10);
    let first = ran.stderr.lines().next().unwrap();
    assert!(first.starts_with(&format!("error: the lock is incomplete: {gaps} ")), "{first}");
    for block in text.split("\n\n").filter(|block| block.contains("\npending = ")) {
        let name = block.trim_start_matches('[').split(']').next().unwrap();
        assert!(ran.stderr.contains(&format!("\n  {name}: ")), "{name} is pending and not listed");
    }
    assert!(ran.stderr.contains("next: with a network, `ztlab fetch` completes it"), "{}", ran.stderr);
}

#[test]
fn versions_that_do_not_work_together_are_refused_with_reason_and_source() {
    let home = Home::with_small_lab();
    let versions = "calico = \"3.27.0\"";
    home.edit("lab/lock/ztlab.toml", versions, "calico = \"3.27.0\"\noperator = \"1.34.0\"\nkubernetes = \"1.31.0\"");
    let ran = home.run(&["lock", "--check"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (11, ""));
    assert_eq!(home.run(&["lock", "--offline"]).stderr, ran.stderr, "the same before anything is asked");
    insta::assert_snapshot!(ran.stderr, @r"
        warning: nobody is known to have tried calico 3.27.0 with kubernetes 1.31.0: upstream tests Calico 3.27 with Kubernetes 1.24 to 1.28 (docs.tigera.io/calico/3.27/getting-started/kubernetes/requirements)
        error: versions of this lab do not work together
          operator 1.34.0 with calico 3.27.0: this operator installs Calico 3.28.0 only (manifests/tigera-operator.yaml of projectcalico/calico at v3.28.0)
          next: change one of each pair in [version] of lock/ztlab.toml, then run `ztlab lock`
          more: ztlab explain lock::incompatible
        ");
    let json = home.run(&["--json", "lock", "--check"]).stdout;
    let events: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["event"], &events[1]["code"]), (&"warning".into(), &"lock::incompatible".into()));
}

#[test]
fn an_age_that_is_none_is_refused_by_its_words() {
    let ran = Home::with_small_lab().run(&["lock", "--min-age", "soon"]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("`soon` is not an age: expected a number and h, d or w"), "{}", ran.stderr);
}

#[test]
fn fetching_offline_names_what_is_missing() {
    let ran = Home::with_small_lab().run(&["fetch", "--offline"]);
    assert_eq!(ran.exit, 20);
    insta::assert_snapshot!(ran.stderr, @r"
    lab small (d9e966e258db), unsigned
    error: 1 artifact could not be had
      manifest.operator (file): offline: https://upstream.invalid/v3.27.0/operator.yaml was not asked for
          run the same command without `--offline`, or bring the blobs with `ztlab fetch --from DIR`
      next: everything else is in the store: run `ztlab fetch` again to go on, or name another source with `--mirror FROM=TO` or `--from DIR`
      more: ztlab explain fetch::incomplete
    ");
}

#[test]
fn an_install_from_an_empty_store_stops_before_anything() {
    let home = Home::with_small_lab();
    let ran = home.run(&["install", "--offline"]);
    assert_eq!(ran.exit, 20);
    insta::assert_snapshot!(ran.stderr, @r"
    error: the store lacks 1 blob of this lab (12 B)
      manifest.operator: sha256:6dcd4ce23d88e2ee9568ba546c007c63d9131c1b1ca8a4e0b8d3a5a0c0b4ae0f, 12 B
      next: with a network, `ztlab fetch` brings them; without one, take them from another machine: `ztlab fetch --from DIR`
      more: ztlab explain fetch::incomplete
    ");
}

#[test]
fn an_install_from_an_incomplete_lock_stops_before_anything() {
    let home = Home::with_small_lab();
    home.edit(LOCK, "size = 12\n", "pending = [\"size\"]\n");
    let ran = home.run(&["install", "--offline"]);
    assert_eq!(ran.exit, 10);
    insta::assert_snapshot!(ran.stderr, @r"
    error: the lock is incomplete: 1 entry is not pinned yet
      manifest.operator: size
      next: with a network, `ztlab fetch` completes it (or `ztlab lock`, which downloads no images)
      more: ztlab explain lock::incomplete
    ");
    assert!(!home.path(".minikube").exists(), "nothing was placed for Minikube");
    assert!(!home.path("data").exists(), "not even a store was made");
}

#[test]
fn what_the_lock_names_is_shown_by_artifact() {
    let home = Home::with_small_lab();
    insta::assert_snapshot!(home.run(&["lock", "show"]).stdout, @"
    manifest.operator  https://upstream.invalid/v3.27.0/operator.yaml
      file  12 B  sha256:6dcd4ce23d88e2ee9568ba546c007c63d9131c1b1ca8a4e0b8d3a5a0c0b4ae0f
    lab d9e966e258db, 1 artifacts
    ");
    let unknown = home.run(&["lock", "show", "image.nowhere"]);
    assert_eq!(unknown.exit, 2);
    assert!(unknown.stderr.contains("`image.nowhere` is no entry of this lab"), "{}", unknown.stderr);
}

#[test]
fn a_lock_in_another_spelling_is_written_anew_without_asking_anybody() {
    let home = Home::with_small_lab();
    let good = fs_err::read_to_string(home.path(LOCK)).unwrap();
    home.edit(LOCK, "size = 12", "size = 0x0c # twelve");
    let ran = home.run(&["lock"]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("is written") && ran.stdout.ends_with(" 0 requests\n"), "{}", ran.stdout);
    assert_eq!(fs_err::read_to_string(home.path(LOCK)).unwrap(), good);
}

//! `lock lint`: each rule's finding as a maintainer sees it in CI.

use std::process::Command;

use crate::home::{Home, Ran};

const POLICY: &str = "lab/lock/policy.toml";
const LOCK: &str = "lab/lock/ztlab.lock";
/// 2023-11-14: long ago on any machine's clock.
const LONG_AGO: &str = "1700000000 +0000";

/// The lab of one file, and a policy that allows just that.
fn home() -> Home {
    let home = Home::with_small_lab();
    home.write(POLICY, "schema = 1\n[host]\nmanifest = [\"upstream.invalid\"]\n");
    home
}

fn lint(home: &Home) -> Ran {
    home.run(&["lock", "lint"])
}

#[test]
fn nothing_found_says_what_was_looked_at() {
    let ran = lint(&home());
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout, @"
    lab d9e966e258db, unsigned: nothing against lock/policy.toml; looked at
      host         1 address (1 manifest)
      https        1 address
      digest       1 digest
      tag          0 references
      pull-policy  0 containers of 0 YAML files; not looked at, because not in the store: manifest.operator (`ztlab fetch`)
      age          no min-age in lock/policy.toml
    ");
}

#[test]
fn the_shipped_lab_keeps_to_its_policy() {
    let home = Home::with_shipped_lab();
    home.copy_of_project(&["manifests", "istio"]);
    let ran = lint(&home);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains("3 containers of "), "{}", ran.stdout);
}

#[test]
fn a_host_that_nobody_allowed_is_refused() {
    let home = home();
    home.edit(POLICY, "upstream.invalid", "example.org");
    let ran = lint(&home);
    assert_eq!(ran.exit, 11);
    insta::assert_snapshot!(ran.stdout, @"
    entry              rule  found                                                              allowed
    manifest.operator  host  upstream.invalid (https://upstream.invalid/v3.27.0/operator.yaml)  example.org
        fix: take it from an allowed host; if upstream.invalid is to be trusted, add it to `manifest` under [host] in lock/policy.toml and say why in the same pull request
    lab d9e966e258db, unsigned: 1 finding against lock/policy.toml; looked at
      host         1 address (1 manifest)
      https        1 address
      digest       1 digest
      tag          0 references
      pull-policy  0 containers of 0 YAML files; not looked at, because not in the store: manifest.operator (`ztlab fetch`)
      age          no min-age in lock/policy.toml
    ");
    insta::assert_snapshot!(ran.stderr, @"
    error: the lock does not keep to lock/policy.toml: 1 finding
      next: mend each as the table says; what is to be allowed from now on is a change to lock/policy.toml, to be reviewed like the lock
      more: ztlab explain lock::policy
    ");
}

#[test]
fn plain_http_is_refused() {
    let home = home();
    home.edit(LOCK, "https://", "http://");
    let ran = lint(&home);
    assert_eq!(ran.exit, 11);
    insta::assert_snapshot!(ran.stdout, @"
    entry              rule   found                                                 allowed
    manifest.operator  https  http (http://upstream.invalid/v3.27.0/operator.yaml)  https
        fix: write https:// in lock/ztlab.toml, then `ztlab lock`; a mirror in the house is named with `--mirror`, not in the lock
    lab c13a640d42d5, unsigned: 1 finding against lock/policy.toml; looked at
      host         1 address (1 manifest)
      https        1 address
      digest       1 digest
      tag          0 references
      pull-policy  0 containers of 0 YAML files; not looked at, because not in the store: manifest.operator (`ztlab fetch`)
      age          no min-age in lock/policy.toml
    ");
}

#[test]
fn a_manifest_without_a_fixed_tag_is_refused() {
    let home = home();
    home.write(
        "lab/manifests/web.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  initContainers:\n  - {name: first, image: 'nginx:1.30'}\n  containers:\n  - {name: web, image: nginx}\n  - {name: side, image: 'curl:8', imagePullPolicy: Always}\n",
    );
    let ran = lint(&home);
    assert_eq!(ran.exit, 11);
    insta::assert_snapshot!(ran.stdout, @"
    entry                                            rule         found            allowed
    manifests/web.yaml: Pod web, spec.containers[0]  tag          no tag (nginx)   a fixed tag, other than latest
        fix: write the version's own tag in the manifest
    manifests/web.yaml: Pod web, spec.containers[0]  pull-policy  Always (nginx)   IfNotPresent, Never
        fix: write `imagePullPolicy: IfNotPresent` beside the image, with a fixed tag
    manifests/web.yaml: Pod web, spec.containers[1]  pull-policy  Always (curl:8)  IfNotPresent, Never
        fix: write `imagePullPolicy: IfNotPresent` beside the image, with a fixed tag
    lab d9e966e258db, unsigned: 3 findings against lock/policy.toml; looked at
      host         1 address (1 manifest)
      https        1 address
      digest       1 digest
      tag          3 references
      pull-policy  3 containers of 1 YAML file; not looked at, because not in the store: manifest.operator (`ztlab fetch`)
      age          no min-age in lock/policy.toml
    ");
}

#[test]
fn findings_are_data_for_machines() {
    let home = home();
    home.edit(POLICY, "upstream.invalid", "example.org");
    let ran = home.run(&["lock", "lint", "--json"]);
    let lines: Vec<serde_json::Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["verb"], "lock lint");
    let finding = &lines[0]["outcome"]["findings"][0];
    assert_eq!((&finding["entry"], &finding["rule"]), (&"manifest.operator".into(), &"host".into()));
    assert_eq!((&lines[1]["code"], &lines[1]["exit"]), (&"lock::policy".into(), &11.into()));
}

#[test]
fn a_lab_without_a_policy_is_told_how_to_write_one() {
    let ran = lint(&Home::with_small_lab());
    assert_eq!(ran.exit, 2);
    insta::assert_snapshot!(ran.stderr, @"
    error: this lab has no policy ([HOME]/lab/lock/policy.toml does not exist)
      next: write one: `schema = 1` and a table `[host]` with the allowed hosts of tool, file, manifest, image and wheel; docs/lab.md has the shipped one
      more: ztlab explain policy::absent
    ");
}

#[test]
fn an_unknown_key_of_the_policy_is_shown_in_its_place() {
    let home = home();
    home.edit(POLICY, "[host]", "[hosts]");
    let ran = lint(&home);
    assert_eq!(ran.exit, 2);
    insta::assert_snapshot!(ran.stderr, @r#"
    policy::syntax

      × cannot read the policy: unknown field `hosts`, expected one of `schema`,
      │ `https-only`, `digest`, `forbid-tag`, `forbid-pull-policy`, `min-age`,
      │ `unknown-age`, `host`, `signature`
       ╭─[lock/policy.toml:2:2]
     1 │ schema = 1
     2 │ [hosts]
       ·  ──┬──
       ·    ╰── here
     3 │ manifest = ["upstream.invalid"]
       ╰────
      help: correct lock/policy.toml at the marked place, then run `ztlab lock
            lint`
    "#);
}

/// `git` in the lab, with nothing of this machine's configuration.
fn git(home: &Home, date: &str, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(home.path("lab"))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", date)
        .env("GIT_COMMITTER_DATE", date)
        .status()
        .unwrap();
    assert!(status.success(), "git {arguments:?}");
}

/// `lock lint` where it can find git.
fn lint_with_git(home: &Home) -> Ran {
    let path = std::env::var_os("PATH").unwrap();
    home.take(&home.command(&["lock", "lint"]).env("PATH", path).output().unwrap())
}

#[test]
fn what_the_team_has_had_for_long_is_old_enough_and_what_nobody_dates_is_unknown() {
    let home = home();
    home.edit(POLICY, "[host]", "min-age = \"7d\"\nunknown-age = \"refuse\"\n[host]");
    let undated = lint_with_git(&home);
    assert_eq!(undated.exit, 11);
    insta::assert_snapshot!(undated.stdout, @r#"
    entry              rule  found                                                    allowed
    manifest.operator  age   unknown: neither git nor a config in the store dates it  at least 7d
        fix: look at upstream's date by hand; `unknown-age = "allow"` in lock/policy.toml lets it pass and be listed
    age unknown offline: manifest.operator
    lab d9e966e258db, unsigned: 1 finding against lock/policy.toml; looked at
      host         1 address (1 manifest)
      https        1 address
      digest       1 digest
      tag          0 references
      pull-policy  0 containers of 0 YAML files; not looked at, because not in the store: manifest.operator (`ztlab fetch`)
      age          0 of 1 entries are at least 7d old, 1 unknown
    "#);
    git(&home, LONG_AGO, &["init", "--quiet"]);
    git(&home, LONG_AGO, &["add", "."]);
    git(&home, LONG_AGO, &["commit", "--quiet", "-m", "lock"]);
    let dated = lint_with_git(&home);
    assert_eq!(dated.exit, 0, "{}", dated.stdout);
    assert!(dated.stdout.contains("1 of 1 entries are at least 7d old, 0 unknown"), "{}", dated.stdout);
    home.edit(LOCK, "size = 12", "size = 13");
    assert_eq!(lint_with_git(&home).exit, 11, "a line that is not committed has no date");
}

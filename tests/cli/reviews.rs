//! `ztlab lock diff`, between commits of real git.

use serde_json::Value;
use ztlab::lockfile::{self, Lock};

use crate::{
    home::Home,
    team::{ARM, INTENT, Team, blob, lock_of, pin},
};

/// A change with everything in it that a reviewer must not miss.
fn alarming() -> Lock {
    let intent = INTENT
        .replace("calico = \"3.27.0\"", "calico = \"3.28.0\"")
        .replace("registry.k8s.io/pause", "mirror.example.org/pause")
        .replace("github.com/istio/istio", "github.com/ist1o/istio")
        .replace(", kiali = \"samples/addons/kiali.yaml\"", "")
        .replace("[wheel.flask]", "[wheel.click]\nversion = \"8.5.1\"\npython = \"3.12\"\n\n[wheel.flask]")
        .replace(
            "[manifest.operator]\nurl = \"https://raw.githubusercontent.com/projectcalico/calico/v{calico}/manifests/tigera-operator.yaml\"\n\n",
            "",
        );
    let mut lock = lock_of(&intent);
    let larger = pin("larger", 50_000_000);
    lock.image.get_mut("calico-node").unwrap().platforms.insert(ARM, larger);
    lock.image.get_mut("nginx").unwrap().platforms.insert(ARM, pin("another nginx", 10_000_000));
    lock.image.get_mut("python").unwrap().platforms.remove(&ARM);
    for pin in lock.tool.get_mut("kubectl").unwrap().platforms.values_mut() {
        pin.url = pin.url.replace("dl.k8s.io", "files.example.org");
    }
    let app = lock.app.get_mut("backend").unwrap();
    app.source = Some(blob("another source", 0).digest);
    app.platforms.clear();
    lock
}

#[test]
fn the_body_of_a_pull_request_leads_with_what_must_not_be_missed() {
    let team = Team::new();
    team.write(&alarming());
    team.commit("everything at once");
    let ran = team.run(&["lock", "diff", "HEAD~1..HEAD", "--format", "md"]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(ran.stdout);
}

#[test]
fn a_terminal_gets_the_same_in_red() {
    let team = Team::new();
    team.write(&alarming());
    let ran = team.run(&["lock", "diff"]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    assert!(!ran.stdout.contains('\u{1b}'), "a pipe is no terminal");
    insta::assert_snapshot!(ran.stdout);
    let coloured = team.run(&["lock", "diff", "--color", "always"]).stdout;
    let red: Vec<&str> = coloured.lines().filter(|line| line.contains("\u{1b}[31m")).collect();
    assert_eq!(red.len(), 9, "every alarm, and nothing else: {red:#?}");
}

#[test]
fn a_program_gets_codes_and_whole_digests() {
    let team = Team::new();
    team.write(&alarming());
    let ran = team.run(&["lock", "diff", "--format", "json"]);
    let diff: Value = serde_json::from_str(&ran.stdout).unwrap();
    let mut codes: Vec<&str> =
        diff["alarms"].as_array().unwrap().iter().map(|alarm| alarm["code"].as_str().unwrap()).collect();
    codes.dedup();
    let expected = [
        "digest-moved",
        "host-changed",
        "address-changed",
        "mirror-added",
        "size-changed",
        "platform-lost",
        "member-lost",
    ];
    assert_eq!(codes, expected);
    let (old, new) = (lock_of(INTENT), alarming());
    assert_eq!(diff["was"], old.lab_id().to_string());
    assert_eq!(diff["now"], new.lab_id().to_string());
    let moved = &diff["alarms"][0];
    assert_eq!(moved["artifacts"][0], "image.nginx");
    assert_eq!(moved["now"], pin("another nginx", 0).manifest.digest.to_string());
    let event: Value = serde_json::from_str(&team.run(&["lock", "diff", "--json"]).stdout).unwrap();
    assert_eq!((&event["verb"], &event["outcome"]), (&Value::from("lock diff"), &diff));
}

#[test]
fn shared_layers_are_downloaded_once() {
    let team = Team::new();
    let text = team.run(&["lock", "diff", "--format", "json"]).stdout;
    let same: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&same["download"]["update"], &same["entries"]), (&Value::from(0), &Value::from(Vec::<Value>::new())));
    // Two new images: two own layers on each platform, two manifests, configs and indexes; the shared layer is there.
    let intent = INTENT.replace("nginx:1.30", "nginx:1.31").replace("pause:3.9", "pause:3.10");
    team.write(&lock_of(&intent));
    let diff: Value = serde_json::from_str(&team.run(&["lock", "diff", "--format", "json"]).stdout).unwrap();
    let one = 2 * (10_000_000 + 1_000 + 2_000) + 800;
    assert_eq!(diff["download"]["update"], 2 * one);
    let each: Vec<u64> =
        diff["entries"].as_array().unwrap().iter().map(|entry| entry["download"].as_u64().unwrap()).collect();
    assert_eq!(each, [one, one], "what the entries add is the whole");
    let full = diff["download"]["full"].as_u64().unwrap();
    assert_eq!(
        full,
        50_000_000 + 25_000_000 + 1_750_000 + 30_000_000 + 4 * one + 100_000,
        "members and apps are made here"
    );
}

#[test]
fn an_alarm_is_an_error_only_for_whoever_asks() {
    let team = Team::new();
    team.write(&lock_of(&INTENT.replace("3.27.0", "3.28.0")));
    assert_eq!(team.run(&["lock", "diff", "--alarm"]).exit, 0, "a bump is no alarm");
    team.write(&alarming());
    let ran = team.run(&["lock", "diff", "--alarm"]);
    assert_eq!(ran.exit, 11);
    assert!(ran.stdout.starts_with("HEAD → the working tree: lab "), "{}", ran.stdout);
    insta::assert_snapshot!(ran.stderr, @r"
    error: 9 alarms in this change of the lock: address-changed, digest-moved, host-changed, member-lost, mirror-added, platform-lost, size-changed
      next: `ztlab lock diff` with the same sides tells what each is about; a person has to accept them
      more: ztlab explain policy::alarm
    ");
}

#[test]
fn sides_are_revisions_files_and_the_fork_of_two_branches() {
    let team = Team::new();
    team.branch("topic", &INTENT.replace("nginx:1.30", "nginx:1.31"));
    team.git(&["checkout", "-q", "main"]);
    team.write(&lock_of(&INTENT.replace("pause:3.9", "pause:3.10")));
    team.commit("main goes on");
    let changed = |arguments: &[&str]| -> Vec<String> {
        let ran = team.run(&[&["lock", "diff", "--format", "json"], arguments].concat());
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{arguments:?}");
        let diff: Value = serde_json::from_str(&ran.stdout).unwrap();
        diff["entries"].as_array().unwrap().iter().map(|entry| entry["artifact"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(changed(&["main..topic"]), ["image.nginx", "image.pause"]);
    assert_eq!(changed(&["main...topic"]), ["image.nginx"], "what topic did, whatever main did since");
    assert_eq!(changed(&["main"]), [""; 0]);
    assert_eq!(changed(&["HEAD~1"]), ["image.pause"]);
    team.home.write(
        "lab/other.lock",
        &lockfile::write(&lock_of(&INTENT.replace("flask]\nversion = \"3.1.3\"", "flask]\nversion = \"3.1.4\""))),
    );
    assert_eq!(changed(&["topic", "other.lock"]), ["image.nginx", "wheel.flask", "app.backend"]);
    assert_eq!(changed(&["other.lock..HEAD~1"]), ["wheel.flask", "app.backend"]);
    // A pull request that brings a file called like the branch that it is compared with.
    team.home.write("lab/topic", &lockfile::write(&lock_of(INTENT)));
    assert_eq!(changed(&["topic..main"]), ["image.nginx", "image.pause"], "the branch, not the file");
    assert_eq!(changed(&["./topic..main"]), ["image.pause"]);
}

#[test]
fn a_lab_below_the_repository_and_a_hook_change_nothing() {
    let team = Team::new();
    let inside = team.home.path("lab/lock");
    team.write(&lock_of(&INTENT.replace("pause:3.9", "pause:3.10")));
    let mut command = team.home.command(&["lock", "diff"]);
    command.current_dir(inside).env("PATH", std::env::var_os("PATH").unwrap());
    // As in a hook of another repository.
    command.env("GIT_DIR", "/nowhere/.git").env("GIT_WORK_TREE", "/nowhere");
    let ran = team.home.take(&command.output().unwrap());
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("image.pause"), "{}", ran.stdout);
}

#[test]
fn a_lab_without_a_lock_so_far_is_new() {
    let team = Team::new();
    team.git(&["rm", "-q", "--cached", "lock/ztlab.lock"]);
    team.git(&["commit", "-q", "-m", "no lock"]);
    let ran = team.run(&["lock", "diff"]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.contains("new lab ") && ran.stdout.contains("; 0 bumped, 9 added, 0 removed; "),
        "{}",
        ran.stdout
    );
    let gone = team.run(&["lock", "diff", "HEAD~1..HEAD"]);
    assert_eq!(gone.exit, 10);
    assert!(gone.stderr.contains("lock/ztlab.lock in HEAD does not exist"), "{}", gone.stderr);
}

#[test]
fn a_side_that_is_no_lock_is_named() {
    let team = Team::new();
    team.home.edit("lab/lock/ztlab.lock", "want = ", "wants = ");
    team.commit("a lock edited by hand");
    team.write(&lock_of(INTENT));
    team.commit("mended");
    let ran = team.run(&["lock", "diff", "HEAD~1..HEAD"]);
    assert_eq!(ran.exit, 10);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines[0], "error: the lock of `HEAD~1` cannot be compared");
    assert!(lines[1].contains("unknown field `wants`"), "{}", lines[1]);
    assert_eq!(lines[3], "  more: ztlab explain lock::side");
    let ran = team.run(&["lock", "diff", "HEAD..HEAD~1"]);
    assert!(ran.stderr.contains("the lock of `HEAD~1`"), "{}", ran.stderr);
}

#[test]
fn a_side_in_another_spelling_is_compared_by_what_it_says() {
    let team = Team::new();
    team.home.edit("lab/lock/ztlab.lock", "want = ", "want  = ");
    team.commit("another spelling");
    team.write(&lock_of(INTENT));
    team.commit("as ztlab writes it");
    let ran = team.run(&["--json", "lock", "diff", "HEAD~1..HEAD"]);
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let outcome: serde_json::Value = serde_json::from_str(ran.stdout.trim()).unwrap();
    assert_eq!(outcome["outcome"]["alarms"], serde_json::json!([]), "{outcome}");
}

#[test]
fn words_that_are_no_revision_cannot_be_options() {
    let team = Team::new();
    for word in ["--output=/tmp/x", "-h", "nowhere", "HEAD:lock/ztlab.lock", ":/the lab^{tree}"] {
        let ran = team.run(&["lock", "diff", "--", &format!("{word}..HEAD")]);
        assert_eq!(ran.exit, 2, "{word}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(&format!("`{word}` is neither a revision")), "{word}: {}", ran.stderr);
    }
    let home = Home::with_small_lab();
    let mut command = home.command(&["lock", "diff"]);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    let ran = home.take(&command.output().unwrap());
    assert_eq!(ran.exit, 2);
    assert!(
        ran.stderr.contains("error: git cannot read the repository of [HOME]/lab: fatal: not a git repository"),
        "{}",
        ran.stderr
    );
}

/// What the first `ztlab fetch` on a Mac does to the shipped lock: gaps are filled, nothing moves.
#[test]
fn filling_the_gaps_of_the_shipped_lock_is_no_alarm() {
    let home = Home::with_shipped_lab();
    let mut lock = lockfile::read(&home.path("lab/lock/ztlab.lock")).unwrap();
    lock.image.values_mut().for_each(|entry| entry.platforms.clear());
    home.write("old.lock", &lockfile::write(&lock));
    for (name, entry) in &mut lock.image {
        let mut complete = pin(name, 1_000_000);
        if let Some(digest) = entry.hints.remove(&ARM).and_then(|hint| hint.digest) {
            complete.manifest.digest = digest;
        }
        entry.platforms.insert(ARM, complete);
    }
    home.write("new.lock", &lockfile::write(&lock));
    let ran = home.run(&["lock", "diff", "../old.lock", "../new.lock", "--format", "json", "--alarm"]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let diff: Value = serde_json::from_str(&ran.stdout).unwrap();
    let count =
        |change: &str| diff["entries"].as_array().unwrap().iter().filter(|entry| entry["change"] == change).count();
    // The apps' base images are known now.
    assert_eq!((count("completed"), count("rebuilt")), (lock.image.len(), 0));
}

//! Two branches and real git: what merges by itself, and what the merge driver adds.

use ztlab::lockfile;

use crate::{
    home::Ran,
    team::{INTENT, Team, lock_of},
};

/// What somebody does to the intent.
type Edit<'edit> = &'edit dyn Fn(&str) -> String;

/// Names the driver, as the project's own file does. Without configuration git merges such files line by line.
const ATTRIBUTES: &str = "lock/ztlab.lock merge=ztlab-lock\n";

fn team() -> Team {
    let team = Team::new();
    team.home.write("lab/.gitattributes", ATTRIBUTES);
    team.commit("attributes");
    team
}

fn with_driver() -> Team {
    let team = team();
    let ran = team.run(&["lock", "merge", "--install"]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    let done = "this clone merges locks by entry: merge.ztlab-lock.driver = ztlab lock merge %O %A %B %P\n";
    assert_eq!(ran.stdout, done);
    team
}

/// Two branches of `main`, each with an intent and the lock that answers it; `two` is checked out.
fn branches(team: &Team, one: &str, two: &str) {
    team.branch("one", one);
    team.branch("two", two);
}

fn merge(team: &Team) -> Ran {
    team.try_git(&["merge", "-q", "--no-edit", "one"])
}

/// The lines between the first and the last marker, digests shortened.
fn marked(text: &str) -> String {
    let start = text.find("<<<<<<<").expect("there is a conflict");
    let end = text.rfind(">>>>>>>").expect("there is a conflict");
    let end = end + text[end..].find('\n').expect("a line ends");
    let mut shown = String::new();
    for (number, piece) in text[start..end].split("sha256:").enumerate() {
        let rest = if number == 0 { piece } else { &piece[64..] };
        if number > 0 {
            shown.push_str("sha256:");
            shown.push_str(&piece[..6]);
        }
        shown.push_str(rest);
    }
    shown
}

fn assert_in_order(team: &Team, intent: &str) {
    assert_eq!(fs_err::read_to_string(team.home.path("lab/lock/ztlab.toml")).unwrap(), intent);
    assert_eq!(team.text(), lockfile::write(&lock_of(intent)), "what a lock of both changes is");
    let check = team.run(&["lock", "--check"]);
    assert_eq!(check.exit, 0, "{}", check.stderr);
}

/// Neighbours in the lock: versions that follow each other, the last line of one block and the first of the next.
#[test]
fn plain_git_merges_bumps_of_neighbouring_entries() {
    let calico = |intent: &str| intent.replace("3.27.0", "3.28.0");
    let istio = |intent: &str| intent.replace("1.20.0", "1.21.0");
    let nginx = |intent: &str| intent.replace("nginx:1.30", "nginx:1.31");
    let pause = |intent: &str| intent.replace("pause:3.9", "pause:3.10");
    let pairs: [(Edit, Edit); 3] = [(&calico, &istio), (&calico, &nginx), (&nginx, &pause)];
    for (one, two) in pairs {
        let team = team();
        branches(&team, &one(INTENT), &two(INTENT));
        let ran = merge(&team);
        assert_eq!(ran.exit, 0, "{}{}", ran.stdout, ran.stderr);
        assert_in_order(&team, &two(&one(INTENT)));
    }
}

#[test]
fn plain_git_merges_the_removal_of_an_entry_with_a_bump_of_its_neighbour() {
    let without_nginx = INTENT.replace("[image.nginx]\nref = \"docker.io/library/nginx:1.30\"\n\n", "");
    for (from, to) in [("pause:3.9", "pause:3.10"), ("3.27.0", "3.28.0")] {
        let team = team();
        branches(&team, &without_nginx, &INTENT.replace(from, to));
        assert_eq!(merge(&team).exit, 0, "{from}");
        assert_in_order(&team, &without_nginx.replace(from, to));
    }
}

/// Two new entries at one place are beyond a merge of lines: there the driver is needed. The intent has them apart.
#[test]
fn two_new_entries_at_one_place_need_the_driver() {
    let one =
        INTENT.replace("[image.nginx]", "[image.curl]\nref = \"docker.io/curlimages/curl:8.5.0\"\n\n[image.nginx]");
    let two = INTENT.replace("[image.pause]", "[image.etcd]\nref = \"registry.k8s.io/etcd:3.5.9-0\"\n\n[image.pause]");
    let plain = team();
    branches(&plain, &one, &two);
    assert_eq!(merge(&plain).exit, 1, "else this test shows nothing");
    let team = with_driver();
    branches(&team, &one, &two);
    let ran = merge(&team);
    assert_eq!(ran.exit, 0, "{}{}", ran.stdout, ran.stderr);
    assert_in_order(
        &team,
        &one.replace("[image.pause]", "[image.etcd]\nref = \"registry.k8s.io/etcd:3.5.9-0\"\n\n[image.pause]"),
    );
}

#[test]
fn the_same_bump_on_both_sides_is_no_conflict() {
    let team = with_driver();
    let both = INTENT.replace("nginx:1.30", "nginx:1.31");
    branches(&team, &both.replace("pause:3.9", "pause:3.10"), &both);
    assert_eq!(merge(&team).exit, 0);
    assert_in_order(&team, &both.replace("pause:3.9", "pause:3.10"));
}

#[test]
fn two_versions_of_one_entry_are_left_to_a_person_and_nothing_else_is() {
    let team = with_driver();
    let one = INTENT.replace("nginx:1.30", "nginx:1.31").replace("pause:3.9", "pause:3.10");
    let two = INTENT.replace("nginx:1.30", "nginx:1.32").replace("1.20.0", "1.21.0");
    branches(&team, &one, &two);
    let ran = merge(&team);
    assert_eq!(ran.exit, 1);
    let told: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(told[0], "error: lock/ztlab.lock: 1 entry needs a decision");
    assert_eq!(told[1], "  image.nginx: ours docker.io/library/nginx:1.32, theirs docker.io/library/nginx:1.31");
    let text = team.text();
    assert_eq!(text.matches("<<<<<<<").count(), 1);
    insta::assert_snapshot!(marked(&text));
    assert!(team.git(&["status", "--short"]).stdout.contains("UU lock/ztlab.lock"));
    // The person decides in the intent, and keeps that side of the lock.
    let check = team.run(&["lock", "--check"]);
    assert!(check.stderr.contains("lock::conflict") || check.stderr.contains("intent::conflict"), "{}", check.stderr);
    let decided = one.replace("1.20.0", "1.21.0");
    team.home.write("lab/lock/ztlab.toml", &decided);
    let (before, rest) = text.split_once("<<<<<<<").unwrap();
    let (_, rest) = rest.split_once("=======\n").unwrap();
    let (theirs, after) = rest.split_once(">>>>>>>").unwrap();
    let after = after.split_once('\n').unwrap().1;
    team.home.write("lab/lock/ztlab.lock", &format!("{before}{theirs}{after}"));
    assert_in_order(&team, &decided);
}

#[test]
fn versions_and_removals_in_conflict_are_marked_where_they_stand() {
    let team = with_driver();
    let one = INTENT.replace("calico = \"3.27.0\"", "calico = \"3.28.0\"");
    let two = INTENT
        .replace("calico = \"3.27.0\"", "calico = \"3.29.0\"")
        .replace("[image.calico-node]\nref = \"docker.io/calico/node:v{calico}\"\n\n", "");
    branches(&team, &one, &two);
    assert_eq!(merge(&team).exit, 1);
    let text = team.text();
    assert!(
        text.contains(
            "[version]\n<<<<<<< ours\ncalico = \"3.29.0\"\n=======\ncalico = \"3.28.0\"\n>>>>>>> theirs\n\nistio"
        ),
        "{text}"
    );
    assert!(text.contains("<<<<<<< ours (removed)\n=======\n[image.calico-node]\n"), "{text}");
    assert!(text.contains("<<<<<<< ours (https://raw.githubusercontent.com/projectcalico/calico/v3.29.0/"), "{text}");
    assert_eq!(text.matches("<<<<<<<").count(), 3);
}

#[test]
fn an_app_that_both_sides_changed_is_said_to_be_open() {
    let team = with_driver();
    team.branch("one", &INTENT.replace("\"3.1.3\"", "\"3.1.4\""));
    team.git(&["checkout", "-q", "-b", "two", "main"]);
    team.home.write("lab/app/app.py", "print('two')\n");
    let mut lock = lock_of(INTENT);
    let app = lock.app.get_mut("backend").unwrap();
    let tree = format!("0644 {} app.py\n", ztlab::base::Digest::of(b"print('two')\n"));
    app.source = Some(ztlab::base::Digest::of(tree.as_bytes()));
    app.platforms.insert(crate::team::AMD, crate::team::pin("rebuilt", 1));
    team.write(&lock);
    team.commit("two");
    let ran = merge(&team);
    assert_eq!(ran.exit, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("app.backend: both sides changed what it is made of"), "{}", ran.stdout);
    let check = team.run(&["lock", "--check"]);
    assert_eq!(check.exit, 10);
    assert!(check.stderr.contains("error: the lock is incomplete: 1 entry is not pinned yet\n  app.backend: linux-amd64 manifest, linux-arm64 manifest"), "{}", check.stderr);
}

#[test]
fn a_side_that_is_no_lock_gets_the_merge_of_lines_and_its_name() {
    let team = with_driver();
    branches(&team, &INTENT.replace("pause:3.9", "pause:3.10"), &INTENT.replace("nginx:1.30", "nginx:1.31"));
    team.home.edit("lab/lock/ztlab.lock", "want = ", "wants = ");
    team.commit("a slip of the hand");
    let ran = merge(&team);
    assert_eq!(ran.exit, 1);
    assert!(
        ran.stderr.starts_with("error: lock/ztlab.lock: the lock of ours is not one that ztlab wrote"),
        "{}",
        ran.stderr
    );
    let text = team.text();
    assert!(text.contains("wants = ") && text.contains("pause:3.10") && text.contains("nginx:1.31"), "{text}");
    assert!(team.git(&["status", "--short"]).stdout.contains("UU lock/ztlab.lock"));
}

/// Git calls a driver in the top folder, which is no lab here; and two labs that begin on two branches have no
/// ancestor.
#[test]
fn a_lab_in_a_folder_of_the_repository_merges_too() {
    let team = Team::new();
    team.git(&["rm", "-r", "-q", "."]);
    team.home.write("lab/.gitattributes", "ztlab.lock merge=ztlab-lock\n");
    team.commit("no lab so far");
    team.git(&["config", "merge.ztlab-lock.driver", "ztlab lock merge %O %A %B %P"]);
    for (branch, intent) in [
        ("one", INTENT.to_owned()),
        (
            "two",
            INTENT.replace("[wheel.flask]", "[wheel.click]\nversion = \"8.5.1\"\npython = \"3.12\"\n\n[wheel.flask]"),
        ),
    ] {
        team.git(&["checkout", "-q", "-b", branch, "main"]);
        team.home.write("lab/labs/one/lock/ztlab.lock", &lockfile::write(&lock_of(&intent)));
        team.commit(branch);
    }
    let ran = merge(&team);
    assert_eq!(ran.exit, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("labs/one/lock/ztlab.lock: merged, lab "), "{}", ran.stdout);
    let text = fs_err::read_to_string(team.home.path("lab/labs/one/lock/ztlab.lock")).unwrap();
    assert!(text.contains("[wheel.click]") && text.contains("[wheel.flask]"), "{text}");
    lockfile::parse(&text).unwrap();
}

#[test]
fn setting_up_says_when_the_lab_names_no_driver() {
    let team = Team::new();
    let ran = team.run(&["lock", "merge", "--install"]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("echo 'lock/ztlab.lock merge=ztlab-lock' >> .gitattributes"), "{}", ran.stdout);
    let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".gitattributes");
    assert!(fs_err::read_to_string(project).unwrap().lines().any(|line| format!("{line}\n") == ATTRIBUTES));
}

//! Properties of comparing and merging, on generated locks.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    base::{Descriptor, Digest, Expected, Platform},
    intent::Intent,
    lockfile::{self, ImagePin, Lock, LockError, tests::locks},
    review::merge::{Conflict, merge},
};

/// A lock with the entries of `names` and the values of `values`: so that two locks have the same entries, changed.
fn renamed(names: &Lock, values: &Lock) -> Lock {
    fn zip<T: Clone>(names: &BTreeMap<String, T>, values: &BTreeMap<String, T>) -> BTreeMap<String, T> {
        let mut zipped: BTreeMap<String, T> = names.keys().cloned().zip(values.values().cloned()).collect();
        let more = values.iter().skip(zipped.len()).filter(|(name, _)| !names.contains_key(*name));
        zipped.extend(more.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>());
        zipped
    }
    Lock {
        name: values.name.clone(),
        host: values.host.clone(),
        node: values.node.clone(),
        version: zip(&names.version, &values.version),
        tool: zip(&names.tool, &values.tool),
        file: zip(&names.file, &values.file),
        manifest: zip(&names.manifest, &values.manifest),
        image: zip(&names.image, &values.image),
        wheel: zip(&names.wheel, &values.wheel),
        app: zip(&names.app, &values.app),
        profile: zip(&names.profile, &values.profile),
    }
}

/// `base` with those entries of `change` that belong to one of two people: whose name's first byte is even, or odd.
fn share(base: &Lock, change: &Lock, even: bool) -> Lock {
    fn pick<T: Clone>(base: &BTreeMap<String, T>, change: &BTreeMap<String, T>, even: bool) -> BTreeMap<String, T> {
        let mine = |name: &&String| name.bytes().next().is_some_and(|byte| (byte % 2 == 0) == even);
        let kept = base.iter().filter(|(name, _)| !mine(name));
        let changed = change.iter().filter(|(name, _)| mine(name));
        kept.chain(changed).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
    Lock {
        version: pick(&base.version, &change.version, even),
        tool: pick(&base.tool, &change.tool, even),
        file: pick(&base.file, &change.file, even),
        manifest: pick(&base.manifest, &change.manifest, even),
        image: pick(&base.image, &change.image, even),
        wheel: pick(&base.wheel, &change.wheel, even),
        app: pick(&base.app, &change.app, even),
        profile: pick(&base.profile, &change.profile, even),
        ..base.clone()
    }
}

fn swapped(conflicts: Vec<Conflict>) -> Vec<Conflict> {
    let swap = |conflict: Conflict| Conflict { ours: conflict.theirs, theirs: conflict.ours, ..conflict };
    conflicts.into_iter().map(swap).collect()
}

fn count(lock: &Lock) -> usize {
    lock.artifacts().len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_lock_does_not_differ_from_itself(lock in locks()) {
        let diff = Diff::between(Some(&lock), &lock);
        prop_assert!(diff.is_empty());
        prop_assert_eq!((diff.entries, diff.settings, diff.alarms, diff.download.update), (vec![], vec![], vec![], 0));
    }

    #[test]
    fn what_one_direction_adds_the_other_removes(old in locks(), new in locks()) {
        let (there, back) = (Diff::between(Some(&old), &new), Diff::between(Some(&new), &old));
        prop_assert_eq!(there.entries.len(), back.entries.len());
        prop_assert_eq!(there.count(Change::Added), back.count(Change::Removed));
        prop_assert_eq!(count(&old) + there.count(Change::Added), count(&new) + there.count(Change::Removed));
        prop_assert!(there.download.update <= there.download.full);
        prop_assert_eq!(there.download.entries.values().sum::<u64>(), there.download.update);
    }

    #[test]
    fn a_new_lab_is_all_additions_and_no_alarm(lock in locks()) {
        let diff = Diff::between(None, &lock);
        prop_assert_eq!(diff.count(Change::Added), count(&lock));
        prop_assert_eq!(diff.download.update, diff.download.full);
        prop_assert_eq!(diff.alarms, vec![]);
    }

    #[test]
    fn who_changes_nothing_has_no_say(base in locks(), values in locks(), same_names in any::<bool>()) {
        let change = if same_names { renamed(&base, &values) } else { values };
        for (ours, theirs) in [(&change, &base), (&base, &change), (&change, &change)] {
            let merged = merge(&base, ours, theirs);
            prop_assert_eq!(&merged.conflicts, &vec![]);
            prop_assert_eq!(&merged.lock, &change);
            prop_assert_eq!(merged.text, lockfile::write(&change));
        }
    }

    #[test]
    fn changes_of_different_entries_are_all_kept(base in locks(), values in locks()) {
        let values = renamed(&base, &values);
        let (ours, theirs) = (share(&base, &values, true), share(&base, &values, false));
        let merged = merge(&base, &ours, &theirs);
        prop_assert_eq!(&merged.conflicts, &vec![]);
        prop_assert_eq!(merged.lock, Lock { name: base.name.clone(), ..values });
    }

    #[test]
    fn it_does_not_matter_who_merges(base in locks(), ours in locks(), theirs in locks()) {
        let (ours, theirs) = (renamed(&base, &ours), renamed(&base, &theirs));
        let (one, other) = (merge(&base, &ours, &theirs), merge(&base, &theirs, &ours));
        prop_assert_eq!(&one.lock, &other.lock);
        prop_assert_eq!(&one.conflicts, &swapped(other.conflicts));
        match lockfile::parse(&one.text) {
            Ok(parsed) => prop_assert!(one.conflicts.is_empty() && parsed == one.lock),
            Err(LockError::Conflict { .. }) => prop_assert!(!one.conflicts.is_empty()),
            Err(error) => prop_assert!(false, "neither a lock nor a conflict: {error}\n{}", one.text),
        }
    }

    #[test]
    fn a_side_of_every_conflict_makes_a_lock_again(base in locks(), ours in locks(), theirs in locks()) {
        let (ours, theirs) = (renamed(&base, &ours), renamed(&base, &theirs));
        let merged = merge(&base, &ours, &theirs);
        for keep_ours in [true, false] {
            let mut kept = String::new();
            let mut side = None;
            for line in merged.text.split_inclusive('\n') {
                match line.get(..7) {
                    Some("<<<<<<<") => side = Some(true),
                    Some("=======") => side = Some(false),
                    Some(">>>>>>>") => side = None,
                    _ if side.is_none_or(|ours| ours == keep_ours) => kept.push_str(line),
                    _ => {}
                }
            }
            let (chosen, wants) = (if keep_ours { &ours } else { &theirs }, lockfile::wants(&merged.lock));
            // Where the kept side had removed the entry, nothing stands between two blank lines; `ztlab lock` tidies.
            if merged.conflicts.iter().all(|conflict| conflict.ours.is_some() && conflict.theirs.is_some()) {
                let lock = lockfile::parse(&kept).map_err(|error| TestCaseError::fail(format!("{error}\n{kept}")))?;
                for (name, want) in lockfile::wants(&lock) {
                    prop_assert!(wants.get(&name) == Some(&want) || lockfile::wants(chosen).get(&name) == Some(&want));
                }
            }
        }
    }
}

const INTENT: &str = r#"
schema = 1
name = "small"
host = ["linux-amd64"]
node = ["linux-amd64"]
[tool.kubectl]
url = "https://dl.k8s.io/release/v1.28.3/bin/{os}/{arch}/kubectl"
[file.istio]
url = "https://github.com/istio/istio/releases/download/1.20.0/istio.tar.gz"
member = { istioctl = "bin/istioctl" }
[image.python]
ref = "docker.io/library/python:3.12"
[wheel.flask]
version = "3.1.3"
python = "3.12"
[app.backend]
path = "app"
base = "image.python"
ref = "docker.io/library/backend:v1"
wheels = ["flask"]
files = { "app.py" = "/app/app.py" }
command = ["python3"]
"#;

const AMD: Platform = Platform::LinuxAmd64;
const ARM: Platform = Platform::LinuxArm64;

fn small() -> Lock {
    lockfile::request(&Intent::parse(INTENT).unwrap()).unwrap()
}

fn pin(name: &str) -> ImagePin {
    let blob = |part: &str| Descriptor::of(format!("{name} {part}").as_bytes());
    ImagePin { manifest: blob("manifest"), config: blob("config"), layers: vec![blob("layer")] }
}

fn built(lock: &mut Lock, name: &str) {
    lock.app.get_mut("backend").unwrap().platforms.insert(AMD, pin(name));
}

#[test]
fn gaps_that_each_side_filled_are_both_filled() {
    let base = small();
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    let kubectl = ours.tool.get_mut("kubectl").unwrap().platforms.get_mut(&AMD).unwrap();
    kubectl.digest = Some(Digest::of(b"kubectl"));
    let kubectl = theirs.tool.get_mut("kubectl").unwrap().platforms.get_mut(&AMD).unwrap();
    (kubectl.digest, kubectl.size) = (Some(Digest::of(b"kubectl")), Some(7));
    theirs.image.get_mut("python").unwrap().platforms.insert(AMD, pin("python"));
    ours.image.get_mut("python").unwrap().index = Some(Expected::from(Descriptor::of(b"index")));
    let merged = merge(&base, &ours, &theirs);
    assert_eq!(merged.conflicts, []);
    assert_eq!(merged.lock.tool["kubectl"].platforms[&AMD].size, Some(7));
    assert!(merged.lock.image["python"].index.is_some() && merged.lock.image["python"].platforms.contains_key(&AMD));
}

#[test]
fn one_request_with_two_digests_is_a_conflict() {
    let base = small();
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    for (lock, name) in [(&mut ours, "one day"), (&mut theirs, "another day")] {
        let entry = lock.file.get_mut("istio").unwrap();
        (entry.digest, entry.size) = (Some(Digest::of(name.as_bytes())), Some(1));
    }
    let merged = merge(&base, &ours, &theirs);
    assert_eq!(merged.conflicts.len(), 1);
    assert!(merged.text.contains("<<<<<<< ours (same request, other digests)\n[file.istio]\n"), "{}", merged.text);
}

#[test]
fn a_size_of_other_bytes_is_no_knowledge() {
    let mut base = small();
    base.file.get_mut("istio").unwrap().digest = Some(Digest::of(b"old"));
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    ours.file.get_mut("istio").unwrap().digest = Some(Digest::of(b"new"));
    theirs.file.get_mut("istio").unwrap().size = Some(3);
    let merged = merge(&base, &ours, &theirs);
    assert_eq!(merged.conflicts.len(), 1, "{}", merged.text);
}

#[test]
fn a_new_request_beats_new_pins_and_a_removal_beats_them_too() {
    let base = small();
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    theirs.image.get_mut("python").unwrap().platforms.insert(AMD, pin("python 3.12"));
    theirs.file.get_mut("istio").unwrap().size = Some(3);
    ours.image.get_mut("python").unwrap().want = "docker.io/library/python:3.13".to_owned();
    ours.file.remove("istio");
    let merged = merge(&base, &ours, &theirs);
    assert_eq!(merged.conflicts, []);
    assert_eq!(merged.lock.image, ours.image);
    assert_eq!(merged.lock.file, ours.file);
}

#[test]
fn an_image_of_parts_that_nobody_had_together_is_open_again() {
    let mut base = small();
    built(&mut base, "first");
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    ours.wheel.get_mut("flask").unwrap().want = "flask==3.1.4 python 3.12".to_owned();
    built(&mut ours, "with the new flask");
    assert_eq!(merge(&base, &ours, &theirs).lock.app, ours.app, "theirs changed no part");
    theirs.app.get_mut("backend").unwrap().source = Some(Digest::of(b"new files"));
    built(&mut theirs, "with new files");
    let merged = merge(&base, &ours, &theirs);
    assert_eq!((merged.conflicts, merged.reopened), (vec![], vec!["app.backend".to_owned()]));
    assert_eq!(merged.lock.app["backend"].source, theirs.app["backend"].source);
    assert!(merged.lock.app["backend"].platforms.is_empty());
}

/// What line by line would take: an image that was built while the other side moved a part of it.
#[test]
fn an_image_of_old_parts_is_not_taken() {
    let base = small();
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    built(&mut ours, "with the old flask");
    theirs.wheel.get_mut("flask").unwrap().want = "flask==3.1.4 python 3.12".to_owned();
    let merged = merge(&base, &ours, &theirs);
    assert_eq!(merged.reopened, ["app.backend"]);
    assert!(merged.lock.app["backend"].platforms.is_empty());
}

#[test]
fn platforms_are_added_and_given_up_by_either_side() {
    let mut base = small();
    base.node = vec![AMD, ARM];
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    ours.node = vec![AMD];
    ours.host = vec![Platform::DarwinArm64, AMD];
    let mut bumped = theirs.image["python"].clone();
    bumped.want = "docker.io/library/python:3.13".to_owned();
    bumped.platforms = [(AMD, pin("amd")), (ARM, pin("arm"))].into();
    theirs.image.insert("python".to_owned(), bumped);
    let merged = merge(&base, &ours, &theirs);
    assert_eq!(merged.conflicts, []);
    assert_eq!((merged.lock.host, merged.lock.node), (vec![Platform::DarwinArm64, AMD], vec![AMD]));
    let platforms: Vec<Platform> = merged.lock.image["python"].platforms.keys().copied().collect();
    assert_eq!(platforms, [AMD], "pins of a platform that ours gave up");
}

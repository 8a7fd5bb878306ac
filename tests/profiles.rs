//! Profiles: the lab with less. What each has. What becomes of a lab that goes from one to another: `running_lab.rs`.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic like the test")]

use std::path::Path;

use kube::api::DynamicObject;
use ztlab::{
    cluster::manifest::{self, describe},
    lockfile::{self, Lock},
    proof::mutation::mutations,
    step::{objects::own_yaml, trim::trimmed},
};

fn shipped() -> Lock {
    lockfile::parse(include_str!("../lock/ztlab.lock")).unwrap()
}

/// The lab's own objects.
fn own_objects() -> Vec<DynamicObject> {
    let files = own_yaml(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let parsed = files.into_iter().flat_map(|path| {
        manifest::parse(&path.display().to_string(), &fs_err::read_to_string(&path).unwrap()).unwrap()
    });
    parsed.collect()
}

/// That each list is closed, `tests/cli/audits.rs` shows: what is asked for is in it, and nothing else is.
#[test]
fn the_closed_list_of_each_profile() {
    let lock = shipped();
    let lists = lock.profiles().into_iter().map(|profile| {
        let images = lock.images_of(&profile);
        let names: Vec<&str> = images.iter().map(|(_, reference)| reference.as_str()).collect();
        let head = format!("{}: {} MiB, {} CPUs, {} images", profile.name, profile.memory, profile.cpus, names.len());
        format!("{head}\n  {}", names.join("\n  "))
    });
    insta::assert_snapshot!(lists.collect::<Vec<_>>().join("\n"));
}

/// The page for people has the same lists.
#[test]
fn the_page_of_the_lab_shows_what_each_profile_leaves_out() {
    let lock = shipped();
    let page = include_str!("../docs/lab.md");
    for profile in lock.profiles() {
        let images = lock.images_of(&profile).len();
        let row = format!("| `{}` | {} MiB, {} CPUs | {images} |", profile.name, profile.memory, profile.cpus);
        assert!(page.contains(&row), "docs/lab.md has no row that begins with {row}");
    }
    for (_, reference) in lock.images_of(&lock.profile("full").unwrap()) {
        let stays = |name: &str| {
            let profile = lock.profile(name).unwrap();
            let there = lock.images_of(&profile).iter().any(|(_, image)| *image == reference);
            if there { "yes" } else { "" }
        };
        let row = format!("| `{reference}` | {} | {} |", stays("no-addons"), stays("small"));
        assert!(page.contains(&row), "docs/lab.md does not have the row {row}");
    }
}

/// So what the mutation tests show of the policies holds in each profile.
#[test]
fn every_policy_is_the_same_in_every_profile() {
    let policies = |objects: Vec<DynamicObject>| {
        objects.into_iter().filter(|object| !mutations(object, "webapp").is_empty()).collect::<Vec<_>>()
    };
    let full = policies(own_objects());
    assert!(full.len() >= 10, "{}", full.len());
    for profile in shipped().profiles() {
        assert_eq!(policies(trimmed(own_objects(), &profile)), full, "{}", profile.name);
    }
}

/// Exercises call from the load test, so it is in each profile; what Calico's operator is asked for differs.
#[test]
fn what_a_profile_changes_in_the_labs_own_objects() {
    let (lock, full) = (shipped(), own_objects());
    for (name, changed) in [("full", vec![]), ("no-addons", vec![]), ("small", vec!["Installation default".to_owned()])]
    {
        let own = trimmed(own_objects(), &lock.profile(name).unwrap());
        assert_eq!(own.len(), full.len(), "{name}");
        let different = full.iter().zip(&own).filter(|(one, other)| one != other).map(|(one, _)| describe(one));
        assert_eq!(different.collect::<Vec<_>>(), changed, "{name}");
    }
    let small = trimmed(own_objects(), &lock.profile("small").unwrap());
    let installation = small.iter().find(|object| describe(object) == "Installation default").unwrap();
    for field in ["flexVolumePath", "kubeletVolumePluginPath"] {
        assert_eq!(installation.data["spec"][field], "None");
    }
}

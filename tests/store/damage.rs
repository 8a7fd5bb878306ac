//! One flipped, lost or extra byte, anywhere in the store: named, and mended with no more bytes than it takes.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use proptest::prelude::*;
use ztlab::verb::{fetch, store};

use crate::bench::{Bench, assert_nothing_wrong};

/// A lab, and a store that has all of it: made once, copied for each case.
fn whole() -> &'static Bench {
    static WHOLE: OnceLock<Bench> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let bench = Bench::with_images();
        bench.fetch("whole").unwrap();
        bench
    })
}

/// Every file of a store but lock files, relative to it.
fn files(store: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.starts_with(store.join("ztlab/locks")) {
                files.push(path.strip_prefix(store).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(&file);
        fs_err::create_dir_all(target.parent().unwrap()).unwrap();
        fs_err::copy(from.join(&file), target).unwrap();
    }
}

#[derive(Debug, Clone)]
enum Plant {
    Flip { bit: u8 },
    Lose,
    Add { byte: u8 },
    LoseFile,
    AddFile,
}

fn plant() -> impl Strategy<Value = Plant> {
    prop_oneof![
        4 => (0_u8..8).prop_map(|bit| Plant::Flip { bit }),
        4 => Just(Plant::Lose),
        4 => any::<u8>().prop_map(|byte| Plant::Add { byte }),
        1 => Just(Plant::LoseFile),
        1 => Just(Plant::AddFile),
    ]
}

/// Does it, and returns the file that has to be named, and how.
fn damage(store: &Path, file: &Path, plant: &Plant, at: prop::sample::Index) -> (String, &'static str) {
    let path = store.join(file);
    let mut bytes = fs_err::read(&path).unwrap();
    let mut name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let is_blob = file.starts_with("blobs");
    let told = match plant {
        Plant::LoseFile if is_blob || file.parent() == Some(Path::new("")) => {
            fs_err::remove_file(&path).unwrap();
            return (name, "lost");
        }
        Plant::AddFile => {
            name.push_str(".part");
            fs_err::write(store.join("blobs/sha256").join(&name), &bytes).unwrap();
            return (name, "extra");
        }
        Plant::Flip { bit } => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            "flipped"
        }
        Plant::Lose | Plant::LoseFile => {
            bytes.remove(at.index(bytes.len()));
            "truncated"
        }
        Plant::Add { byte } => {
            bytes.insert(at.index(bytes.len() + 1), *byte);
            "extra bytes"
        }
    };
    fs_err::write(&path, bytes).unwrap();
    (name, if is_blob { told } else { "" })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn r3_every_planted_fault_is_named_and_mended_with_its_own_bytes_only(
        which in any::<prop::sample::Index>(), plant in plant(), at in any::<prop::sample::Index>(),
    ) {
        let bench = whole();
        let damaged = tempfile::tempdir().unwrap();
        let folder = damaged.path().join("store");
        copy(&bench.path("whole"), &folder);
        let files = files(&folder);
        prop_assert!(files.len() > 14, "{files:?}");
        let file = which.get(&files);
        let (name, told) = damage(&folder, file, &plant, at);

        let mut context = bench.context("unused");
        context.store = folder.clone();
        let found = bench.block_on(store::verify(&context)).expect_err("nobody noticed");
        let line = found.to_string().lines().find(|line| line.contains(&name)).map(str::to_owned);
        let line = line.unwrap_or_else(|| panic!("{name} is not named in:\n{found}"));
        prop_assert!(line.contains(told), "{line} does not say `{told}`");

        if name == "version" {
            return Ok(()); // Nothing says which layout the store has: that is for a person.
        }
        bench.origin.forget();
        bench.block_on(store::repair(&context, &fetch::Request::default(), None)).unwrap();
        let size = bench.blobs().iter().find(|blob| blob.digest.hex() == name).map_or(0, |blob| blob.size);
        let asked = bench.origin.sent_bytes();
        prop_assert!(asked == size || asked == 0, "{asked} bytes were asked for to mend {size}");
        prop_assert!(bench.origin.requests() <= 1);
        bench.block_on(store::verify(&context)).unwrap();
        assert_nothing_wrong(&folder);
    }
}

/// The next writer of the ledger cuts off a last line without its end, and re-hashing writes.
#[test]
fn r3_a_ledger_without_its_last_newline_is_named_before_anything_is_written_to_it() {
    for cut in [true, false] {
        let bench = whole();
        let damaged = tempfile::tempdir().unwrap();
        let mut context = bench.context("unused");
        context.store = damaged.path().join("store");
        copy(&bench.path("whole"), &context.store);
        let path = context.store.join("ztlab/verified");
        let mut bytes = fs_err::read(&path).unwrap();
        assert_eq!(bytes.pop(), Some(b'\n'));
        bytes.extend((!cut).then_some(b'\n' ^ 1));
        fs_err::write(&path, bytes).unwrap();
        let found = bench.block_on(store::verify(&context)).expect_err("nobody noticed");
        assert!(found.to_string().contains("verified: 1 damaged lines"), "{found}");
        bench.block_on(store::repair(&context, &fetch::Request::default(), None)).unwrap();
        bench.block_on(store::verify(&context)).unwrap();
    }
}

#[test]
fn r3_a_plain_fetch_brings_back_what_somebody_changed() {
    let bench = Bench::with_files(&[5000, 400, 30]);
    bench.fetch("store").unwrap();
    let largest = bench.blobs().into_iter().max_by_key(|blob| blob.size).unwrap();
    let path = bench.path("store/blobs/sha256").join(largest.digest.hex());
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[17] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    bench.origin.forget();
    assert_eq!(bench.fetch("store").unwrap().requests, 1);
    assert_eq!(bench.origin.sent_bytes(), largest.size);
    assert_nothing_wrong(&bench.path("store"));
}

#[test]
fn another_labs_damaged_note_is_named_mended_by_its_lock_and_stops_a_collection() {
    let bench = Bench::with_files(&[500]);
    bench.fetch("store").unwrap();
    let here = bench.context("store");
    let other = ztlab::verb::Context { lab: bench.path("other"), ..here.clone() };
    fs_err::create_dir_all(other.lab.join("lock")).unwrap();
    fs_err::copy(here.lock_path(), other.lock_path()).unwrap();
    bench.block_on(fetch::run(&other, &fetch::Request::default(), None)).unwrap();
    let spoil = || {
        for entry in fs_err::read_dir(bench.path("store/ztlab/labs")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs_err::read_to_string(&path).unwrap();
            if text.contains("/other/") {
                fs_err::write(path, text.replace("\"name\":\"files\"", "\"name\":\"piles\"")).unwrap();
            }
        }
    };
    spoil();
    let named = bench.block_on(store::verify(&here)).unwrap_err().to_string();
    assert!(named.contains("damaged note") && named.contains("other/lock/ztlab.lock"), "{named}");
    let refused = store::look_for_garbage(&here, &[]).unwrap_err();
    assert_eq!(refused.code().unwrap().to_string(), "store::lab_note");
    bench.block_on(store::repair(&here, &fetch::Request::default(), None)).unwrap();
    bench.block_on(store::verify(&here)).unwrap();
    spoil();
    fs_err::remove_file(other.lock_path()).unwrap();
    let left = bench.block_on(store::repair(&here, &fetch::Request::default(), None)).unwrap_err();
    assert!(left.to_string().contains("without that lab, remove the file"), "{left}");
}

//! `store gc` against a model: what a known lock reaches stays, everything else goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use proptest::prelude::*;
use ztlab::{
    base::{Descriptor, report::Recording},
    fetch::Source,
    intent::Intent,
    lockfile,
    verb::{Context, fetch, store},
};

use crate::bench::{Bench, noise, stored};

const LABS: usize = 3;
const BLOBS: usize = 6;

/// What somebody does to the labs and their store.
#[derive(Debug, Clone)]
enum Act {
    /// Writes a lock that needs these blobs: a new lab, or a changed one.
    Lock(usize, Vec<usize>),
    /// Leaves a lock that nobody can read.
    Conflict(usize),
    /// Deletes the lab's folder.
    Delete(usize),
    Fetch(usize),
    /// `gc` in the folder of a lab.
    Collect(usize),
    /// `gc --forget` of the second lab in the folder of the first.
    Forget(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let blobs = prop::collection::btree_set(0..BLOBS, 0..4).prop_map(|set| set.into_iter().collect());
    prop_oneof![
        4 => (0..LABS, blobs).prop_map(|(lab, blobs)| Act::Lock(lab, blobs)),
        1 => (0..LABS).prop_map(Act::Conflict),
        1 => (0..LABS).prop_map(Act::Delete),
        5 => (0..LABS).prop_map(Act::Fetch),
        3 => (0..LABS).prop_map(Act::Collect),
        2 => (0..LABS, 0..LABS).prop_map(|(here, lab)| Act::Forget(here, lab)),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum OnDisk {
    Absent,
    Conflict,
    Needs(BTreeSet<usize>),
}

/// The model: what each lock says, what each lab said when it last used the store, what is stored.
struct Model {
    disk: Vec<OnDisk>,
    noted: Vec<Option<BTreeSet<usize>>>,
    stored: BTreeSet<usize>,
}

impl Model {
    fn new() -> Self {
        Self { disk: vec![OnDisk::Absent; LABS], noted: vec![None; LABS], stored: BTreeSet::new() }
    }

    /// What stays, seen from the folder of a lab; `None` when nobody can say what that lab needs.
    fn reached(&self, here: usize, forgotten: Option<usize>) -> Option<BTreeSet<usize>> {
        let mut reached = BTreeSet::new();
        for lab in (0..LABS).filter(|lab| Some(*lab) != forgotten) {
            match (&self.noted[lab], &self.disk[lab]) {
                (None, _) if lab != here => {}
                (None, OnDisk::Absent) => {}
                (None, OnDisk::Conflict) => return None,
                (_, OnDisk::Needs(blobs)) => reached.extend(blobs),
                (Some(blobs), _) => reached.extend(blobs),
            }
        }
        Some(reached)
    }

    fn is_known(&self, here: usize, lab: usize) -> bool {
        self.noted[lab].is_some() || (lab == here && matches!(self.disk[lab], OnDisk::Needs(_)))
    }
}

fn body(number: usize) -> Vec<u8> {
    noise(number as u64 + 100, 50 + number * 10)
}

/// The labs and their store as they really are.
struct World {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let universe = folder.path().join("universe/blobs/sha256");
        fs_err::create_dir_all(&universe).unwrap();
        for number in 0..BLOBS {
            fs_err::write(universe.join(Descriptor::of(&body(number)).digest.hex()), body(number)).unwrap();
        }
        for lab in 0..LABS {
            fs_err::create_dir_all(folder.path().join(format!("lab{lab}"))).unwrap();
        }
        Self { folder, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap() }
    }

    fn context(&self, lab: usize) -> Context {
        Context {
            lab: self.folder.path().join(format!("lab{lab}")),
            store: self.folder.path().join("store"),
            journals: self.folder.path().join("journals"),
            offline: true,
            mirrors: Vec::new(),
            ca_files: Vec::new(),
            environment: BTreeMap::new(),
            retry: ztlab::fetch::RetryPolicy::default(),
            reporter: Arc::new(Recording::default()),
        }
    }

    fn lock(&self, lab: usize, blobs: &[usize]) {
        let context = self.context(lab);
        let mut intent = format!("schema = 1\nname = \"lab{lab}\"\nnode = [\"linux-arm64\"]\n");
        for number in blobs {
            intent.push_str(&format!("[manifest.m{number}]\nurl = \"https://files.example/{number}\"\n"));
        }
        fs_err::create_dir_all(context.lab.join("lock")).unwrap();
        fs_err::write(context.intent_path(), intent).unwrap();
        let mut lock = lockfile::request(&Intent::read(&context.intent_path()).unwrap()).unwrap();
        for number in blobs {
            let Descriptor { digest, size } = Descriptor::of(&body(*number));
            let entry = lock.manifest.get_mut(&format!("m{number}")).unwrap();
            (entry.digest, entry.size) = (Some(digest), Some(size));
        }
        lockfile::save(&context.lock_path(), &lock).unwrap();
    }

    fn fetch(&self, lab: usize) -> miette::Result<()> {
        let request = fetch::Request {
            from: vec![Source::Folder(self.folder.path().join("universe"))],
            ..fetch::Request::default()
        };
        self.runtime.block_on(fetch::run(&self.context(lab), &request, None)).map(|_| ())
    }

    fn collect(&self, here: usize, forget: &[String]) -> miette::Result<()> {
        let context = self.context(here);
        let told = store::look_for_garbage(&context, forget)?;
        let done = store::collect(&context, &told)?;
        assert_eq!(done.removed, told.garbage, "what was told is what was removed");
        Ok(())
    }

    fn stored(&self) -> BTreeSet<usize> {
        let names: BTreeSet<String> = stored(&self.folder.path().join("store")).into_keys().collect();
        (0..BLOBS).filter(|number| names.contains(&Descriptor::of(&body(*number)).digest.hex())).collect()
    }
}

fn perform(world: &World, model: &mut Model, act: &Act) {
    match act {
        Act::Lock(lab, blobs) => {
            world.lock(*lab, blobs);
            model.disk[*lab] = OnDisk::Needs(blobs.iter().copied().collect());
        }
        Act::Conflict(lab) => {
            let path = world.context(*lab).lock_path();
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "<<<<<<< ours\n").unwrap();
            model.disk[*lab] = OnDisk::Conflict;
        }
        Act::Delete(lab) => {
            let _ = fs_err::remove_dir_all(world.context(*lab).lab.join("lock"));
            model.disk[*lab] = OnDisk::Absent;
        }
        Act::Fetch(lab) => match model.disk[*lab].clone() {
            OnDisk::Needs(blobs) => {
                world.fetch(*lab).unwrap();
                model.stored.extend(&blobs);
                model.noted[*lab] = Some(blobs);
            }
            _ => assert!(world.fetch(*lab).is_err()),
        },
        Act::Collect(here) => match model.reached(*here, None) {
            Some(reached) => {
                world.collect(*here, &[]).unwrap();
                model.stored.retain(|blob| reached.contains(blob));
            }
            None => assert!(world.collect(*here, &[]).is_err()),
        },
        Act::Forget(here, lab) => {
            let forget = [world.context(*lab).lab.display().to_string()];
            // A conflict in a folder that the store does not know keeps everything else from being collected too.
            let readable = model.reached(*here, None).is_some();
            if readable && model.is_known(*here, *lab) {
                let reached = model.reached(*here, Some(*lab)).unwrap();
                world.collect(*here, &forget).unwrap();
                model.noted[*lab] = None;
                model.stored.retain(|blob| reached.contains(blob));
            } else {
                assert!(world.collect(*here, &forget).is_err());
            }
        }
    }
}

#[test]
fn a_lab_with_an_unfinished_merge_can_be_forgotten_from_its_own_folder() {
    let (world, mut model) = (World::new(), Model::new());
    for act in [Act::Lock(2, vec![1]), Act::Fetch(2), Act::Conflict(2), Act::Forget(2, 2)] {
        perform(&world, &mut model, &act);
        assert_eq!(world.stored(), model.stored, "{act:?}");
    }
    assert!(world.stored().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_collection_never_removes_what_a_known_lock_reaches_and_always_the_rest(
        acts in prop::collection::vec(act(), 1..25),
    ) {
        let world = World::new();
        let mut model = Model::new();
        for (number, act) in acts.iter().enumerate() {
            perform(&world, &mut model, act);
            prop_assert_eq!(world.stored(), model.stored.clone(), "after act {} of {:?}", number, acts);
        }
    }
}

fn run(bench: &Bench, store: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = bench.command(store, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn gc_tells_first_and_refuses_without_somebody_to_ask() {
    let bench = Bench::with_files(&[4000, 300]);
    bench.fetch("store").unwrap();
    let store = bench.path("store");
    fs_err::write(store.join("blobs/sha256/left"), "over").unwrap();
    let (exit, told, _) = run(&bench, &store, &["store", "gc", "--dry-run"]);
    assert!(
        exit == 0 && told.contains("4 B would be removed") && told.contains("leftover blobs/sha256/left"),
        "{told}"
    );
    let (exit, told, refused) = run(&bench, &store, &["store", "gc"]);
    assert_eq!(exit, 2);
    assert!(told.contains("4 B to be removed") && refused.contains("next: if what is listed is right"), "{refused}");
    assert!(store.join("blobs/sha256/left").exists());
    let (exit, done, _) = run(&bench, &store, &["store", "gc", "--yes"]);
    assert!(exit == 0 && done.contains("removed 1 files, 4 B"), "{done}");
    let (_, nothing, _) = run(&bench, &store, &["store", "gc"]);
    assert!(nothing.starts_with("nothing to remove"), "{nothing}");

    let (exit, _, unknown) = run(&bench, &store, &["store", "gc", "--forget", "nobody"]);
    assert!(exit == 2 && unknown.contains("knows no lab `nobody`; it knows files ("), "{unknown}");
    let (exit, done, _) = run(&bench, &store, &["store", "gc", "--forget", "files", "--yes"]);
    assert!(exit == 0 && done.contains("removed 2 files, 4.3 kB"), "{done}");
    assert!(stored(&store).is_empty());
}

#[test]
fn du_says_who_needs_how_much() {
    let bench = Bench::with_images();
    bench.fetch("store").unwrap();
    let (exit, text, _) = run(&bench, &bench.path("store"), &["store", "du"]);
    assert_eq!(exit, 0);
    for part in ["image ", "manifest ", "file ", "images ", "/lab/lock/ztlab.lock", "counted once"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let (_, json, _) = run(&bench, &bench.path("store"), &["--json", "store", "du"]);
    let value: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    let total: u64 = bench.blobs().iter().map(|blob| blob.size).sum();
    assert_eq!(value["outcome"]["bytes"], total);
    assert_eq!(value["outcome"]["garbage"], 0);
}

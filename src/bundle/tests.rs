use std::{
    collections::BTreeMap,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    base::{Descriptor, Digest, Platform, report::Silent},
    lockfile::{self, CheckedLock, ImageEntry, ImagePin, Lock},
    plan::Complete,
    store::Store,
};

/// A machine with a complete lab on it.
struct Machine {
    folder: tempfile::TempDir,
}

fn put(store: &Store, text: &str) -> Descriptor {
    store.put(text.as_bytes(), &Silent).unwrap().descriptor()
}

/// A lab of two images with a common layer; `tag` makes it another one.
fn lock(store: &Store, tag: &str) -> Lock {
    let image = |name: &str| {
        let pin = ImagePin {
            manifest: put(store, &format!(r#"{{"layers":["{name} {tag}"]}}"#)),
            config: put(store, &format!("config of {name} {tag}")),
            layers: vec![put(store, &"shared ".repeat(400)), put(store, &format!("layer of {name}"))],
        };
        ImageEntry {
            want: format!("docker.io/library/{name}:{tag}"),
            index: None,
            platforms: BTreeMap::from([(Platform::LinuxArm64, pin)]),
            hints: BTreeMap::new(),
        }
    };
    Lock {
        name: "two".to_owned(),
        node: vec![Platform::LinuxArm64],
        image: ["a", "b"].into_iter().map(|name| (name.to_owned(), image(name))).collect(),
        ..Lock::default()
    }
}

impl Machine {
    fn new(tag: &str) -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        let lock = lock(&machine.store(), tag);
        for (path, text) in [
            ("lock/ztlab.lock", lockfile::write(&lock).as_str()),
            ("lock/ztlab.toml", "schema = 1\nname = \"two\"\n"),
            ("manifests/01-namespace.yaml", "kind: Namespace\n"),
            ("app/backend/app.py", "print('hello')\n"),
            ("app/backend/.dockerignore", "*.md\n"),
            ("app/backend/__pycache__/app.pyc", "left behind"),
            ("app/.env", "PASSWORD=secret"),
            ("notes.txt", "not the lab's"),
        ] {
            machine.write(path, text);
        }
        machine
    }

    fn store(&self) -> Store {
        Store::open(self.folder.path().join("store")).unwrap()
    }

    fn lab(&self) -> PathBuf {
        self.folder.path().join("lab")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.lab().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn lock(&self) -> Lock {
        lockfile::read(&self.lab().join("lock/ztlab.lock")).unwrap()
    }

    fn bundle(&self, name: &str, split: Option<u64>, since: Option<Lock>) -> Result<Vec<PathBuf>, BundleError> {
        let complete = Complete::open(CheckedLock::new(self.lock()).unwrap(), self.store()).unwrap();
        // The first bytes of a Linux program; small, so that every byte of the bundle can be tried.
        let program = self.path("ztlab");
        fs_err::write(&program, [&b"\x7fELF\x02\x01\x01"[..], &[0; 9], &[3, 0, 183, 0]].concat()).unwrap();
        let contents = Contents { files: read_lab(&self.lab())?, programs: vec![program], since };
        Draft::new(&complete, contents)?.write(&self.path(name), split, &Silent)
    }
}

fn opened(path: &Path) -> Result<Bundle, BundleError> {
    Bundle::open(path, None)
}

fn checked(path: &Path) -> Result<(), BundleError> {
    opened(path)?.verify(&Silent)
}

#[test]
fn the_same_lab_gives_the_same_bytes_elsewhere_and_comes_out_whole() {
    let (one, other) = (Machine::new("1"), Machine::new("1"));
    let file = one.bundle("lab.tar", None, None).unwrap().remove(0);
    let twin = other.bundle("other name", None, None).unwrap().remove(0);
    assert_eq!(fs_err::read(&file).unwrap(), fs_err::read(twin).unwrap());
    // A change of this digest is a change of the format, or of what a dependency writes.
    let id = opened(&file).unwrap().id();
    insta::assert_snapshot!(id.to_string(), @"sha256:555af1fb04d5156727cc29f32aace227f469a6bca201b283111e1bf15e23458f");

    let bare = tempfile::tempdir().unwrap();
    let store = Store::open(bare.path().join("store")).unwrap();
    let bundle = Bundle::open(&file, Some(id)).unwrap();
    let taken = bundle.import(&store, &Silent).unwrap();
    assert_eq!(taken.blobs, 7, "two manifests, configs and layers, and the layer that both have");
    write_lab(&bare.path().join("lab"), bundle.files(), false).unwrap();
    let lock = lockfile::read(&bare.path().join("lab/lock/ztlab.lock")).unwrap();
    let complete = Complete::open(CheckedLock::new(lock).unwrap(), store.clone()).unwrap();
    assert_eq!(complete.verify(&Silent), []);
    let names: Vec<String> = bundle.files().iter().map(|file| file.entry.path.clone()).collect();
    let expected = [
        "app/backend/.dockerignore",
        "app/backend/app.py",
        "lock/ztlab.lock",
        "lock/ztlab.toml",
        "manifests/01-namespace.yaml",
    ];
    assert_eq!(names, expected);
    assert_eq!(bundle.import(&store, &Silent).unwrap(), Taken::default(), "a second import finds everything there");
}

#[test]
fn a_changed_byte_anywhere_is_refused() {
    let machine = Machine::new("1");
    let path = machine.bundle("lab.tar", None, None).unwrap().remove(0);
    checked(&path).unwrap();
    let file = fs_err::OpenOptions::new().read(true).write(true).open(&path).unwrap().into_parts().0;
    let length = file.metadata().unwrap().len();
    // One bit of every seventh byte: all of them take minutes.
    const STEP: usize = 7;
    let mut named = 0;
    for at in (0..length).step_by(STEP) {
        let mut before = [0];
        file.read_exact_at(&mut before, at).unwrap();
        let bit = (at * 5) % 8;
        file.write_all_at(&[before[0] ^ (1 << bit)], at).unwrap();
        let error = checked(&path).expect_err(&format!("bit {bit} of byte {at} was not missed"));
        named += usize::from(matches!(error, BundleError::Member { .. }));
        assert!(
            matches!(
                error,
                BundleError::Member { .. }
                    | BundleError::Head { .. }
                    | BundleError::None { .. }
                    | BundleError::Newer { .. }
            ),
            "byte {at}: {error}"
        );
        file.write_all_at(&before, at).unwrap();
    }
    checked(&path).unwrap();
    assert!(named * STEP * 2 > usize::try_from(length).unwrap(), "only {named} bytes are told by their member");
}

#[test]
fn an_import_refuses_what_verify_refuses_and_names_the_member() {
    let machine = Machine::new("1");
    let path = machine.bundle("lab.tar", None, None).unwrap().remove(0);
    let whole = fs_err::read(&path).unwrap();
    let bundle = opened(&path).unwrap();
    for member in bundle.members() {
        for at in [member.at + 124, member.data_at(), member.data_at() + member.descriptor.size] {
            let mut bytes = whole.clone();
            bytes[usize::try_from(at).unwrap()] ^= 0x20;
            fs_err::write(&path, &bytes).unwrap();
            let bare = tempfile::tempdir().unwrap();
            let store = Store::open(bare.path()).unwrap();
            let error = opened(&path).and_then(|bundle| bundle.import(&store, &Silent)).unwrap_err().to_string();
            // Behind the last byte of a member without padding, the next one's header begins.
            let next = bundle.members().iter().find(|next| next.at == at).map_or("the end", |next| next.name.as_str());
            assert!(error.contains(&member.name) || error.contains(next), "{} at {at}: {error}", member.name);
            assert!(!store.present().unwrap().contains_key(&member.descriptor.digest) || at != member.data_at());
        }
    }
}

#[test]
fn what_is_cut_off_or_too_long_is_refused() {
    let machine = Machine::new("1");
    let path = machine.bundle("lab.tar", None, None).unwrap().remove(0);
    let whole = fs_err::read(&path).unwrap();
    for length in [0, 100, 512, 700, whole.len() / 2, whole.len() - 512, whole.len() - 1] {
        fs_err::write(&path, &whole[..length]).unwrap();
        assert!(opened(&path).is_err(), "{length} of {} bytes", whole.len());
    }
    for tail in [&b"x"[..], &[0; 512], &whole] {
        fs_err::write(&path, [&whole[..], tail].concat()).unwrap();
        let error = opened(&path).unwrap_err().to_string();
        assert!(error.contains("the end of the bundle"), "{error}");
    }
}

/// More than any bundle here has.
const HUGE: u64 = 1024 * 1024;

/// A bundle whose head says something else, with everything that follows from it.
fn forged(machine: &Machine, change: impl Fn(&mut Head), more: &[&[u8]]) -> PathBuf {
    let path = machine.bundle("lab.tar", None, None).unwrap().remove(0);
    let bundle = opened(&path).unwrap();
    let mut head = bundle.head().clone();
    change(&mut head);
    let text = head.text();
    let layout = Layout::new(&head, &text);
    let mut bytes = Vec::new();
    for member in layout.members.iter().take_while(|member| member.descriptor.size < HUGE) {
        bytes.extend(member.header());
        let digest = member.descriptor.digest;
        let content = more.iter().find(|content| Digest::of(content) == digest).map(|content| content.to_vec());
        let original = || {
            let member = bundle.members().iter().find(|original| original.descriptor.digest == digest).unwrap();
            let mut content = vec![0; usize::try_from(member.descriptor.size).unwrap()];
            bundle.reader(member, 0)(&mut content).unwrap();
            content
        };
        bytes.extend(if member.name == layout::HEAD { text.clone() } else { content.unwrap_or_else(original) });
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(usize::try_from(layout.size.min(HUGE)).unwrap(), 0);
    let forged = machine.path("forged.tar");
    fs_err::write(&forged, bytes).unwrap();
    forged
}

#[test]
fn a_consistent_bundle_with_more_less_or_other_things_in_it_is_refused() {
    let machine = Machine::new("1");
    checked(&forged(&machine, |_| (), &[])).unwrap();
    let foreign = Descriptor::of(b"foreign");
    let insert = |head: &mut Head, blob: Descriptor| {
        head.blobs.push(blob);
        head.blobs.sort();
    };
    let file = |path: &str| LabFile { path: path.to_owned(), file: foreign };
    let add = |head: &mut Head, path: &str| {
        head.files.push(file(path));
        head.files.sort_by(|one, other| one.path.cmp(&other.path));
        insert(head, foreign);
    };
    let refused = |change: &dyn Fn(&mut Head)| {
        let path = forged(&machine, change, &[b"foreign"]);
        opened(&path).unwrap_err().to_string()
    };
    let said = refused(&|head| insert(head, foreign));
    assert!(said.contains("its lock does not name it"), "{said}");
    let said = refused(&|head| head.blobs.retain(|blob| *blob != Descriptor::of(b"layer of a")));
    assert!(said.contains("image.a"), "{said}");
    for path in [
        "../outside",
        "/etc/passwd",
        "lock/../../outside",
        "app//empty",
        "app/.git/hooks/post-checkout",
        "bin/ztlab",
        "app/a\\b",
        "app/c:d",
        "app/line\nbreak",
        "app",
        "app/BACKEND/app.py",
    ] {
        let said = refused(&|head| add(head, path));
        assert!(
            said.contains("not below") || said.contains("not plain") || said.contains("there twice"),
            "{path}: {said}"
        );
    }
    let said = refused(&|head| head.lab.name = "other".to_owned());
    assert!(said.contains("it says lab"), "{said}");
    let said = refused(&|head| head.files.retain(|file| file.path != "lock/ztlab.toml"));
    assert!(said.contains("lock/ztlab.toml"), "{said}");
    let said = refused(&|head| head.blobs.reverse());
    assert!(said.contains("not in order"), "{said}");
    let said = refused(&|head| head.blobs.push(*head.blobs.last().unwrap()));
    assert!(said.contains("there twice"), "{said}");
    let said = refused(&|head| head.blobs[0].size = 1 << 40);
    assert!(said.contains("a bundle of 1099"), "{said}");
    let mut head = opened(&machine.path("lab.tar")).unwrap().head().clone();
    for size in [1 << 51, u64::MAX] {
        head.blobs[0].size = size;
        let said = Head::parse(&head.text()).unwrap_err().to_string();
        assert!(said.contains("more bytes than any disk"), "{said}");
    }
}

#[test]
fn tars_of_others_are_no_bundles() {
    let machine = Machine::new("1");
    let path = machine.path("other.tar");
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "ztlab/bundle.json", "/etc/passwd").unwrap();
    fs_err::write(&path, tar.into_inner().unwrap()).unwrap();
    assert!(opened(&path).is_err());
    for bytes in [&b""[..], b"text", &[0; 4096]] {
        fs_err::write(&path, bytes).unwrap();
        assert!(matches!(opened(&path), Err(BundleError::None { .. })));
    }
    assert!(matches!(opened(&machine.path("nowhere")), Err(BundleError::None { .. })));
}

#[test]
fn parts_are_one_bundle_and_wrong_ones_are_named() {
    let machine = Machine::new("1");
    let whole = fs_err::read(machine.bundle("whole.tar", None, None).unwrap().remove(0)).unwrap();
    let parts = machine.bundle("stick/lab.tar", Some(4100), None).unwrap_err();
    assert!(matches!(parts, BundleError::Write { .. }), "the folder is not there");
    fs_err::create_dir(machine.path("stick")).unwrap();
    let parts = machine.bundle("stick/lab.tar", Some(4100), None).unwrap();
    assert!(parts.len() > 3, "{parts:?}");
    let bytes: Vec<u8> = parts.iter().flat_map(|part| fs_err::read(part).unwrap()).collect();
    assert_eq!(bytes, whole, "parts are the bundle, cut");
    for path in [&parts[0], &machine.path("stick")] {
        checked(path).unwrap();
    }
    let store = Store::open(machine.path("other store")).unwrap();
    assert_eq!(opened(&parts[0]).unwrap().import(&store, &Silent).unwrap().blobs, 7);

    let contents: Vec<Vec<u8>> = parts.iter().map(|part| fs_err::read(part).unwrap()).collect();
    let refused = |expected: &[&str]| {
        let error = checked(&parts[0]).unwrap_err().to_string();
        for (part, bytes) in parts.iter().zip(&contents) {
            fs_err::write(part, bytes).unwrap();
        }
        for word in expected {
            assert!(error.contains(word), "{word}: {error}");
        }
    };
    fs_err::remove_file(&parts[1]).unwrap();
    refused(&["lab.tar.002 is missing"]);
    fs_err::write(&parts[2], &contents[1]).unwrap();
    refused(&["lab.tar.003 has the bytes of lab.tar.002"]);
    fs_err::write(&parts[1], &contents[1][..100]).unwrap();
    refused(&["lab.tar.002 has 100 bytes"]);
    fs_err::write(&parts[0], &contents[0][..2048]).unwrap();
    refused(&["lab.tar.001"]);
    let extra = machine.path(&format!("stick/lab.tar.{:03}", parts.len() + 1));
    fs_err::write(&extra, "x").unwrap();
    refused(&["belongs to another bundle"]);
    fs_err::remove_file(&extra).unwrap();
    let last = contents.len() - 1;
    let mut flipped = contents[last].clone();
    flipped[700] ^= 1;
    fs_err::write(&parts[last], &flipped).unwrap();
    refused(&[parts[last].file_name().unwrap().to_str().unwrap()]);
    let other = Machine::new("2");
    fs_err::create_dir(other.path("stick")).unwrap();
    let foreign = other.bundle("stick/lab.tar", Some(4100), None).unwrap();
    fs_err::copy(&foreign[2], &parts[2]).unwrap();
    refused(&["lab.tar.003"]);
    let error = checked(&parts[1]).unwrap_err().to_string();
    assert!(error.contains("it is part 2"), "{error}");
    fs_err::remove_file(&parts[0]).unwrap();
    let error = checked(&parts[1]).unwrap_err().to_string();
    assert!(error.contains("lab.tar.001 is missing"), "{error}");
    // A shorter bundle of the same name leaves no part of the longer one behind.
    let fewer = machine.bundle("stick/lab.tar", Some(8300), None).unwrap();
    assert!(fewer.len() < parts.len());
    checked(&fewer[0]).unwrap();
}

#[test]
fn a_bundle_of_changes_says_what_it_needs() {
    let old = Machine::new("1");
    let new = Machine::new("2");
    let full = new.bundle("full.tar", None, None).unwrap().remove(0);
    let changes = new.bundle("changes.tar", None, Some(old.lock())).unwrap().remove(0);
    assert!(fs_err::metadata(&changes).unwrap().len() < fs_err::metadata(full).unwrap().len());
    checked(&changes).unwrap();
    let bundle = opened(&changes).unwrap();
    assert_eq!(bundle.left_out().len(), 3, "both layers of the images and the shared one did not change");
    let bare = Store::open(new.path("bare")).unwrap();
    let error = bundle.check_base(&bare).unwrap_err().to_string();
    let base = old.lock().lab_id().to_string();
    assert!(error.contains(&base) && error.contains("image.a: 2 blobs") && error.contains("3 blobs"), "{error}");
    let store = old.store();
    bundle.check_base(&store).unwrap();
    bundle.import(&store, &Silent).unwrap();
    Complete::open(CheckedLock::new(new.lock()).unwrap(), store).unwrap();
}

#[test]
fn an_import_goes_on_where_it_was_killed_and_a_wrong_first_half_is_not_believed() {
    let machine = Machine::new("1");
    let path = machine.bundle("lab.tar", None, None).unwrap().remove(0);
    let shared = Descriptor::of("shared ".repeat(400).as_bytes());
    for half in ["shared sha".to_owned(), "SHARED sha".to_owned(), "shared ".repeat(400)] {
        let bare = tempfile::tempdir().unwrap();
        let store = Store::open(bare.path()).unwrap();
        fs_err::write(bare.path().join("ztlab/partial").join(shared.digest.hex()), &half).unwrap();
        let recording = crate::base::report::Recording::default();
        opened(&path).unwrap().import(&store, &recording).unwrap();
        assert_eq!(store.blob(shared).unwrap().read().unwrap(), "shared ".repeat(400).as_bytes());
        let resumed = crate::base::Event::TransferResumed { id: 0, bytes: half.len() as u64 };
        let same = |event: &crate::base::Event| matches!((event, &resumed), (crate::base::Event::TransferResumed { bytes, .. }, crate::base::Event::TransferResumed { bytes: expected, .. }) if bytes == expected);
        assert!(recording.events().iter().any(same));
    }
}

#[test]
fn damage_in_the_store_is_not_passed_on() {
    let machine = Machine::new("1");
    let blob = machine.store().path_of(&Digest::of(b"layer of a"));
    let complete = Complete::open(CheckedLock::new(machine.lock()).unwrap(), machine.store()).unwrap();
    let contents = Contents { files: read_lab(&machine.lab()).unwrap(), ..Contents::default() };
    let draft = Draft::new(&complete, contents).unwrap();
    fs_err::write(blob, "LAYER of a").unwrap();
    let error = draft.write(&machine.path("lab.tar"), None, &Silent).unwrap_err().to_string();
    assert!(error.contains("image.a") && error.contains("found"), "{error}");
    let left = fs_err::read_dir(machine.folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("lab.tar"));
    assert_eq!(left.count(), 0, "nothing is left of a bundle that was not finished");
}

#[test]
fn a_labs_own_files_are_plain_and_edits_are_not_overwritten_unasked() {
    let machine = Machine::new("1");
    std::os::unix::fs::symlink("/etc/passwd", machine.lab().join("app/link")).unwrap();
    let error = read_lab(&machine.lab()).unwrap_err().to_string();
    assert!(error.contains("app/link") && error.contains("link"), "{error}");
    fs_err::remove_file(machine.lab().join("app/link")).unwrap();

    let path = machine.bundle("lab.tar", None, None).unwrap().remove(0);
    let bundle = opened(&path).unwrap();
    assert_eq!(write_lab(&machine.lab(), bundle.files(), false).unwrap(), Written::default());
    machine.write("app/backend/app.py", "print('mine')\n");
    let error = write_lab(&machine.lab(), bundle.files(), false).unwrap_err().to_string();
    assert!(error.contains("app/backend/app.py"), "{error}");
    assert_eq!(fs_err::read_to_string(machine.lab().join("app/backend/app.py")).unwrap(), "print('mine')\n");
    let written = write_lab(&machine.lab(), bundle.files(), true).unwrap();
    assert_eq!(written.replaced, ["app/backend/app.py"]);
    assert_eq!(fs_err::read_to_string(machine.lab().join("app/backend/app.py")).unwrap(), "print('hello')\n");
}

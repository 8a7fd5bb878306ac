//! The format's promises, on generated locks and on texts that people and merges make.

use std::collections::BTreeMap;

use proptest::{collection, option, prelude::*, sample::select};

use super::*;
use crate::{
    base::{Descriptor, Digest, Expected, Place, Platform},
    intent::{AppRequest, Intent, ProfileRequest, Side},
};

fn digests() -> impl Strategy<Value = Digest> {
    any::<u64>().prop_map(|seed| Digest::of(&seed.to_le_bytes()))
}

fn descriptors() -> impl Strategy<Value = Descriptor> {
    (digests(), 0..u64::from(u32::MAX)).prop_map(|(digest, size)| Descriptor { digest, size })
}

fn expectations() -> impl Strategy<Value = Expected> {
    (option::of(digests()), option::of(0..1_000_000_u64)).prop_map(|(digest, size)| Expected { digest, size })
}

fn names() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9._-]{0,8}"
}

/// Anything that TOML can hold, control characters and quotes included.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z:/.{}0-9-]{0,30}", any::<String>()]
}

fn pins() -> impl Strategy<Value = ImagePin> {
    (descriptors(), descriptors(), collection::vec(descriptors(), 0..4))
        .prop_map(|(manifest, config, layers)| ImagePin { manifest, config, layers })
}

fn per_platform<T: std::fmt::Debug>(values: impl Strategy<Value = T>) -> impl Strategy<Value = BTreeMap<Platform, T>> {
    let platforms = select(vec![Platform::DarwinArm64, Platform::LinuxAmd64, Platform::LinuxArm64]);
    collection::btree_map(platforms, values, 0..3)
}

fn entries<T: std::fmt::Debug>(values: impl Strategy<Value = T>) -> impl Strategy<Value = BTreeMap<String, T>> {
    collection::btree_map(names(), values, 0..3)
}

fn tools() -> impl Strategy<Value = ToolEntry> {
    let pin = (texts(), expectations(), option::of(expectations()), option::of(texts())).prop_map(
        |(url, known, program, checked)| ToolPin { url, digest: known.digest, size: known.size, program, checked },
    );
    (texts(), option::of(texts()), any::<bool>(), option::of(texts()), per_platform(pin)).prop_map(
        |(want, checksum, node, member, platforms)| {
            let side = if node { Side::Node } else { Side::Host };
            ToolEntry { want, checksum, side, member, platforms }
        },
    )
}

fn files() -> impl Strategy<Value = FileEntry> {
    let member =
        (texts(), expectations()).prop_map(|(path, known)| MemberPin { path, digest: known.digest, size: known.size });
    (texts(), option::of(texts()), expectations(), option::of(texts()), entries(member)).prop_map(
        |(want, checksum, known, checked, member)| FileEntry {
            want,
            checksum,
            digest: known.digest,
            size: known.size,
            checked,
            member,
        },
    )
}

fn images() -> impl Strategy<Value = ImageEntry> {
    (texts(), option::of(expectations()), per_platform(pins()), per_platform(expectations())).prop_map(
        |(want, index, platforms, mut hints)| {
            hints.retain(|platform, _| !platforms.contains_key(platform));
            ImageEntry { want, index, platforms, hints }
        },
    )
}

fn wheels() -> impl Strategy<Value = WheelEntry> {
    let download = (option::of(texts()), expectations()).prop_map(|(url, known)| Download {
        url,
        digest: known.digest,
        size: known.size,
    });
    (texts(), per_platform(download)).prop_map(|(want, platforms)| WheelEntry { want, platforms })
}

fn apps() -> impl Strategy<Value = AppEntry> {
    let lists = || collection::vec(texts(), 0..3);
    let maps = || collection::btree_map(texts(), texts(), 0..3);
    let request = ((texts(), texts(), texts(), texts(), texts()), (lists(), maps(), lists(), maps(), lists(), maps()))
        .prop_map(|((path, base, reference, user, workdir), (wheels, files, command, env, ports, labels))| {
            AppRequest { path, base, reference, wheels, files, command, user, workdir, env, ports, labels }
        });
    (request, option::of(digests()), per_platform(pins())).prop_map(|(request, source, platforms)| AppEntry {
        request,
        source,
        platforms,
    })
}

/// Locks with every kind of entry, gap and spelling. For other rooms' properties as well.
pub(crate) fn locks() -> impl Strategy<Value = Lock> {
    let manifest = (texts(), option::of(texts()), expectations(), option::of(texts())).prop_map(
        |(want, checksum, known, checked)| ManifestEntry {
            want,
            checksum,
            digest: known.digest,
            size: known.size,
            checked,
        },
    );
    let profile = (option::of(1u32..), option::of(1u32..), collection::vec(texts(), 0..3))
        .prop_map(|(memory, cpus, without)| ProfileRequest { memory, cpus, without });
    let head = (texts(), entries(texts()), entries(profile));
    let body =
        (entries(tools()), entries(files()), entries(manifest), entries(images()), entries(wheels()), entries(apps()));
    (head, body).prop_map(|((name, version, profile), (tool, file, manifest, image, wheel, app))| Lock {
        name,
        host: vec![Platform::DarwinArm64],
        node: vec![Platform::LinuxAmd64, Platform::LinuxArm64],
        version,
        tool,
        file,
        manifest,
        image,
        wheel,
        app,
        profile,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn parse_after_write_is_the_identity(lock in locks()) {
        let text = write(&lock);
        prop_assert_eq!(parse(&text).unwrap(), lock, "{}", text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse(&text);
    }
}

const INTENT: &str = r#"
schema = 1
name = "small"
host = ["darwin-arm64"]
node = ["linux-arm64"]
[version]
calico = "3.27.0"
[image.calico-node]
ref = "docker.io/calico/node:v{calico}"
[image.pause]
ref = "registry.k8s.io/pause:3.9"
"#;

fn small() -> Lock {
    request(&Intent::parse(INTENT).unwrap()).unwrap()
}

#[test]
fn the_text_is_what_a_reviewer_expects() {
    let mut lock = small();
    let pin = ImagePin {
        manifest: Descriptor::of(b"manifest"),
        config: Descriptor::of(b"config"),
        layers: vec![Descriptor::of(b"layer")],
    };
    let entry = lock.image.get_mut("calico-node").unwrap();
    entry.index = Some(Descriptor::of(b"index").into());
    entry.platforms.insert(Platform::LinuxArm64, pin);
    insta::assert_snapshot!(write(&lock), @r#"
    # Written by `ztlab lock` from ztlab.toml. Edit that file, not this one.
    schema = 1
    name = "small"
    host = ["darwin-arm64"]
    node = ["linux-arm64"]

    [version]
    calico = "3.27.0"

    [image.calico-node]
    want = "docker.io/calico/node:v3.27.0"
    index = { digest = "sha256:1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6", size = 5 }
    linux-arm64 = { manifest = { digest = "sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f", size = 8 }, config = { digest = "sha256:b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910", size = 6 }, layers = [{ digest = "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85", size = 5 }] }

    [image.pause]
    want = "registry.k8s.io/pause:3.9"
    pending = ["linux-arm64 manifest"]
    "#);
}

/// Every way in which a lock is spoilt has its own message, with its place.
#[test]
fn spoilt_locks_are_told_apart() {
    let good = write(&small());
    let entry = "[image.pause]\nwant = \"registry.k8s.io/pause:3.9\"\npending = [\"linux-arm64 manifest\"]\n";
    assert!(good.ends_with(entry), "{good}");
    let spoilt = |from: &str, to: &str| good.replacen(from, to, 1);
    let upper = format!("index = {{ digest = \"sha256:{}\" }}", Digest::of(b"index").hex().to_uppercase());
    for (text, expected) in [
        (spoilt("[image.pause]", "<<<<<<< HEAD\n[image.pause]"), "unfinished merge: a conflict marker in line 14"),
        (format!("{good}\n{entry}"), "[image.pause] twice, the second time in line 18, column 8"),
        (spoilt("pending =", "pinned ="), "unknown field `pinned`"),
        (
            spoilt("schema = 1", "schema = 2\nnovelty = 1"),
            "schema 2, and this ztlab knows schema 1 (line 2, column 10)",
        ),
        (spoilt("pending = [\"linux", &format!("{upper}\npending = [\"linux")), "its digits must be lower case"),
        (good.replace('\n', "\r\n"), "Windows line endings (CR LF), the first in line 1, column 73"),
        (format!("\u{feff}{good}"), "byte order mark (line 1, column 1)"),
        (
            spoilt("name = ", "name  = "),
            "line 3, column 6: it has `name  = \"small\"` where ztlab writes `name = \"small\"`",
        ),
        (spoilt("\npending = [\"linux-arm64 manifest\"]", ""), "ztlab writes `pending = [\"linux-arm64 manifest\"]`"),
        (format!("{good}\n"), "it goes on after its end"),
        (good.trim_end().to_owned(), "there is no newline at its end"),
    ] {
        let error = parse(&text).expect_err(expected).to_string();
        assert!(error.contains(expected), "expected `{expected}`, got `{error}`");
    }
}

#[test]
fn syntax_errors_have_line_and_column() {
    let text = write(&small()).replacen("[image.pause]", "[image.pause", 1);
    let error = parse(&text).unwrap_err();
    assert!(matches!(error, LockError::Syntax { place: Place { line: 14, column: 13 }, .. }), "{error}");
}

#[test]
fn an_incomplete_lock_is_refused_with_every_gap() {
    let error = CheckedLock::new(small()).unwrap_err();
    let names: Vec<&str> = error.pending.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["image.calico-node", "image.pause"]);
    assert!(error.to_string().contains("image.pause: linux-arm64 manifest"), "{error}");
}

#[test]
fn check_names_what_was_added_removed_and_changed() {
    let lock = small();
    let intent = INTENT.replace("3.27.0", "3.28.0").replace("[image.pause]", "[image.pause2]");
    let findings = check(&Intent::parse(&intent).unwrap(), &lock, &BTreeMap::new()).unwrap();
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "image.pause: locked, no longer asked for",
            "image.calico-node: locked docker.io/calico/node:v3.27.0, asked for docker.io/calico/node:v3.28.0",
            "image.pause2: asked for, not locked",
            "version.calico: locked 3.27.0, asked for 3.28.0",
        ]
    );
    assert_eq!(check(&Intent::parse(INTENT).unwrap(), &lock, &BTreeMap::new()).unwrap(), []);
}

/// A lock of one file of each kind, whole, whose checksum file was compared.
fn with_checksums() -> (String, Lock) {
    let url = "https://example.org/v1/thing-{os}-{arch}";
    let intent = format!(
        "schema = 1\nname = \"sums\"\nhost = [\"darwin-arm64\"]\nnode = []\n\
         [tool.a]\nurl = \"{url}\"\nchecksum = \"{url}.sha256\"\n\
         [manifest.b]\nurl = \"https://example.org/b.yaml\"\nchecksum = \"https://example.org/SHA256SUMS\"\n"
    );
    let mut lock = request(&Intent::parse(&intent).unwrap()).unwrap();
    let (digest, size) = (Some(Digest::of(b"thing")), Some(5));
    let pin = lock.tool.get_mut("a").unwrap().platforms.get_mut(&Platform::DarwinArm64).unwrap();
    (pin.digest, pin.size) = (digest, size);
    pin.checked = Some("https://example.org/v1/thing-darwin-arm64.sha256".to_owned());
    let entry = lock.manifest.get_mut("b").unwrap();
    (entry.digest, entry.size, entry.checked) = (digest, size, Some("https://example.org/SHA256SUMS".to_owned()));
    (intent, lock)
}

#[test]
fn a_checksum_that_was_asked_for_is_pending_until_it_was_compared() {
    let (intent, lock) = with_checksums();
    assert_eq!(lock.pending(), []);
    assert_eq!(parse(&write(&lock)).unwrap(), lock);
    let mut again = request(&Intent::parse(&intent).unwrap()).unwrap();
    carry_over(&mut again, &lock);
    assert_eq!(again, lock, "the same request keeps what was compared");

    // Another checksum file: the digests stay as an expectation, the comparison counts no more.
    let moved = intent.replace("}.sha256", "}.sha256sum").replace("SHA256SUMS", "sums.txt");
    let mut next = request(&Intent::parse(&moved).unwrap()).unwrap();
    carry_over(&mut next, &lock);
    let pending = next
        .pending()
        .into_iter()
        .flat_map(|(name, lacks)| lacks.into_iter().map(move |what| format!("{name} {what}")));
    assert_eq!(pending.collect::<Vec<_>>(), ["tool.a darwin-arm64 checksum", "manifest.b checksum"]);
    assert_eq!(next.manifest["b"].digest, lock.manifest["b"].digest);
    let findings = check(&Intent::parse(&moved).unwrap(), &lock, &BTreeMap::new()).unwrap();
    let told = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(told.contains("asked for https://example.org/b.yaml checksum https://example.org/sums.txt"), "{told}");
}

#[test]
fn references_must_say_registry_and_tag() {
    for (reference, problem) in [
        ("nginx:1", "names no registry"),
        ("library/nginx:1", "names no registry"),
        ("docker.io/library/nginx", "has no tag"),
        ("docker.io/library/nginx:1@sha256:0", "holds a digest"),
    ] {
        let intent = INTENT.replace("registry.k8s.io/pause:3.9", reference);
        let error = request(&Intent::parse(&intent).unwrap()).unwrap_err().to_string();
        assert!(error.contains(problem), "{reference}: {error}");
    }
}

//! Signed locks, as minisign signs them: who is believed, what is said, and what is refused. The signatures are in
//! `tests/fixtures/signatures`.

use std::path::Path;

use crate::home::{Home, Ran};

const LOCK: &str = "lab/lock/ztlab.lock";
const SIGNATURE: &str = "lab/lock/ztlab.lock.minisig";

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/signatures");
    fs_err::read_to_string(folder.join(name)).unwrap()
}

fn key(name: &str) -> String {
    fixture(&format!("{name}.pub")).lines().nth(1).unwrap().to_owned()
}

/// The small lab, with a policy that believes these people, and this signature.
fn home(required: bool, believed: &[&str], signature: Option<&str>) -> Home {
    let home = Home::with_small_lab();
    let keys: String = believed.iter().map(|name| format!("key.{name} = \"{}\"\n", key(name))).collect();
    let required = if required { "required = true\n" } else { "" };
    home.write(
        "lab/lock/policy.toml",
        &format!("schema = 1\n[host]\nmanifest = [\"upstream.invalid\"]\n[signature]\n{required}{keys}"),
    );
    if let Some(text) = signature {
        home.write(SIGNATURE, text);
    }
    home
}

fn check(home: &Home) -> Ran {
    home.run(&["lock", "--check"])
}

/// What every verb that uses the lock makes of it: each ends the same way, before anything else.
fn refused(home: &Home, exit: i32, code: &str, said: &str) {
    let verbs: [&[&str]; 4] =
        [&["lock", "--check"], &["lock", "lint"], &["--offline", "fetch"], &["--offline", "install"]];
    for verb in verbs {
        let ran = home.run(verb);
        assert_eq!(ran.exit, exit, "{verb:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{verb:?} does not say `{said}`:\n{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("ztlab explain {code}")), "{verb:?}: {}", ran.stderr);
    }
    assert!(!home.path("data/ztlab/store/blobs").exists(), "nothing was begun");
}

#[test]
fn a_signature_that_fits_is_said_with_its_trusted_comment() {
    let home = home(true, &["ben", "anna"], Some(&fixture("anna.minisig")));
    let ran = check(&home);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.trim_end().ends_with("; signed by anna (for the class of 2026)"), "{}", ran.stdout);
    let lint = home.run(&["lock", "lint"]);
    assert!(lint.stdout.contains(", signed by anna (for the class of 2026): nothing against"), "{}", lint.stdout);
    let fetch = home.run(&["--offline", "fetch"]);
    assert!(fetch.stderr.contains("lab small (d9e966e258db), signed by anna"), "{}", fetch.stderr);
    let json: serde_json::Value = serde_json::from_str(&home.run(&["--json", "lock", "--check"]).stdout).unwrap();
    assert_eq!(json["outcome"]["signature"]["by"], "anna", "{json}");
}

#[test]
fn an_unsigned_lock_is_taken_and_said_to_be_unsigned() {
    for home in [home(false, &["anna"], None), Home::with_small_lab()] {
        let ran = check(&home);
        assert_eq!(ran.exit, 0, "{}", ran.stderr);
        assert!(ran.stdout.trim_end().ends_with("; unsigned"), "{}", ran.stdout);
        let fetch = home.run(&["--offline", "fetch"]);
        assert!(fetch.stderr.contains("lab small (d9e966e258db), unsigned"), "{}", fetch.stderr);
    }
}

#[test]
fn an_unsigned_lock_is_refused_where_the_policy_requires_a_signature() {
    refused(&home(true, &["anna", "ben"], None), 11, "signature::absent", "requires a signature of anna, ben");
}

#[test]
fn a_signature_that_nobody_can_judge_is_no_error_and_no_proof() {
    let ran = check(&home(false, &[], Some(&fixture("anna.minisig"))));
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("lock/policy.toml names no key to judge it by"), "{}", ran.stdout);
}

#[test]
fn a_lock_that_was_changed_after_it_was_signed_is_refused() {
    let home = home(false, &["anna"], Some(&fixture("anna.minisig")));
    // The size of a download, in both files, so that nothing but the signature can notice.
    home.edit(LOCK, "size = 12\n", "size = 13\n");
    refused(&home, 21, "signature::wrong", "the lock is not the one that anna signed");
}

#[test]
fn another_trusted_comment_is_refused_like_another_lock() {
    let other = fixture("anna.minisig").replace("for the class of 2026", "for the class of 2027");
    refused(&home(false, &["anna"], Some(&other)), 21, "signature::wrong", "was changed since");
}

#[test]
fn the_untrusted_comment_is_no_part_of_it() {
    let other = fixture("anna.minisig").replace("signature from minisign secret key", "anything");
    assert_eq!(check(&home(true, &["anna"], Some(&other))).exit, 0);
}

#[test]
fn a_key_that_the_policy_does_not_name_is_refused_by_its_id() {
    let home = home(false, &["anna"], Some(&fixture("ben.minisig")));
    refused(&home, 11, "signature::key", "is signed by key 1674D2D9DB3ACDEB; lock/policy.toml believes anna");
}

#[test]
fn a_signature_that_only_claims_to_be_annas_is_refused() {
    // Ben's signature with Anna's key ID written over his.
    let splice = |text: &str| text.lines().nth(1).unwrap().to_owned();
    let (anna, ben) = (fixture("anna.minisig"), fixture("ben.minisig"));
    let (annas, bens) = (splice(&anna), splice(&ben));
    // Base64 groups: the first 12 bytes hold algorithm (2) and ID (8), and 2 bytes of the signature.
    let forged = ben.replace(&bens, &format!("{}{}", &annas[..16], &bens[16..]));
    refused(&home(false, &["anna"], Some(&forged)), 21, "signature::wrong", "that anna signed");
}

#[test]
fn minisigns_old_form_is_refused_and_said_to_be_old() {
    let home = home(false, &["anna"], Some(&fixture("legacy.minisig")));
    refused(&home, 11, "signature::legacy", "sign again with minisign 0.10 or newer");
}

#[test]
fn what_is_no_signature_is_said_to_be_none() {
    let whole = fixture("anna.minisig");
    for text in ["", "a letter\n", &whole[..60], &whole[..whole.len() - 60]] {
        refused(&home(false, &["anna"], Some(text)), 21, "signature::syntax", "is no signature of minisign");
    }
}

#[test]
fn a_signed_lock_with_gaps_is_not_completed() {
    let home = home(false, &["anna"], Some(&fixture("gap.minisig")));
    home.edit(LOCK, "size = 12\n", "pending = [\"size\"]\n");
    let ran = home.run(&["fetch"]);
    assert_eq!(ran.exit, 10, "{}", ran.stderr);
    assert!(ran.stderr.contains("signed by anna, and manifest.operator is still pending"), "{}", ran.stderr);
    assert!(ran.stderr.contains("ztlab explain signature::pending"), "{}", ran.stderr);
    fs_err::remove_file(home.path(SIGNATURE)).unwrap();
    let unsigned = home.run(&["--offline", "fetch"]);
    assert_eq!(unsigned.exit, 20, "without a signature the gap is asked for: {}", unsigned.stderr);
}

#[test]
fn a_lock_that_is_written_anew_leaves_an_old_signature_and_that_is_said() {
    let home = home(false, &["anna"], Some(&fixture("anna.minisig")));
    home.edit("lab/lock/ztlab.toml", "calico = \"3.27.0\"", "calico = \"3.27.1\"");
    let ran = home.run(&["lock", "--offline"]);
    assert_ne!(ran.exit, 0, "nobody is asked");
    assert!(ran.stderr.contains("ztlab.lock.minisig belongs to the lock as it was"), "{}", ran.stderr);
    assert_eq!(check(&home).exit, 10, "incomplete comes before the signature");
}

//! Locks and intents that somebody or something spoilt: each is refused, each in its own words, and `docs/lock.md`
//! shows the same words.

use std::path::Path;

use crate::home::Home;

const LOCK: &str = "lab/lock/ztlab.lock";
const INTENT: &str = "lab/lock/ztlab.toml";
const ENTRY: &str = "[manifest.operator]\nwant = \"https://upstream.invalid/v3.27.0/operator.yaml\"\n";
const DIGEST: &str = "sha256:6dcd4ce23d88e2ee9568ba546c007c63d9131c1b1ca8a4e0b8d3a5a0c0b4ae0f";

/// What happened to a file, and how.
struct Case {
    what: &'static str,
    file: &'static str,
    spoil: fn(&str) -> Vec<u8>,
}

/// Replaces what must be there: a case that changes nothing tests nothing.
fn replaced(text: &str, from: &str, to: &str) -> Vec<u8> {
    assert!(text.contains(from), "no `{from}` in the text");
    text.replacen(from, to, 1).into_bytes()
}

fn cases() -> Vec<Case> {
    let lock = |what, spoil| Case { what, file: LOCK, spoil };
    let intent = |what, spoil| Case { what, file: INTENT, spoil };
    vec![
        lock("a merge was left open", |text| {
            replaced(text, "size = 12\n", "<<<<<<< ours\nsize = 12\n=======\nsize = 13\n>>>>>>> theirs\n")
        }),
        lock("a merge kept an entry twice", |text| {
            format!("{text}\n{ENTRY}digest = \"{DIGEST}\"\nsize = 13\n").into_bytes()
        }),
        lock("a merge kept a key twice", |text| replaced(text, "size = 12\n", "size = 12\nsize = 13\n")),
        lock("a merge put an entry out of its order", |text| {
            replaced(text, "\n[version]\ncalico = \"3.27.0\"\n", "\n[version]\noperator = \"1\"\ncalico = \"3.27.0\"\n")
        }),
        lock("a key that the format does not have", |text| replaced(text, "size = 12", "sizes = 12")),
        lock("a section that the format does not have", |text| {
            replaced(text, "[manifest.operator]", "[chart.operator]")
        }),
        lock("a key is gone", |text| replaced(text, "want = \"https://upstream.invalid/v3.27.0/operator.yaml\"\n", "")),
        lock("a digest is gone, and nothing says so", |text| replaced(text, &format!("digest = \"{DIGEST}\"\n"), "")),
        lock("a value of another kind", |text| replaced(text, "size = 12", "size = \"12\"")),
        lock("upper-case hexadecimal digits", |text| replaced(text, "sha256:6dcd4", "sha256:6DCD4")),
        lock("a digest that is too short", |text| replaced(text, "b4ae0f\"", "b4ae\"")),
        lock("a digest of another algorithm", |text| replaced(text, "sha256:", "md5:")),
        lock("the same number, written otherwise", |text| replaced(text, "size = 12", "size = 0x0c")),
        lock("a comment added by hand", |text| replaced(text, "size = 12", "size = 12 # checked")),
        lock("a blank line at the end", |text| format!("{text}\n").into_bytes()),
        lock("no newline at the end", |text| text.trim_end().as_bytes().to_vec()),
        lock("Windows line endings", |text| text.replace('\n', "\r\n").into_bytes()),
        lock("a byte order mark", |text| format!("\u{feff}{text}").into_bytes()),
        lock("bytes that are no text", |text| {
            let mut bytes = text.as_bytes().to_vec();
            let place = text.find("small").unwrap();
            bytes[place] = 0xff;
            bytes
        }),
        lock("cut off in the middle", |text| text.as_bytes()[..text.len() - 40].to_vec()),
        lock("an empty file", |_| Vec::new()),
        lock("a newer schema with keys of its own", |text| replaced(text, "schema = 1", "schema = 2\nnovelty = true")),
        intent("a merge was left open", |text| {
            replaced(
                text,
                "calico = \"3.27.0\"\n",
                "<<<<<<< ours\ncalico = \"3.27.0\"\n=======\ncalico = \"3.28.0\"\n>>>>>>> theirs\n",
            )
        }),
        intent("an entry twice", |text| {
            format!("{text}\n[manifest.operator]\nurl = \"https://upstream.invalid/operator.yaml\"\n").into_bytes()
        }),
        intent("a key that the format does not have", |text| replaced(text, "url =", "link =")),
        intent("a version that is not named", |text| replaced(text, "{calico}", "{kalico}")),
        intent("an image without a tag", |text| {
            format!("{text}\n[image.nginx]\nref = \"docker.io/library/nginx\"\n").into_bytes()
        }),
        intent("an image without a registry", |text| {
            format!("{text}\n[image.nginx]\nref = \"nginx:1\"\n").into_bytes()
        }),
        intent("a newer schema", |text| replaced(text, "schema = 1", "schema = 2")),
        intent("a version was moved, the lock was not", |text| replaced(text, "3.27.0", "3.28.0")),
    ]
}

/// Spoils a file of a lab, and returns what `lock --check` says: the machine's form and the person's.
fn refused(case: &Case) -> (serde_json::Value, String) {
    let home = Home::with_small_lab();
    let good = fs_err::read_to_string(home.path(case.file)).unwrap();
    fs_err::write(home.path(case.file), (case.spoil)(&good)).unwrap();
    let (machine, person) = (home.run(&["--json", "lock", "--check"]), home.run(&["lock", "--check"]));
    assert_eq!(machine.exit, person.exit);
    (
        serde_json::from_str(machine.stdout.trim()).unwrap_or_else(|error| panic!("{}: {error}", case.what)),
        person.stderr,
    )
}

fn word(file: &str) -> &'static str {
    if file == LOCK { "lock" } else { "intent" }
}

#[test]
fn each_spoilt_file_is_refused_in_its_own_words() {
    let mut told = String::new();
    for case in cases() {
        let (_, person) = refused(&case);
        told.push_str(&format!("---- {}: {}\n{person}\n", word(case.file), case.what));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn the_page_of_the_lock_shows_what_is_refused() {
    let mut rows =
        vec!["| file | what happened to it | code, exit | message |".to_owned(), "|---|---|---|---|".to_owned()];
    for case in cases() {
        let (machine, _) = refused(&case);
        let text = |key: &str| machine[key].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        assert!(["2", "10"].contains(&machine["exit"].to_string().as_str()), "{}", case.what);
        assert!(!text("help").is_empty(), "{}: no next command", case.what);
        let (file, exit) = (word(case.file), &machine["exit"]);
        rows.push(format!("| {file} | {} | `{}`, {exit} | {} |", case.what, text("code"), text("message")));
    }
    let page = fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lock.md")).unwrap();
    let table = rows.join("\n");
    assert!(page.contains(&table), "docs/lock.md has another table than this:\n{table}");
}

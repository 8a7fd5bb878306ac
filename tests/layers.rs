//! The rooms' one direction: a room of `src/` uses only rooms below it. What Cargo would enforce between crates is
//! enforced here, by reading the paths that each file names.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic like the test")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The rooms from the top down, as the table in `src/lib.rs` lists them.
const ROOMS: [&str; 20] = [
    "cli", "verb", "review", "step", "demand", "image", "resolve", "serve", "proof", "node", "machine", "cluster",
    "push", "fetch", "bundle", "plan", "store", "lockfile", "intent", "base",
];

/// Rooms that keep out of rooms below them as well: (room, what it may use, why).
const NARROWER: [(&str, &[&str], &str); 12] = [
    ("bundle", &["plan", "store", "lockfile", "base"], "files and values; nothing in it asks a network or a cluster"),
    (
        "review",
        &["demand", "lockfile", "intent", "base"],
        "judges values; what they are read from is its caller's business",
    ),
    ("demand", &["cluster", "base"], "data and objects; whether it is locked is for others to judge"),
    ("image", &["plan", "store", "base"], "works on blobs that are there: nothing in it fetches or asks a cluster"),
    (
        "serve",
        &["fetch", "plan", "store", "lockfile", "base"],
        "hands on what is there; asks no cluster, resolves nothing",
    ),
    (
        "push",
        &["fetch", "bundle", "plan", "store", "lockfile", "base"],
        "hands on what is there; asks no cluster, resolves nothing",
    ),
    ("proof", &["node", "cluster", "base"], "judges the running lab; what the lock says is handed to it as values"),
    ("node", &["cluster", "base"], "takes streams; where the bytes come from is not its business"),
    ("machine", &["cluster", "base"], "asks programs and reads files; which lab is meant is handed to it as values"),
    ("cluster", &["base"], "talks to a cluster; knows no store and no lock"),
    ("store", &["base"], "keeps blobs; knows nothing about what they are for"),
    ("intent", &["base"], "what a person asks for stands alone"),
];

/// The only room that may read the environment of the process.
const READS_ENVIRONMENT: &str = "cli";

#[test]
fn a_room_uses_only_rooms_below_it() {
    let mut wrong = Vec::new();
    for file in source_files() {
        let room = room_of(&file);
        let height = height(&room).unwrap_or_else(|| panic!("{}: no room of the table", file.display()));
        for used in rooms_used(&code_of(&file)) {
            match self::height(&used) {
                None => wrong.push(format!("{}: crate::{used} is no room", file.display())),
                Some(other) if other < height => {
                    wrong.push(format!("{}: `{room}` is below `{used}` and must not use it", file.display()));
                }
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point up:\n{}", wrong.join("\n"));
}

#[test]
fn some_rooms_keep_to_less() {
    let mut wrong = Vec::new();
    for file in source_files() {
        let room = room_of(&file);
        let Some((_, allowed, why)) = NARROWER.iter().find(|(name, ..)| *name == room) else { continue };
        for used in rooms_used(&code_of(&file)) {
            if used != room && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: `{room}` uses `{used}`, but: {why}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_command_line_reads_the_environment() {
    let readers: Vec<String> = source_files()
        .into_iter()
        .filter(|file| room_of(file) != READS_ENVIRONMENT)
        .filter(|file| ["env::var(", "env::vars(", "env::var_os("].iter().any(|call| code_of(file).contains(call)))
        .map(|file| file.display().to_string())
        .collect();
    assert!(readers.is_empty(), "take it from the context instead: {}", readers.join(", "));
}

#[test]
fn the_table_is_the_one_in_the_library() {
    let text = fs_err::read_to_string(source().join("lib.rs")).unwrap();
    let listed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`")?.split_once("`] |"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(listed, ROOMS);
    let modules: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(modules, ROOMS.into_iter().collect(), "every module is a room, and every room a module");
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let code = "use crate::{\n    base::{Digest, Size},\n    store::{self, archive::{Entry}},\n    plan,\n};\n\
                pub(crate) fn one(x: crate::fetch::Client) { $crate::node::two() }";
    let found: Vec<String> = rooms_used(code).into_iter().collect();
    assert_eq!(found, ["base", "fetch", "node", "plan", "store"]);
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Position from the top; 0 is the highest.
fn height(room: &str) -> Option<usize> {
    ROOMS.iter().position(|name| *name == room)
}

/// Every file of every room.
fn source_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.retain(|path| *path != source().join("lib.rs") && *path != source().join("main.rs"));
    files.sort();
    assert!(files.len() > ROOMS.len(), "too few files found: is this the source folder?");
    files
}

/// `src/store/ingest.rs` and `src/plan.rs` belong to `store` and `plan`.
fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(source()).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The text without comment lines: documentation may point anywhere.
fn code_of(file: &Path) -> String {
    let text = fs_err::read_to_string(file).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first segments behind `crate::`, groups in braces included.
fn rooms_used(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(group_heads(group)),
            None => rooms.extend(identifier(rest)),
        }
    }
    rooms
}

/// The heads of `base::{Digest, Size}, plan, …}`: commas of inner braces separate nothing here.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (position, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(identifier(group[start..position].trim_start()));
                start = position + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
    (!name.is_empty()).then_some(name)
}

//! The reference pages say what the program says.

use std::{collections::BTreeSet, path::Path};

use crate::home::Home;

fn page(name: &str) -> String {
    fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// What `ztlab --json explain` lists: code, exit code, meaning.
fn explained() -> Vec<Vec<String>> {
    let ran = Home::new().run(&["--json", "explain"]);
    assert_eq!(ran.exit, 0);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn the_page_of_errors_is_the_table_of_explain() {
    let expected: Vec<String> =
        explained().iter().map(|row| format!("| `{}` | {} | {} |", row[0], row[1], row[2])).collect();
    let page = page("errors.md");
    let found: Vec<&str> = page.lines().filter(|line| line.starts_with("| `") && line.contains("::")).collect();
    let missing: Vec<&String> = expected.iter().filter(|row| !found.contains(&row.as_str())).collect();
    assert!(missing.is_empty(), "docs/errors.md lacks these rows:\n{missing:#?}");
    assert_eq!(found, expected, "docs/errors.md has rows that `ztlab explain` does not have, or another order");
}

#[test]
fn the_page_of_errors_has_every_exit_code() {
    // One long line: help is wrapped to the width of a terminal.
    let help = Home::new().run(&["--help"]).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let codes = help.split("Exit codes: ").nth(1).unwrap().split(". `ztlab explain").next().unwrap();
    let page = page("errors.md");
    for entry in codes.split(", ") {
        let (number, meaning) = entry.split_once(' ').unwrap();
        let row = format!("| {number} | {meaning} |");
        assert!(page.contains(&row), "docs/errors.md lacks `{row}`");
    }
}

/// The words that `--help` lists as commands.
fn listed_commands(arguments: &[&str]) -> Vec<String> {
    let help = Home::new().run(&[arguments, &["--help"]].concat()).stdout;
    let Some(list) = help.split("Commands:\n").nth(1) else { return Vec::new() };
    let lines = list.lines().take_while(|line| !line.is_empty());
    lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect()
}

/// The long options that a verb's `--help` lists before the global ones.
fn listed_options(verb: &[&str]) -> BTreeSet<String> {
    let help = Home::new().run(&[verb, &["--help"]].concat()).stdout;
    let own = help.split("Global options:").next().unwrap();
    options_in(own.lines().filter(|line| line.trim_start().starts_with('-')))
}

/// Every `--name` of some lines, `--help` and `--version` aside.
fn options_in<'text>(lines: impl Iterator<Item = &'text str>) -> BTreeSet<String> {
    let mut options = BTreeSet::new();
    for rest in lines.flat_map(|line| line.split("--").skip(1).map(str::to_owned).collect::<Vec<_>>()) {
        let name: String = rest.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '-').collect();
        if !["help", "version", ""].contains(&name.as_str()) {
            options.insert(name);
        }
    }
    options
}

#[test]
fn the_page_of_commands_has_every_verb_with_its_options() {
    let page = page("commands.md");
    let mut sections: Vec<(String, BTreeSet<String>)> = Vec::new();
    for section in page.split("\n## `ztlab ").skip(1) {
        let (name, text) = section.split_once('`').unwrap();
        // An option has its own row: words about it elsewhere do not count.
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `--")?.split('`').next());
        let names = rows.map(|row| row.split(' ').next().unwrap().to_owned()).collect();
        sections.push((name.to_owned(), names));
    }
    let mut expected = Vec::new();
    for verb in listed_commands(&[]) {
        let actions = listed_commands(&[&verb]);
        let own = listed_options(&[&verb]);
        if actions.is_empty() || !own.is_empty() {
            expected.push((verb.clone(), own));
        }
        for action in actions {
            expected.push((format!("{verb} {action}"), listed_options(&[&verb, &action])));
        }
    }
    assert!(expected.len() > 12, "help lists too little: {expected:?}");
    assert_eq!(sections, expected);
}

#[test]
fn the_page_of_commands_has_the_global_options() {
    let help = Home::new().run(&["--help"]).stdout;
    let global = help.split("Global options:").nth(1).unwrap().split("\n\n").next().unwrap();
    let listed = options_in(global.lines().filter(|line| line.trim_start().starts_with('-')));
    let page = page("commands.md");
    let section = page.split("## Options of every verb").nth(1).unwrap().split("\n## ").next().unwrap();
    let written: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `--")?.split('`').next())
        .map(|row| row.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(written, listed);
}

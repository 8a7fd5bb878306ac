//! Every command line in the documentation is one that the program takes.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use serde_json::Value;

use super::Arguments;

fn pages() -> Vec<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![project.join("README.md"), project.join("CONTRIBUTING.md")];
    let docs = fs_err::read_dir(project.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    pages.sort();
    pages
}

/// The fenced blocks of a page, each with the word behind its opening fence.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(word), None) => open = Some((word.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, text))) => text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    blocks
}

/// The commands of a shell line that call ztlab, without what stands after them in the page's second column.
fn commands(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches("- ").trim_start_matches("run: ").trim_start_matches("{ ");
    let line = line.replace("&&", ";").replace(['|', '>', '#'], ";");
    let parts = line.split(';').map(str::trim).filter(|part| part.starts_with("ztlab "));
    parts.map(|part| part.split("   ").next().unwrap_or(part).trim().to_owned()).collect()
}

/// Placeholders of a rule, as in `ztlab VERB --help`: nothing that anybody types.
fn is_pattern(command: &str) -> bool {
    command.contains('…') || command.contains("VERB") || command.contains('[') || command.contains('%')
}

#[test]
fn every_command_line_in_the_documentation_is_taken() {
    let mut count = 0;
    for path in pages() {
        let page = fs_err::read_to_string(&path).unwrap();
        let lines: Vec<String> =
            blocks(&page).iter().flat_map(|(_, text)| text.lines().flat_map(commands).collect::<Vec<_>>()).collect();
        for command in lines.iter().filter(|command| !is_pattern(command)) {
            let words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
            if let Err(error) = Arguments::try_parse_from(words) {
                panic!("{}: `{command}` is refused: {error}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 15, "only {count} command lines found: is this the documentation?");
}

#[test]
fn a_wrong_command_line_would_be_found() {
    assert_eq!(
        commands("  - run: ztlab lock --check && ztlab lock lint  # why"),
        ["ztlab lock --check", "ztlab lock lint"]
    );
    assert_eq!(commands("{ echo; ztlab lock diff --format md; } > body"), ["ztlab lock diff --format md"]);
    assert_eq!(commands("ztlab fetch                       # online, once"), ["ztlab fetch"]);
    assert!(Arguments::try_parse_from(["ztlab", "lock", "--chek"]).is_err());
}

#[test]
fn the_workflows_are_workflows_with_few_rights_and_whole_scripts() {
    let page = fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md")).unwrap();
    let workflows: Vec<String> =
        blocks(&page).into_iter().filter(|(word, _)| word == "yaml").map(|(_, text)| text).collect();
    // The last one signs what has been merged already: there is no pull request to write to.
    let rights_of = [["contents", "pull-requests"].as_slice(), &["contents", "pull-requests"], &["contents"]];
    assert_eq!(workflows.len(), rights_of.len());
    for (text, expected) in workflows.into_iter().zip(rights_of) {
        let workflow: Value = serde_saphyr::from_str(&text).unwrap();
        let triggers = workflow["on"].as_object().unwrap();
        assert!(!triggers.is_empty() && !triggers.contains_key("pull_request_target"));
        let rights: Vec<&String> = workflow["permissions"].as_object().unwrap().keys().collect();
        assert_eq!(rights, expected);
        for job in workflow["jobs"].as_object().unwrap().values() {
            assert!(job["timeout-minutes"].is_u64());
            for step in job["steps"].as_array().unwrap() {
                match (step["uses"].as_str(), step["run"].as_str()) {
                    (Some(action), None) => assert_eq!(action, "actions/checkout@v4"),
                    (None, Some(script)) => assert_script(script),
                    _ => panic!("a step neither uses nor runs: {step}"),
                }
            }
        }
    }
}

/// The shell can parse it, and no expression is pasted into it.
fn assert_script(script: &str) {
    assert!(!script.contains("${{"), "an expression in a script can be code of whoever named the branch: {script}");
    let checked = std::process::Command::new("sh").args(["-n", "-c", script]).output().unwrap();
    assert!(checked.status.success(), "{script}\n{}", String::from_utf8_lossy(&checked.stderr));
}

//! Programs of a wheel: those it carries, and those that its entry points ask for. Nothing is run to make them.

use std::collections::BTreeMap;

/// The interpreter under the one name that it has in the official Python images, whatever its version.
const INTERPRETER: &str = "/usr/local/bin/python3";
/// Groups of `entry_points.txt` that become programs (PyPA, "Entry points specification").
const GROUPS: [&str; 2] = ["console_scripts", "gui_scripts"];

/// A script of `.data/scripts`: a first line that begins with `#!python` gets the interpreter's place (PyPA, "Binary
/// distribution format", "Recommended installer features").
pub(super) fn rewritten(content: Vec<u8>) -> Vec<u8> {
    if !content.starts_with(b"#!python") {
        return content;
    }
    let end = content.iter().position(|byte| *byte == b'\n').unwrap_or(content.len());
    [format!("#!{INTERPRETER}").as_bytes(), &content[end..]].concat()
}

/// The programs that `entry_points.txt` asks for: name → text.
pub(super) fn of_entry_points(text: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut programs = BTreeMap::new();
    let mut group = "";
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            group = name.trim();
        } else if GROUPS.contains(&group) {
            let wrong = || format!("its entry_points.txt has the line `{}`", line.escape_debug());
            let (name, object) = line.split_once('=').ok_or_else(wrong)?;
            let program = program(object).ok_or_else(wrong)?;
            if programs.insert(program_name(name.trim()).ok_or_else(wrong)?.to_owned(), program).is_some() {
                return Err(format!("its entry_points.txt names the program `{}` twice", name.trim()));
            }
        }
    }
    Ok(programs)
}

/// A name that is a file's, inside the folder of programs.
fn program_name(name: &str) -> Option<&str> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    (!name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)).then_some(name)
}

/// `module:attribute.of.it [extra]` as a program. The words go into Python text, so they must be names.
fn program(object: &str) -> Option<Vec<u8>> {
    let object = object.split('[').next()?.trim();
    let (module, attribute) = object.split_once(':')?;
    let (module, attribute) = (module.trim(), attribute.trim());
    if !is_dotted(module) || !is_dotted(attribute) {
        return None;
    }
    let import = attribute.split('.').next()?;
    let text = format!(
        "#!{INTERPRETER}\nimport sys\n\nfrom {module} import {import}\n\nif __name__ == \"__main__\":\n    sys.exit({attribute}())\n"
    );
    Some(text.into_bytes())
}

fn is_dotted(text: &str) -> bool {
    text.split('.').all(|part| {
        part.chars().next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_')
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreters_place_goes_into_the_first_line_only() {
        assert_eq!(rewritten(b"#!python\nprint(1)\n".to_vec()), b"#!/usr/local/bin/python3\nprint(1)\n");
        assert_eq!(rewritten(b"#!pythonw -E\n#!python\n".to_vec()), b"#!/usr/local/bin/python3\n#!python\n");
        assert_eq!(rewritten(b"#!/bin/sh\n".to_vec()), b"#!/bin/sh\n");
    }

    #[test]
    fn entry_points_become_programs() {
        let text = "[console_scripts]\nflask = flask.cli:main\n\n# words\n[flask.commands]\nrun = nothing here\n\
                    [gui_scripts]\nwindow=a.b:App.start [extra]\n";
        let programs = of_entry_points(text).unwrap();
        assert_eq!(programs.keys().collect::<Vec<_>>(), ["flask", "window"]);
        let flask = String::from_utf8(programs["flask"].clone()).unwrap();
        insta::assert_snapshot!(flask, @r#"
        #!/usr/local/bin/python3
        import sys

        from flask.cli import main

        if __name__ == "__main__":
            sys.exit(main())
        "#);
        let window = String::from_utf8(programs["window"].clone()).unwrap();
        assert!(window.contains("from a.b import App\n") && window.contains("sys.exit(App.start())"), "{window}");
    }

    #[test]
    fn an_entry_point_that_is_no_name_is_refused() {
        for line in ["x = os; print(1):main", "../x = a:b", "x = a:b()", ".hidden = a:b", "x = a", "a/b = c:d", "x"] {
            let refusal = of_entry_points(&format!("[console_scripts]\n{line}\n")).unwrap_err();
            assert!(refusal.contains(line), "{refusal}");
        }
    }
}

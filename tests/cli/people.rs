//! What people read: help, version, explanations, completions; where it goes and in which colour.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use crate::home::Home;

const ESCAPE: char = '\u{1b}';

#[test]
fn help_leads_with_the_common_commands_and_the_exit_codes() {
    let ran = Home::new().run(&["--help"]);
    assert_eq!(ran.exit, 0);
    assert_eq!(ran.stderr, "");
    for part in ["ztlab install --offline && ztlab verify", "Exit codes: 0 done, 2 usage", "40 a probe failed"] {
        assert!(ran.stdout.contains(part), "{part} is not in:\n{}", ran.stdout);
    }
}

#[test]
fn version_names_the_program_and_the_platform() {
    let ran = Home::new().run(&["version"]);
    assert_eq!(ran.exit, 0);
    let expected = format!("ztlab {} (", env!("CARGO_PKG_VERSION"));
    assert!(ran.stdout.starts_with(&expected) && ran.stdout.ends_with(")\n"), "{}", ran.stdout);
}

#[test]
fn outside_a_lab_the_next_command_is_named() {
    let ran = Home::new().run(&["fetch"]);
    assert_eq!(ran.exit, 2);
    assert_eq!(ran.stdout, "");
    insta::assert_snapshot!(ran.stderr, @r"
    error: no lab here: neither `[HOME]` nor a folder above it holds lock/ztlab.toml
      next: go into the lab's folder, or name it: ztlab --lab DIR …
      more: ztlab explain usage::lab
    ");
}

#[test]
fn an_unknown_verb_is_a_usage_error() {
    let ran = Home::new().run(&["instal"]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("similar subcommands exist: 'start', 'uninstall', 'install'"), "{}", ran.stderr);
}

#[test]
fn a_code_is_explained() {
    let ran = Home::new().run(&["explain", "lock::stale"]);
    assert_eq!(ran.exit, 0);
    insta::assert_snapshot!(ran.stdout, @r"
    lock::stale

    The intent or an app's source changed since the lock was written.

    Exit code 10: lock stale or incomplete.
    ");
}

#[test]
fn an_unknown_code_is_a_usage_error() {
    let ran = Home::new().run(&["explain", "fetch::nothing"]);
    assert_eq!(ran.exit, 2);
    insta::assert_snapshot!(ran.stderr, @r"
    error: no error has the code `fetch::nothing`
      next: `ztlab explain` lists every code
      more: ztlab explain usage::code
    ");
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh"] {
        let ran = Home::new().run(&["completions", shell]);
        assert_eq!(ran.exit, 0);
        for verb in ["fetch", "install", "uninstall"] {
            assert!(ran.stdout.contains(verb), "{shell} does not complete {verb}");
        }
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    for arguments in [&["explain"][..], &["completions", "zsh"], &["man"]] {
        let home = Home::new();
        let mut child = home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // As `| head -1` does: read a line, then go away.
        let mut first = String::new();
        let mut pipe = BufReader::with_capacity(1, child.stdout.take().unwrap());
        pipe.read_line(&mut first).unwrap();
        drop(pipe);
        let ran = home.take(&child.wait_with_output().unwrap());
        assert!(!first.is_empty());
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn colour_comes_only_when_it_is_asked_for() {
    let home = Home::new();
    let stderr = |arguments: &[&str], variable: Option<(&str, &str)>| {
        home.take(&home.command(arguments).envs(variable).output().unwrap()).stderr
    };
    let wrong = ["explain", "nothing"];
    assert!(!stderr(&wrong, None).contains(ESCAPE), "a pipe is no terminal");
    assert!(stderr(&["--color", "always", "explain", "nothing"], None).contains(ESCAPE));
    assert!(stderr(&wrong, Some(("CLICOLOR_FORCE", "1"))).contains(ESCAPE));
    let both = home.command(&wrong).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().unwrap();
    assert!(!home.take(&both).stderr.contains(ESCAPE), "NO_COLOR wins");
}

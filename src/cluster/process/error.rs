//! A child that could not do its work.

use std::{io, time::Duration};

/// A child that could not do its work.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ProcessError {
    /// The program is not on `PATH`.
    #[error("cannot run `{command}`: there is no `{program}` on PATH (looked in {path})")]
    #[diagnostic(code(process::not_found), help("install `{program}`, then run the same command again"))]
    NotFound {
        /// What was attempted.
        command: String,
        /// The program.
        program: String,
        /// The search path.
        path: String,
    },
    /// The system refused to start it, or a pipe to it broke.
    #[error("cannot run `{command}`")]
    #[diagnostic(code(process::start), help("look at the rights of the program and its folder"))]
    Start {
        /// What was attempted.
        command: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The data for its stdin could not be read.
    #[error("cannot read the data that `{command}` waits for")]
    #[diagnostic(code(process::input), help("type `ztlab store verify` to see whether the stored bytes are sound"))]
    Input {
        /// What was attempted.
        command: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// It ended with another exit code than expected.
    #[error("`{command}` failed: expected exit code 0, found {}{}", code_text(*.code), quoted(.stderr))]
    #[diagnostic(code(process::failed), help("mend what its words name, and run the same command again"))]
    Failed {
        /// What was attempted.
        command: String,
        /// The exit code, or `None` after a signal.
        code: Option<i32>,
        /// The last lines that it wrote to stderr.
        stderr: Vec<String>,
    },
    /// It was killed at its deadline.
    #[error("`{command}` did not end within {} s and was stopped{}", .deadline.as_secs(), quoted(.stderr))]
    #[diagnostic(
        code(process::deadline),
        help("run the same command again, with a longer `--timeout` on a slow machine")
    )]
    Deadline {
        /// What was attempted.
        command: String,
        /// How long it had.
        deadline: Duration,
        /// The last lines that it wrote to stderr.
        stderr: Vec<String>,
    },
}

fn code_text(code: Option<i32>) -> String {
    code.map_or_else(|| "a signal".to_owned(), |code| code.to_string())
}

fn quoted(lines: &[String]) -> String {
    if lines.is_empty() {
        "; it wrote nothing to stderr".to_owned()
    } else {
        format!("; it said:\n  {}", lines.join("\n  "))
    }
}

//! Questions that a person has to answer before something is lost.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// A question that nobody can answer.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum AskError {
    #[error("nothing was done: it needs a yes, and there is no terminal to ask")]
    #[diagnostic(code("usage::yes"), help("if what is listed is right, run `{next}`"))]
    Nobody { next: &'static str },
    #[error("the answer cannot be read: {0}")]
    #[diagnostic(code("usage::io"))]
    Read(#[from] std::io::Error),
}

/// Asks; everything but a yes is a no. `next` is the command that says yes beforehand.
pub(super) fn confirm(question: &str, next: &'static str, yes: bool, json: bool) -> Result<bool, AskError> {
    if yes {
        return Ok(true);
    }
    // A program that reads JSON is nobody to ask either.
    if json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(AskError::Nobody { next });
    }
    let _ = write!(anstream::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, expected) in [("y\n", true), (" YES \n", true), ("", false), ("n\n", false), ("yellow\n", false)] {
            assert_eq!(super::is_yes(answer), expected, "{answer:?}");
        }
    }
}

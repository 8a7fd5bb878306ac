//! A proof as a document that a student hands in: one file, nothing loaded from elsewhere, no secret in it.
//!
//! What goes in is what `verify` found, the lab id and the time. Names of the machine, of the context and of the user stay
//! out.

mod html;
mod markdown;

use std::path::Path;

use jiff::Timestamp;

use crate::{proof::Outcome, verb::verify::Proof};

/// A report for a file whose name does not say how to write it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot tell the form of the report from the name {0}: expected a name that ends in .md or .html")]
#[diagnostic(code("usage::report"), help("type `ztlab verify --report report.html`"))]
pub(in crate::cli) struct UnknownForm(String);

/// The report that could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write the report")]
#[diagnostic(code("usage::write"), help("give `--report` a file in a folder that you may write to"))]
pub(in crate::cli) struct Unwritten(#[from] std::io::Error);

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Form {
    Markdown,
    Html,
}

impl Form {
    /// By the file's name, so that a wrong one is told before the proof begins.
    pub(in crate::cli) fn of(path: &Path) -> Result<Self, UnknownForm> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("md" | "markdown") => Ok(Self::Markdown),
            Some("html" | "htm") => Ok(Self::Html),
            _ => Err(UnknownForm(path.display().to_string())),
        }
    }
}

/// Writes the report.
pub(in crate::cli) fn write(path: &Path, form: Form, proof: &Proof) -> Result<(), Unwritten> {
    Ok(fs_err::write(path, page(form, proof, Timestamp::now()))?)
}

fn page(form: Form, proof: &Proof, made: Timestamp) -> String {
    let made = made.strftime("%Y-%m-%d %H:%M UTC").to_string();
    match form {
        Form::Markdown => markdown::page(proof, &made),
        Form::Html => html::page(proof, &made),
    }
}

/// The word for an outcome, and what to add to it.
fn word(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Passed => ("holds", ""),
        Outcome::Failed { what } => ("does not hold", what),
        Outcome::Skipped { why } => ("not tried", why),
    }
}

/// What a reader wants to know first.
fn summary(proof: &Proof) -> String {
    let failed = proof.verdicts.iter().filter(|verdict| verdict.failed()).count();
    let skipped = proof.verdicts.len() - proof.passed() - failed;
    let mut text = format!("{} of {} claims hold", proof.passed(), proof.verdicts.len());
    if failed > 0 {
        text.push_str(&format!(", {failed} {}", if failed == 1 { "does not" } else { "do not" }));
    }
    if skipped > 0 {
        text.push_str(&format!(", {skipped} not tried"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{PROBES, Verdict, matrix::Row, matrix::cells::Fate};

    fn proof() -> Proof {
        let row = |as_expected| Row {
            from: "a stranger".to_owned(),
            to: "backend".to_owned(),
            port: 5000,
            request: Some("GET /<b>|x".to_owned()),
            expected: Fate::Silence,
            seen: if as_expected { "silence".to_owned() } else { "HTTP 200".to_owned() },
            decided_by: "NetworkPolicy backend".to_owned(),
            as_expected,
            as_ruled: true,
        };
        let verdict = |index: usize, outcome, calls| Verdict {
            probe: PROBES[index],
            outcome,
            evidence: vec!["<script>alert(1)</script> & more".to_owned()],
            control: "the same call by a frontend".to_owned(),
            calls,
            seconds: 1.0,
        };
        let failed = Outcome::Failed { what: "a stranger got in".to_owned() };
        let skipped = Outcome::Skipped { why: "no node".to_owned() };
        Proof {
            lab_id: "sha256:0123".to_owned(),
            profile: "full".to_owned(),
            context: "somebodys-laptop".to_owned(),
            verdicts: vec![
                verdict(0, Outcome::Passed, vec![]),
                verdict(1, failed, vec![row(false), row(true)]),
                verdict(2, skipped, vec![]),
            ],
        }
    }

    fn made() -> Timestamp {
        "2026-11-28T18:00:00Z".parse().unwrap()
    }

    #[test]
    fn both_forms_say_what_was_proved_and_what_was_seen() {
        for form in [Form::Markdown, Form::Html] {
            let page = page(form, &proof(), made());
            for part in [
                "sha256:0123",
                "1 of 3 claims hold, 1 does not, 1 not tried",
                "2026-11-28 18:00 UTC",
                "a stranger got in",
                "the same call by a frontend",
                "NetworkPolicy backend",
                "HTTP 200",
                "no node",
                PROBES[1].why,
            ] {
                assert!(page.contains(part), "{form:?} lacks {part}:\n{page}");
            }
            assert!(!page.contains("somebodys-laptop"), "{form:?} tells the machine");
        }
    }

    #[test]
    fn what_was_seen_cannot_become_markup_and_nothing_is_loaded() {
        let html = page(Form::Html, &proof(), made());
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"));
        for outside in ["http://", "https://", "src=", "href=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        let markdown = page(Form::Markdown, &proof(), made());
        assert!(!markdown.contains("<script") && markdown.contains("GET /&lt;b>\\|x"), "{markdown}");
    }

    #[test]
    fn the_form_is_in_the_name() {
        assert_eq!(Form::of(Path::new("a/report.md")).unwrap(), Form::Markdown);
        assert_eq!(Form::of(Path::new("report.html")).unwrap(), Form::Html);
        assert!(Form::of(Path::new("report.pdf")).unwrap_err().to_string().contains("report.pdf"));
    }
}

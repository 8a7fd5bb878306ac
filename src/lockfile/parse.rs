//! Canonical text to [`Lock`], with a place for whatever is wrong.

use std::sync::Arc;

use miette::{NamedSource, SourceSpan};
use serde::Deserialize;

use crate::intent::SCHEMA;

use super::{Lock, wire::WireLock, write};

/// Text that is no canonical lock.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LockError {
    /// Git left its marks.
    #[error("the lock holds an unfinished merge: a conflict marker in line {line}")]
    #[diagnostic(
        code(lock::conflict),
        help("take either side with `git checkout --theirs lock/ztlab.lock`, merge ztlab.toml, then run `ztlab lock`")
    )]
    Conflict {
        /// Line number, from 1.
        line: usize,
        /// The text.
        #[source_code]
        text: Arc<NamedSource<String>>,
        /// The marker.
        #[label("conflict marker")]
        place: SourceSpan,
    },
    /// Written by something that ztlab does not know yet.
    #[error("the lock has schema {found}, and this ztlab knows schema {SCHEMA}")]
    #[diagnostic(
        code(lock::schema),
        help("a newer ztlab wrote this lock: install that version (`ztlab version` shows yours)")
    )]
    Schema {
        /// The schema in the file.
        found: u32,
    },
    /// Not TOML, a key twice, an unknown key, a value of the wrong kind.
    #[error("cannot read the lock: {message} (line {line}, column {column})")]
    #[diagnostic(
        code(lock::syntax),
        help(
            "nobody edits the lock by hand: restore it with `git checkout lock/ztlab.lock`, or rewrite it with `ztlab lock`"
        )
    )]
    Syntax {
        /// What the parser found.
        message: String,
        /// Line number, from 1.
        line: usize,
        /// Column number, from 1.
        column: usize,
        /// The text.
        #[source_code]
        text: Arc<NamedSource<String>>,
        /// The place.
        #[label("here")]
        place: SourceSpan,
    },
    /// A lock that says the right thing in other bytes would have another lab id.
    #[error("the lock is not in canonical form: line {line} is `{found}`, and ztlab writes `{expected}`")]
    #[diagnostic(
        code(lock::canonical),
        help(
            "an editor or a merge changed it: restore it with `git checkout lock/ztlab.lock`, or rewrite it with `ztlab lock`"
        )
    )]
    NotCanonical {
        /// Line number, from 1.
        line: usize,
        /// The line in the file.
        found: String,
        /// The line that the writer makes.
        expected: String,
        /// The text.
        #[source_code]
        text: Arc<NamedSource<String>>,
        /// The line.
        #[label("this line")]
        place: SourceSpan,
    },
}

/// Parses a lock.
///
/// # Errors
/// When `write(parse(text))` would not be `text`, and before that when the text is no lock at all.
pub fn parse(text: &str) -> Result<Lock, LockError> {
    refuse_conflict_markers(text)?;
    let Schema { schema } = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    if schema != SCHEMA {
        return Err(LockError::Schema { found: schema });
    }
    let wire: WireLock = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    let lock = Lock::from(wire);
    refuse_other_spellings(text, &lock)?;
    Ok(lock)
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

/// Git's markers are seven characters at the start of a line (git-merge(1), "How conflicts are presented").
fn refuse_conflict_markers(text: &str) -> Result<(), LockError> {
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker = ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|marker| line.starts_with(marker));
        if marker {
            return Err(LockError::Conflict {
                line: index + 1,
                text: source(text),
                place: (offset, line.trim_end().len()).into(),
            });
        }
        offset += line.len();
    }
    Ok(())
}

fn refuse_other_spellings(text: &str, lock: &Lock) -> Result<(), LockError> {
    let canonical = write(lock);
    if canonical == text {
        return Ok(());
    }
    let mut expected_lines = canonical.split_inclusive('\n');
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let expected = expected_lines.next().unwrap_or("");
        if line != expected {
            return Err(not_canonical(text, index + 1, offset, line, expected));
        }
        offset += line.len();
    }
    Err(not_canonical(text, text.lines().count() + 1, text.len(), "", expected_lines.next().unwrap_or("")))
}

fn not_canonical(text: &str, line: usize, offset: usize, found: &str, expected: &str) -> LockError {
    // What a terminal would swallow (a carriage return, a byte order mark) is spelled out.
    let shown = |line: &str| -> String {
        let visible = |character: char| match character {
            hidden if hidden.is_control() || hidden == '\u{feff}' => hidden.escape_unicode().to_string(),
            plain => plain.to_string(),
        };
        line.trim_end_matches('\n').chars().map(visible).collect()
    };
    LockError::NotCanonical {
        line,
        found: shown(found),
        expected: shown(expected),
        text: source(text),
        place: (offset, found.trim_end_matches('\n').len()).into(),
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> LockError {
    let span = error.span().unwrap_or(0..0);
    let before = text.get(..span.start).unwrap_or(text);
    let message = match error.message() {
        duplicate if duplicate.contains("duplicate key") => {
            format!("{duplicate}: the same entry stands twice, as a merge of two changes leaves it")
        }
        other => other.to_owned(),
    };
    LockError::Syntax {
        message,
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
        text: source(text),
        place: span.into(),
    }
}

fn source(text: &str) -> Arc<NamedSource<String>> {
    Arc::new(NamedSource::new("lock/ztlab.lock", text.to_owned()))
}

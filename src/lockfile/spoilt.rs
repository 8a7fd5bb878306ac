//! Texts that are no canonical lock: what is wrong with each, where, and what to do about it.

use std::{ops::Range, sync::Arc};

use miette::{NamedSource, SourceSpan};

use crate::{
    base::{Place, conflict_marker},
    intent::SCHEMA,
};

use super::Lock;

/// The text with the name that messages show.
type Text = Arc<NamedSource<String>>;

/// Text that is no canonical lock.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LockError {
    /// Git left its marks.
    #[error("the lock holds an unfinished merge: a conflict marker in {place}")]
    #[diagnostic(
        code(lock::conflict),
        help("take either side with `git checkout --theirs lock/ztlab.lock`, merge ztlab.toml, then run `ztlab lock`")
    )]
    Conflict {
        /// Where.
        place: Place,
        /// The text.
        #[source_code]
        text: Text,
        /// The marker.
        #[label("conflict marker")]
        span: SourceSpan,
    },
    /// Bytes that are no text.
    #[error("the lock is not UTF-8 ({place})")]
    #[diagnostic(code(lock::encoding), help("restore it with `git checkout lock/ztlab.lock`"))]
    Encoding {
        /// Where.
        place: Place,
        /// The text, as far as it is one.
        #[source_code]
        text: Text,
        /// The first byte that is none.
        #[label("no UTF-8 from here on")]
        span: SourceSpan,
    },
    /// Three bytes that some editors put in front of UTF-8.
    #[error("the lock begins with a byte order mark ({place})")]
    #[diagnostic(
        code(lock::byte_order_mark),
        help(
            "an editor put it there: restore the file with `git checkout lock/ztlab.lock`, and edit ztlab.toml instead"
        )
    )]
    ByteOrderMark {
        /// Where.
        place: Place,
        /// The text.
        #[source_code]
        text: Text,
        /// The mark.
        #[label("U+FEFF, which nobody sees, stands before this line")]
        span: SourceSpan,
    },
    /// Lines that end as on Windows.
    #[error("the lock has Windows line endings (CR LF), the first in {place}")]
    #[diagnostic(
        code(lock::line_endings),
        help(
            "put `lock/* text eol=lf` into .gitattributes, then restore the file with `git checkout lock/ztlab.lock`"
        )
    )]
    LineEndings {
        /// Where.
        place: Place,
        /// The text.
        #[source_code]
        text: Text,
        /// The line.
        #[label("ends with CR LF")]
        span: SourceSpan,
    },
    /// Written by something that ztlab does not know.
    #[error("the lock has schema {found}, and this ztlab knows schema {SCHEMA} ({place})")]
    #[diagnostic(
        code(lock::schema),
        help("another version of ztlab wrote this lock: install that version (`ztlab version` shows yours)")
    )]
    Schema {
        /// The schema in the file.
        found: u32,
        /// Where.
        place: Place,
        /// The text.
        #[source_code]
        text: Text,
        /// The number.
        #[label("schema {found}")]
        span: SourceSpan,
    },
    /// The same key twice.
    #[error("the lock has {what} twice, the second time in {place}")]
    #[diagnostic(
        code(lock::duplicate),
        help("a merge of two changes leaves it so: remove the one you do not want, then run `ztlab lock`")
    )]
    Duplicate {
        /// `[image.pause]`, or a key.
        what: String,
        /// Where the second one is.
        place: Place,
        /// The text.
        #[source_code]
        text: Text,
        /// The first one, where it could be found.
        #[label("first here")]
        first: Option<SourceSpan>,
        /// The second one.
        #[label("and here again")]
        span: SourceSpan,
    },
    /// A key that the format does not have.
    #[error("the lock has a key that ztlab does not know: {message} ({place})")]
    #[diagnostic(
        code(lock::unknown_key),
        help(
            "nobody edits the lock by hand: restore it with `git checkout lock/ztlab.lock`; if a newer ztlab wrote it, install that version"
        )
    )]
    UnknownKey {
        /// The key, and those that are known.
        message: String,
        /// Where.
        place: Place,
        /// The text.
        #[source_code]
        text: Text,
        /// The key.
        #[label("unknown")]
        span: SourceSpan,
    },
    /// No digest where one is due.
    #[error("in the lock, {problem} ({place})")]
    #[diagnostic(
        code(lock::digest),
        help(
            "restore the file with `git checkout lock/ztlab.lock`, or have the entry resolved anew with `ztlab lock`"
        )
    )]
    Digest {
        /// What is wrong with it.
        problem: String,
        /// Where.
        place: Place,
        /// The text.
        #[source_code]
        text: Text,
        /// The value.
        #[label("no digest")]
        span: SourceSpan,
    },
    /// Not TOML, a key missing, a value of the wrong kind.
    #[error("cannot read the lock: {message} ({place})")]
    #[diagnostic(
        code(lock::syntax),
        help(
            "nobody edits the lock by hand: restore it with `git checkout lock/ztlab.lock`; where there is none to restore, move it away, and `ztlab lock` makes a new one"
        )
    )]
    Syntax {
        /// What the parser found.
        message: String,
        /// Where.
        place: Place,
        /// The text.
        #[source_code]
        text: Text,
        /// The place.
        #[label("here")]
        span: SourceSpan,
    },
    /// A lock that says the right thing in other bytes would have another lab id.
    #[error("the lock is not in canonical form: {difference}")]
    #[diagnostic(
        code(lock::canonical),
        help(
            "an editor or a merge changed it: `ztlab lock` writes it as it must be; look at `git diff lock/ztlab.lock` before you commit it"
        )
    )]
    NotCanonical {
        /// The first difference, with its place.
        difference: String,
        /// What the text says, for whoever may write it anew.
        content: Box<Lock>,
        /// The text.
        #[source_code]
        text: Text,
        /// From the first difference to the line's end.
        #[label("differs from here on")]
        span: SourceSpan,
    },
}

/// The text of a file.
///
/// # Errors
/// [`LockError::Encoding`] where the bytes are no UTF-8.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, LockError> {
    String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
        // The replacement character has three bytes.
        LockError::Encoding { place: Place::of(&shown, start), text: named(&shown), span: (start, 3).into() }
    })
}

/// Finds what no parser needs to be asked for: marks of editors and of merges.
pub(super) fn refuse_marks(text: &str) -> Result<(), LockError> {
    if let Some(marker) = conflict_marker(text) {
        let place = Place::of(text, marker.start);
        return Err(LockError::Conflict { place, text: named(text), span: marker.into() });
    }
    if text.starts_with('\u{feff}') {
        // A terminal shows nothing for it, so the label points at what stands behind it.
        let behind = text.lines().next().map_or(0, |line| line.trim_start_matches('\u{feff}').len());
        let span = (3, behind).into();
        return Err(LockError::ByteOrderMark { place: Place { line: 1, column: 1 }, text: named(text), span });
    }
    if let Some(offset) = text.find("\r\n") {
        let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let (place, span) = (Place::of(text, offset), (start, offset - start).into());
        return Err(LockError::LineEndings { place, text: named(text), span });
    }
    Ok(())
}

/// Sorts a parser's error by what people do about it.
pub(super) fn syntax(text: &str, error: &toml::de::Error) -> LockError {
    let range = error.span().unwrap_or(0..0);
    let (place, span) = (Place::of(text, range.start), range.clone().into());
    // Multi-line messages repeat the place, which is drawn anyway.
    let message = error.message().lines().next().unwrap_or_default().to_owned();
    let text_of = || named(text);
    if message.contains("duplicate key") {
        let (what, first) = first_of(text, &range);
        return LockError::Duplicate { what, place, text: text_of(), first, span };
    }
    if message.contains("unknown field") {
        return LockError::UnknownKey { message, place, text: text_of(), span };
    }
    if message.contains("is not a digest") {
        return LockError::Digest { problem: message, place, text: text_of(), span };
    }
    LockError::Syntax { message, place, text: text_of(), span }
}

/// What stands twice, and where it stood first. A table's header is the same line again; a key is looked for
/// from the beginning of its table.
fn first_of(text: &str, second: &Range<usize>) -> (String, Option<SourceSpan>) {
    let start = text[..second.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let word = text.get(second.clone()).unwrap_or_default();
    let (what, needle, from) = if line.starts_with('[') {
        (line.to_owned(), line.to_owned(), 0)
    } else {
        let table = text[..start].rfind("\n[").map_or(0, |newline| newline + 1);
        (format!("the key `{word}`"), format!("{word} ="), table)
    };
    let found = text[from..start].match_indices(&needle).map(|(at, _)| from + at);
    let at_line_start = |at: &usize| *at == 0 || text.as_bytes()[at - 1] == b'\n';
    let first = found.into_iter().find(at_line_start).map(|at| (at, needle.trim_end_matches(" =").len()).into());
    (what, first)
}

/// A schema that this ztlab does not read.
pub(super) fn schema(text: &str, found: u32, range: Range<usize>) -> LockError {
    LockError::Schema { found, place: Place::of(text, range.start), text: named(text), span: range.into() }
}

/// Says where a text differs first from what the writer makes of the same content.
pub(super) fn not_canonical(text: &str, canonical: &str, content: Lock) -> LockError {
    let same = text.bytes().zip(canonical.bytes()).take_while(|(one, other)| one == other).count();
    let mut offset = same;
    while !text.is_char_boundary(offset) || !canonical.is_char_boundary(offset) {
        offset -= 1;
    }
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let line =
        |text: &str| -> String { text[start..].lines().next().unwrap_or_default().chars().map(visible).collect() };
    let (place, found, expected) = (Place::of(text, offset), line(text), line(canonical));
    let difference = match (&text[offset..], &canonical[offset..]) {
        ("", "\n") => format!("{place}: there is no newline at its end"),
        ("", _) => format!("{place}: it ends where ztlab writes `{expected}`"),
        (_, "") => format!("{place}: it goes on after its end"),
        _ if expected.is_empty() => format!("{place}: it has `{found}` where ztlab writes an empty line"),
        _ if found.is_empty() => format!("{place} is empty where ztlab writes `{expected}`"),
        _ => format!("{place}: it has `{found}` where ztlab writes `{expected}`"),
    };
    let end = text[offset..].find('\n').map_or(text.len(), |newline| offset + newline);
    // Nothing can be marked behind the last character, so that one is.
    let from = if offset == text.len() { last_character(text) } else { offset };
    LockError::NotCanonical {
        difference,
        content: Box::new(content),
        text: named(text),
        span: (from, end - from).into(),
    }
}

fn last_character(text: &str) -> usize {
    text.trim_end_matches('\n').char_indices().next_back().map_or(0, |(offset, _)| offset)
}

/// What a terminal would swallow or obey is spelled out.
fn visible(character: char) -> String {
    match character {
        hidden if hidden.is_control() || hidden == '\u{feff}' => hidden.escape_unicode().to_string(),
        plain => plain.to_string(),
    }
}

fn named(text: &str) -> Text {
    Arc::new(NamedSource::new("lock/ztlab.lock", text.to_owned()))
}

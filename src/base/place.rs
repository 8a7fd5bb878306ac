//! Places in a text, as editors count.

use std::{fmt, ops::Range};

/// A line and a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of a byte of the text; its end, for an offset that is outside or within a character.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, column {}", self.line, self.column)
    }
}

/// The first line that git left in an unfinished merge: its markers are seven characters at the start of a line
/// (git-merge(1), "How conflicts are presented").
pub fn conflict_marker(text: &str) -> Option<Range<usize>> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let marker = ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|marker| line.starts_with(marker));
        if marker {
            return Some(offset..offset + line.trim_end().len());
        }
        offset += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        for (offset, line, column) in [(0, 1, 1), (3, 1, 3), (4, 2, 1), (5, 2, 2), (99, 2, 2)] {
            assert_eq!(Place::of("aé\nb", offset), Place { line, column }, "offset {offset}");
        }
    }

    #[test]
    fn markers_stand_at_the_beginning_of_a_line() {
        assert_eq!(conflict_marker("a\n<<<<<<< ours\nb"), Some(2..14));
        assert_eq!(conflict_marker("a = \"=======\""), None);
    }
}

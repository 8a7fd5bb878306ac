//! One range of bytes (RFC 9110, section 14). Several at once are answered with the whole, which the RFC allows.

use std::ops::Range;

/// What a `Range` header asks of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: there is no header, or one that may be ignored.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that are not there: 416.
    Outside,
}

/// Reads a `Range` header for a body of this length.
pub(super) fn asked(header: Option<&str>, length: u64) -> Asked {
    let Some(header) = header else { return Asked::Whole };
    let Some((unit, ranges)) = header.split_once('=') else { return Asked::Whole };
    let ranges = ranges.trim();
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Asked::Whole;
    }
    let Some((first, last)) = ranges.split_once('-') else { return Asked::Whole };
    match (number(first), number(last)) {
        // The last so many bytes.
        (Number::Absent, Number::Is(count)) if count == 0 || length == 0 => Asked::Outside,
        (Number::Absent, Number::Is(count)) => Asked::Part(length.saturating_sub(count)..length),
        (Number::Is(first), Number::Is(last)) if first > last => Asked::Whole,
        (Number::Is(first), Number::Is(_) | Number::Absent) if first >= length => Asked::Outside,
        (Number::Is(first), Number::Is(last)) => Asked::Part(first..last.saturating_add(1).min(length)),
        (Number::Is(first), Number::Absent) => Asked::Part(first..length),
        _ => Asked::Whole,
    }
}

/// One end of a range.
enum Number {
    Absent,
    Is(u64),
    Not,
}

/// Digits and nothing else; what overflows is more than any blob has.
fn number(text: &str) -> Number {
    let text = text.trim();
    match text.is_empty() {
        true => Number::Absent,
        false if text.bytes().all(|byte| byte.is_ascii_digit()) => Number::Is(text.parse().unwrap_or(u64::MAX)),
        false => Number::Not,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_open_and_suffix_ranges_are_parts() {
        for (header, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("bytes=2-", 2..10),
            ("bytes=9-", 9..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("bytes=5-99999999999999999999999999", 5..10),
            ("Bytes = 1-2", 1..3),
        ] {
            assert_eq!(asked(Some(header), 10), Asked::Part(expected), "{header}");
        }
    }

    #[test]
    fn what_is_outside_is_said_to_be() {
        for header in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999999999-"] {
            assert_eq!(asked(Some(header), 10), Asked::Outside, "{header}");
        }
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Outside);
        assert_eq!(asked(Some("bytes=-1"), 0), Asked::Outside);
    }

    #[test]
    fn what_is_no_single_range_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-x",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
        ] {
            assert_eq!(asked(Some(header), 10), Asked::Whole, "{header}");
        }
        assert_eq!(asked(None, 10), Asked::Whole);
    }
}

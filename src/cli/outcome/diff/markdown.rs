//! The difference of two locks as the body of a pull request: GitHub's Markdown.
//!
//! Everything that comes from a lock stands in a code span: there, names mention nobody, addresses are no links and
//! HTML is text. Whoever opens a pull request chooses those texts.

use super::{Digests, TITLES, arrow, costs, counts, plain, row, told};
use crate::{review::Diff, verb::lock::DiffOutcome};

/// GitHub takes no comment longer than 65536 characters ("Body is too long"); what a workflow adds needs some room.
const LONGEST: usize = 60_000;

/// The page, without a newline at its end.
pub(in crate::cli) fn page(outcome: &DiffOutcome) -> String {
    let diff = &outcome.diff;
    let digests = Digests::of(diff);
    if diff.is_empty() {
        return format!("**The lock does not change**: lab {}.", code(&digests.short(&diff.now)));
    }
    let mut parts = vec![summary(diff, &digests)];
    parts.extend(alarms(diff, &digests));
    parts.extend(tables(diff));
    let short = parts.join("\n\n");
    parts.extend(settings(diff));
    parts.extend(details(diff, &digests));
    let whole = parts.join("\n\n");
    if whole.len() <= LONGEST {
        return whole;
    }
    let mut end = LONGEST.min(short.len());
    while !short.is_char_boundary(end) {
        end -= 1;
    }
    // Cut between lines: half a row would swallow what follows.
    let end = if end == short.len() { end } else { short[..end].rfind('\n').unwrap_or(0) };
    format!("{}\n\nThis is not all of it: `ztlab lock diff` tells the rest.", &short[..end])
}

fn summary(diff: &Diff, digests: &Digests) -> String {
    let lab = match &diff.was {
        Some(was) => format!("**Lab {} → {}**", code(&digests.short(was)), code(&digests.short(&diff.now))),
        None => format!("**New lab {}**", code(&digests.short(&diff.now))),
    };
    format!("{lab}: {}; {}.", counts(diff), costs(&diff.download))
}

/// GitHub draws this block in red.
fn alarms(diff: &Diff, digests: &Digests) -> Option<String> {
    let lines =
        diff.alarms.iter().map(|alarm| format!("> - **{}** {}", alarm.code.name(), told(alarm, diff, digests, &code)));
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty())
        .then(|| format!("> [!CAUTION]\n> Look at these before you accept the change.\n>\n{}", lines.join("\n")))
}

fn tables(diff: &Diff) -> Vec<String> {
    let mut tables = Vec::new();
    for (change, title) in TITLES {
        let rows: Vec<String> = diff.of(change).map(|entry| cells(&row(entry, &code))).collect();
        if !rows.is_empty() {
            tables.push(format!("| {title} | what | size | to download |\n|---|---|---|---|\n{}", rows.join("\n")));
        }
    }
    tables
}

fn settings(diff: &Diff) -> Option<String> {
    let rows: Vec<String> = diff
        .settings
        .iter()
        .map(|setting| {
            let moved = arrow(setting.was.as_deref(), setting.now.as_deref(), &code);
            cells(&[code(&setting.name), moved])
        })
        .collect();
    let table = format!("| setting | what |\n|---|---|\n{}", rows.join("\n"));
    (!rows.is_empty()).then(|| collapsed("Versions and settings", &table))
}

fn details(diff: &Diff, digests: &Digests) -> Option<String> {
    let mut rows = Vec::new();
    for entry in &diff.entries {
        let digest = |digest: Option<crate::base::Digest>| {
            digest.map(|digest| code(&digests.short(&digest))).unwrap_or_default()
        };
        rows.extend(
            entry
                .parts
                .iter()
                .map(|part| cells(&[code(&entry.artifact), code(&part.part), digest(part.was), digest(part.now)])),
        );
    }
    let table = format!("| entry | part | was | is |\n|---|---|---|---|\n{}", rows.join("\n"));
    (!rows.is_empty()).then(|| collapsed("Digests", &table))
}

/// The blank line lets the table inside be a table.
fn collapsed(title: &str, text: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{text}\n\n</details>")
}

/// A row.
fn cells(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// A code span around any text: with more backticks than the text has in a row (CommonMark 0.31, "Code spans").
///
/// In a table a bar ends the cell even inside a code span, and whether a backslash before it helps depends on what
/// stands before the backslash (GFM 0.29, "Tables (extension)"): so a bar is spelled out.
fn code(text: &str) -> String {
    let text = plain(text).replace('|', "\\u{7c}");
    if text.is_empty() {
        return String::new();
    }
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // A span that begins or ends with a backtick needs a space, which Markdown takes away again.
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lock_says_cannot_leave_its_code_span() {
        for (text, expected) in [
            ("docker.io/a/b:1", "`docker.io/a/b:1`"),
            ("a`b", "``a`b``"),
            ("``", "``` `` ```"),
            ("a\n\n# heading", "`a\\u{a}\\u{a}# heading`"),
            ("</code><img src=x>@everyone", "`</code><img src=x>@everyone`"),
            ("d\u{43e}cker.io", "`d\\u{43e}cker.io`"),
            ("\u{202e}evil", "`\\u{202e}evil`"),
            ("a\\|b", "`a\\\\u{7c}b`"),
        ] {
            assert_eq!(code(text), expected);
        }
    }
}

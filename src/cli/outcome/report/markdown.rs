//! The report as Markdown, as GitHub and most course systems show it.

use super::{
    super::verify::{HEADINGS, cells},
    summary, word,
};
use crate::{
    proof::{Verdict, matrix},
    verb::verify::Proof,
};

pub(super) fn page(proof: &Proof, made: &str) -> String {
    let mut lines = vec![
        "# What my Zero Trust lab proves".to_owned(),
        String::new(),
        format!("**{}.** Made by `ztlab verify` {}, {made}.", summary(proof), env!("CARGO_PKG_VERSION")),
        String::new(),
        format!("Lab id: `{}`, profile {}", proof.lab_id, proof.profile),
        String::new(),
    ];
    let claims = proof.verdicts.iter().map(|verdict| {
        [format!("`{}`", verdict.probe.name), escaped(verdict.probe.title), word(&verdict.outcome).0.to_owned()]
    });
    lines.extend(table(&["probe".to_owned(), "claim".to_owned(), "outcome".to_owned()], claims));
    for verdict in &proof.verdicts {
        lines.extend(section(verdict));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn section(verdict: &Verdict) -> Vec<String> {
    let (outcome, more) = word(&verdict.outcome);
    let mut lines = vec![
        String::new(),
        format!("## {}: {outcome}", verdict.probe.name),
        String::new(),
        format!("{}. *{}*", capital(&escaped(verdict.probe.title)), escaped(verdict.probe.why)),
        String::new(),
    ];
    if !more.is_empty() {
        lines.extend([format!("**{}**", escaped(more)), String::new()]);
    }
    lines.extend(verdict.evidence.iter().map(|line| format!("- {}", escaped(line))));
    if !verdict.control.is_empty() {
        lines.push(format!("- control: {}", escaped(&verdict.control)));
    }
    if !verdict.calls.is_empty() {
        let grid: Vec<Vec<String>> = matrix::grid(&verdict.calls);
        lines.push(String::new());
        if let Some((heading, rows)) = grid.split_first() {
            lines.extend(table(
                heading,
                rows.iter().map(|row| row.iter().map(|cell| escaped(cell)).collect::<Vec<_>>()),
            ));
        }
        lines.push(String::new());
        lines.extend(table(
            &HEADINGS.map(str::to_owned),
            verdict.calls.iter().map(|row| cells(row).map(|cell| escaped(&cell))),
        ));
    }
    lines
}

/// A table; the cells are escaped already.
fn table<Cells: AsRef<[String]>>(heading: &[String], rows: impl IntoIterator<Item = Cells>) -> Vec<String> {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let mut lines = vec![line(heading), format!("|{}", "---|".repeat(heading.len()))];
    lines.extend(rows.into_iter().map(|row| line(row.as_ref())));
    lines
}

/// Text that is neither a tag nor the end of a cell.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|").replace('\n', " ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

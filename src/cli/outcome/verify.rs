//! The verdicts of a proof, for people at a terminal.

use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::{
    cli::render::{Render, table},
    proof::{Outcome, Verdict, matrix},
    verb::verify::Proof,
};

/// A proof, with or without the lesson.
#[derive(Serialize)]
pub(in crate::cli) struct Taught<'proof> {
    #[serde(flatten)]
    pub(in crate::cli) proof: &'proof Proof,
    #[serde(skip)]
    pub(in crate::cli) teach: bool,
}

impl Render for Taught<'_> {
    fn text(&self) -> String {
        let width = self.proof.verdicts.iter().map(|verdict| verdict.probe.name.len()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for verdict in &self.proof.verdicts {
            lines.extend(verdict_lines(verdict, width));
            if self.teach {
                lines.push(format!("  {:<width$}  {}", "", verdict.probe.why.italic()));
                lines.extend(lesson(verdict));
            }
        }
        lines.push(format!(
            "{} of {} probes passed on the context {}, lab {}, profile {}",
            self.proof.passed(),
            self.proof.verdicts.len(),
            self.proof.context,
            self.proof.lab_id.trim_start_matches("sha256:").get(..12).unwrap_or_default(),
            self.proof.profile
        ));
        lines.join("\n")
    }
}

fn verdict_lines(verdict: &Verdict, width: usize) -> Vec<String> {
    let mark = match &verdict.outcome {
        Outcome::Passed => "✔".green().to_string(),
        Outcome::Failed { .. } => "✘".red().bold().to_string(),
        Outcome::Skipped { .. } => "-".yellow().to_string(),
    };
    let mut lines = vec![format!("{mark} {:<width$}  {}", verdict.probe.name, verdict.probe.title)];
    match &verdict.outcome {
        Outcome::Failed { what } => lines.push(format!("  {:<width$}  {}", "", what.red())),
        Outcome::Skipped { why } => lines.push(format!("  {:<width$}  skipped: {why}", "")),
        Outcome::Passed => {}
    }
    lines.extend(verdict.evidence.iter().map(|line| format!("  {:<width$}  {}", "", line.dimmed())));
    if !verdict.control.is_empty() {
        lines.push(format!("  {:<width$}  {}", "", format!("control: {}", verdict.control).dimmed()));
    }
    lines
}

/// The matrix drawn, then each call with the policy that decided it.
fn lesson(verdict: &Verdict) -> Vec<String> {
    if verdict.calls.is_empty() {
        return Vec::new();
    }
    let calls: Vec<Vec<String>> = std::iter::once(HEADINGS.map(str::to_owned).to_vec())
        .chain(verdict.calls.iter().map(|row| cells(row).to_vec()))
        .collect();
    let blocks = [table(&matrix::grid(&verdict.calls)), table(&calls)];
    let indented = |block: String| block.lines().map(|line| format!("    {line}")).collect::<Vec<_>>();
    blocks.into_iter().flat_map(|block| indented(block).into_iter().chain([String::new()])).collect()
}

/// Over the list of calls.
pub(super) const HEADINGS: [&str; 5] = ["", "call", "expected", "seen", "decided by"];

/// One call as the cells of a line.
pub(super) fn cells(row: &matrix::Row) -> [String; 5] {
    let mark = if row.as_expected { "✔" } else { "✘" };
    [mark.to_owned(), row.call(), row.expected.to_string(), row.seen.clone(), row.decided_by.clone()]
}

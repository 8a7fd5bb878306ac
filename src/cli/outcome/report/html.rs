//! The report as one page of HTML, with its style inside.

use super::{
    super::verify::{HEADINGS, cells},
    summary, word,
};
use crate::{
    proof::{Outcome, Verdict, matrix},
    verb::verify::Proof,
};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto;font-size:.85rem}\
th,td{border:1px solid #d0d7de;padding:.3rem .5rem;text-align:left;vertical-align:top}th{background:#f6f8fa}\
section{border-top:1px solid #d0d7de;margin-top:2rem}h2{font-size:1.1rem}code{font-size:.85rem}\
.passed{color:#1a7f37}.failed{color:#cf222e}.skipped{color:#9a6700}.why{font-style:italic;color:#57606a}\
tr.otherwise td{background:#ffebe9}@media print{section{break-inside:avoid-page}}";

pub(super) fn page(proof: &Proof, made: &str) -> String {
    let claims = proof.verdicts.iter().map(|verdict| {
        let probe = &verdict.probe;
        format!(
            "<tr><td><code>{}</code></td><td>{}</td><td class=\"{}\">{}</td></tr>",
            escaped(probe.name),
            escaped(probe.title),
            class(&verdict.outcome),
            word(&verdict.outcome).0
        )
    });
    let sections = proof.verdicts.iter().map(section);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>What my Zero Trust lab proves</title>\
         <style>{STYLE}</style></head><body>\n<h1>What my Zero Trust lab proves</h1>\n\
         <p><strong>{}.</strong> Made by <code>ztlab verify</code> {}, {made}.</p>\n<p>Lab id: <code>{}</code></p>\n\
         <table><tr><th>probe</th><th>claim</th><th>outcome</th></tr>\n{}</table>\n{}</body></html>\n",
        escaped(&summary(proof)),
        env!("CARGO_PKG_VERSION"),
        escaped(&proof.lab_id),
        claims.collect::<Vec<_>>().join("\n"),
        sections.collect::<Vec<_>>().join("\n")
    )
}

fn section(verdict: &Verdict) -> String {
    let (outcome, more) = word(&verdict.outcome);
    let class = class(&verdict.outcome);
    let mut html = format!(
        "<section><h2><code>{}</code>: <span class=\"{class}\">{outcome}</span></h2><p>{}. <span class=\"why\">{}</span></p>",
        escaped(verdict.probe.name),
        escaped(verdict.probe.title),
        escaped(verdict.probe.why)
    );
    if !more.is_empty() {
        html.push_str(&format!("<p class=\"{class}\"><strong>{}</strong></p>", escaped(more)));
    }
    let control = Some(format!("control: {}", verdict.control)).filter(|_| !verdict.control.is_empty());
    let lines: Vec<String> =
        verdict.evidence.iter().chain(&control).map(|line| format!("<li>{}</li>", escaped(line))).collect();
    html.push_str(&format!("<ul>{}</ul>", lines.concat()));
    if !verdict.calls.is_empty() {
        html.push_str(&matrix_of(verdict));
    }
    html.push_str("</section>");
    html
}

fn matrix_of(verdict: &Verdict) -> String {
    let line = |tag: &str, cells: &[String]| {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect::<Vec<_>>().concat()
    };
    let grid = matrix::grid(&verdict.calls);
    let drawn = grid
        .iter()
        .enumerate()
        .map(|(number, cells)| format!("<tr>{}</tr>", line(if number == 0 { "th" } else { "td" }, cells)));
    let calls = verdict.calls.iter().map(|row| {
        let class = if row.as_expected { "" } else { " class=\"otherwise\"" };
        format!("<tr{class}>{}</tr>", line("td", &cells(row)))
    });
    format!(
        "<table>{}</table><table><tr>{}</tr>{}</table>",
        drawn.collect::<Vec<_>>().concat(),
        line("th", &HEADINGS.map(str::to_owned)),
        calls.collect::<Vec<_>>().concat()
    )
}

fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed { .. } => "failed",
        Outcome::Skipped { .. } => "skipped",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

//! Outcomes for people and for machines. Data goes to stdout; a closed pipe is not an error.

use std::io::Write as _;

use owo_colors::OwoColorize as _;
use serde::Serialize;

/// An outcome that people can read.
pub(super) trait Render {
    /// The text form, without a newline at its end.
    fn text(&self) -> String;
}

/// Prints text to stdout.
pub(super) fn line(text: &str) {
    let mut stdout = anstream::stdout();
    let _ = writeln!(stdout, "{text}");
    let _ = stdout.flush();
}

/// Prints a line that is no data to stderr.
pub(super) fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints one JSON value on one line of stdout.
pub(super) fn json_line(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{text}");
        let _ = stdout.flush();
    }
}

/// Prints an outcome in the form asked for.
pub(super) fn outcome<T: Render + Serialize>(verb: &str, outcome: &T, json: bool) {
    if json {
        json_line(&serde_json::json!({ "event": "outcome", "verb": verb, "outcome": outcome }));
    } else {
        line(&outcome.text());
    }
}

/// Prints an error that has no report.
pub(super) fn error_line(text: &str) {
    let _ = writeln!(anstream::stderr(), "{} {text}", "error:".red().bold());
}

/// Prints a failure: what was attempted, why it failed, what to type next. As JSON it is the last line of stdout.
pub(super) fn failure(report: &miette::Report, json: bool) {
    let code = report.code().map(|code| code.to_string());
    let help = report.help().map(|help| help.to_string());
    let causes: Vec<String> = report.chain().skip(1).map(ToString::to_string).collect();
    if json {
        json_line(&serde_json::json!({
            "event": "error",
            "code": code,
            "exit": super::exit::number_of(report),
            "message": report.to_string(),
            "causes": causes,
            "help": help,
        }));
        return;
    }
    if report.source_code().is_some() {
        // Errors with a place in a file: miette draws the lines around it.
        let _ = writeln!(anstream::stderr(), "{report:?}");
        return;
    }
    error_line(&report.to_string());
    let mut stderr = anstream::stderr();
    for cause in causes {
        let _ = writeln!(stderr, "  {} {cause}", "because:".dimmed());
    }
    if let Some(help) = help {
        let _ = writeln!(stderr, "  {} {help}", "next:".cyan());
    }
    if let Some(code) = code {
        let _ = writeln!(stderr, "  {} ztlab explain {code}", "more:".dimmed());
    }
}

/// Aligns rows in columns, the last one ragged. Widths count characters, so keep colour to the last column.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_align() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(super::table(&rows), "a     b\nlong  c");
    }
}

//! The matrix as people draw it: callers down, called across.

use super::{Row, cells::Fate};

/// Columns of their own; the probing pods share the last.
const COLUMNS: [&str; 5] = ["frontend", "backend", "DNS", "istiod", "the API server"];
/// The heading of the last column.
const REST: &str = "probing pods";

/// One line a caller: for each place the ports or requests and how they ended, `!` where that was not expected. The first
/// line is the heading.
pub fn grid(rows: &[Row]) -> Vec<Vec<String>> {
    let mut callers: Vec<&str> = Vec::new();
    for row in rows {
        if !callers.contains(&row.from.as_str()) {
            callers.push(&row.from);
        }
    }
    let used = |place: Option<&str>| rows.iter().any(|row| column(row) == place);
    let columns: Vec<Option<&str>> = COLUMNS.into_iter().map(Some).chain([None]).filter(|place| used(*place)).collect();
    let heading = columns.iter().map(|place| place.unwrap_or(REST).to_owned());
    let mut lines = vec![std::iter::once("from \\ to".to_owned()).chain(heading).collect::<Vec<_>>()];
    for caller in callers {
        let mut line = vec![caller.to_owned()];
        line.extend(columns.iter().map(|place| {
            let mine = rows.iter().filter(|row| row.from == caller && column(row) == *place);
            let cells: Vec<String> = mine.map(cell).collect();
            if cells.is_empty() { "-".to_owned() } else { summed(cells) }
        }));
        lines.push(line);
    }
    lines
}

fn column(row: &Row) -> Option<&'static str> {
    COLUMNS.into_iter().find(|place| *place == row.to)
}

fn cell(row: &Row) -> String {
    let what = row.request.clone().unwrap_or_else(|| row.port.to_string());
    let how = match (row.as_expected, row.expected) {
        (true, Fate::Through) => "✔".to_owned(),
        (true, expected) => expected.word().to_owned(),
        (false, _) => format!("! {}", row.seen),
    };
    format!("{what} {how}")
}

/// Equal cells once, with their number.
fn summed(cells: Vec<String>) -> String {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for cell in cells {
        match counted.iter_mut().find(|(known, _)| *known == cell) {
            Some((_, number)) => *number += 1,
            None => counted.push((cell, 1)),
        }
    }
    let words = counted.into_iter().map(|(cell, number)| if number > 1 { format!("{cell} (×{number})") } else { cell });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_lines_and_places_columns() {
        let row = |from: &str, to: &str, port, expected: Fate, as_expected| Row {
            from: from.to_owned(),
            to: to.to_owned(),
            port,
            request: None,
            expected,
            seen: "HTTP 200".to_owned(),
            decided_by: String::new(),
            as_expected,
            as_ruled: true,
        };
        let rows = [
            row("a stranger", "backend", 5000, Fate::Silence, false),
            row("a stranger", "frontend", 80, Fate::Silence, true),
            row("a frontend", "backend", 5000, Fate::Cut, true),
            row("a frontend", "backend", 5001, Fate::Silence, true),
            row("a frontend", "a decoy", 53, Fate::Through, true),
            row("a frontend", "another decoy", 53, Fate::Through, true),
        ];
        let lines = grid(&rows);
        assert_eq!(lines[0], ["from \\ to", "frontend", "backend", "probing pods"]);
        assert_eq!(lines[1], ["a stranger", "80 silence", "5000 ! HTTP 200", "-"]);
        assert_eq!(lines[2], ["a frontend", "-", "5000 cut off, 5001 silence", "53 ✔ (×2)"]);
    }
}

//! What a fetch took from where, for people.

use owo_colors::OwoColorize as _;

use crate::{base::human_bytes, fetch::SourceReport};

/// One line for each source that gave something or was dropped. Nothing where there was no choice.
pub(super) fn lines(sources: &[SourceReport]) -> Vec<String> {
    if sources.len() < 2 {
        return Vec::new();
    }
    sources.iter().filter_map(line).collect()
}

fn line(report: &SourceReport) -> Option<String> {
    let SourceReport { source, blobs, bytes, dropped } = report;
    let counted = if *blobs == 1 { "1 blob".to_owned() } else { format!("{blobs} blobs") };
    let gave = format!("  from {source}: {counted}, {}", human_bytes(*bytes));
    match dropped {
        Some(dropped) if dropped.lied => {
            let lied = format!("dropped, it sent wrong bytes: {}", dropped.what);
            Some(format!("{gave}; {}", lied.red()))
        }
        Some(dropped) => Some(format!("{gave}; passed over: {}", dropped.what)),
        None => (*bytes > 0 || *blobs > 0).then_some(gave),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::DroppedReport;

    fn report(source: &str, blobs: usize, bytes: u64, dropped: Option<(bool, &str)>) -> SourceReport {
        let dropped = dropped.map(|(lied, what)| DroppedReport { lied, what: what.to_owned() });
        SourceReport { source: source.to_owned(), blobs, bytes, dropped }
    }

    #[test]
    fn who_gave_something_or_was_dropped_has_a_line() {
        let sources = [
            report("http://10.0.0.5:8000/", 31, 1_200_000_000, None),
            report("http://10.0.0.6:8000/", 0, 4_000_000, Some((true, "file.istio archive: other bytes"))),
            report("http://10.0.0.7:8000/", 0, 0, Some((false, "cannot reach it"))),
            report("upstream", 0, 0, None),
        ];
        let text = anstream::adapter::strip_str(&lines(&sources).join("\n")).to_string();
        assert_eq!(
            text,
            "  from http://10.0.0.5:8000/: 31 blobs, 1.2 GB\n  \
             from http://10.0.0.6:8000/: 0 blobs, 4.0 MB; dropped, it sent wrong bytes: file.istio archive: other bytes\n  \
             from http://10.0.0.7:8000/: 0 blobs, 0 B; passed over: cannot reach it"
        );
        assert!(lines(&sources[..1]).is_empty(), "there was no choice");
    }
}

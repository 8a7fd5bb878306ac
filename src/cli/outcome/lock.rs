//! What `ztlab lock` and its subverbs print.

use crate::{
    base::human_bytes,
    cli::render::{Render, table},
    verb::lock,
};

impl Render for lock::Outcome {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for (mark, names) in [("+", &self.resolved), ("-", &self.removed)] {
            lines.extend(names.iter().map(|name| format!("{mark} {name}")));
        }
        for pending in &self.pending {
            lines.push(format!("? {}: `ztlab fetch` completes {}", pending.artifact, pending.lacks.join(", ")));
        }
        let what = match (self.changed, self.written) {
            (false, _) => "is up to date",
            (true, true) => "is written",
            (true, false) => "would change (dry run)",
        };
        lines.push(format!(
            "{} {what}: lab {}, {} resolved, {} kept, {} requests",
            self.lock.display(),
            self.lab_id.short(),
            self.resolved.len(),
            self.kept,
            self.requests
        ));
        lines.join("\n")
    }
}

impl Render for lock::CheckOutcome {
    fn text(&self) -> String {
        format!("the lock answers the intent: lab {}, {} entries, every byte named", self.lab_id.short(), self.entries)
    }
}

impl Render for lock::ShowOutcome {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for shown in &self.artifacts {
            lines.push(format!("{}  {}", shown.artifact, shown.want));
            let row = |blob: &lock::ShownBlob| {
                vec![format!("  {}", blob.role), human_bytes(blob.size), blob.digest.to_string()]
            };
            let blobs: Vec<Vec<String>> = shown.blobs.iter().map(row).collect();
            lines.extend((!blobs.is_empty()).then(|| table(&blobs)));
            lines.extend((!shown.pending.is_empty()).then(|| format!("  pending: {}", shown.pending.join(", "))));
        }
        lines.push(format!("lab {}, {} artifacts", self.lab_id.short(), self.artifacts.len()));
        lines.join("\n")
    }
}

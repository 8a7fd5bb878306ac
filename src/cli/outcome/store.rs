//! What `ztlab store` found and did.

use serde::Serialize;

use super::super::render::{Render, table};
use crate::{
    base::human_bytes,
    store::Garbage,
    verb::store::{Collection, LabState, Listing, Standing, Told, Usage, VerifyOutcome},
};

/// Lines of one list before the rest is only counted.
const SHOWN: usize = 20;

impl Render for Listing {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .blobs
            .iter()
            .map(|blob| vec![blob.digest.short(), human_bytes(blob.size), blob.needed_by.join(", ")])
            .collect();
        format!("{}\n{} blobs, {}; {} missing", table(&rows), self.blobs.len(), human_bytes(self.bytes), self.missing)
    }
}

impl Render for VerifyOutcome {
    fn text(&self) -> String {
        let mut done = String::new();
        if !self.repaired.is_empty() {
            done.push_str(&format!(", {} repaired", self.repaired.len()));
        }
        if !self.mended.is_empty() {
            done.push_str(&format!(", {} other files put right", self.mended.len()));
        }
        format!("{} blobs, {}: every one has its digest{done}", self.blobs, human_bytes(self.bytes))
    }
}

impl Render for Usage {
    fn text(&self) -> String {
        let mut rows = vec![row(["kind", "blobs", "bytes", "shared with other kinds"])];
        for kind in &self.kinds {
            rows.push(row([&kind.kind, &kind.blobs.to_string(), &human_bytes(kind.bytes), &human_bytes(kind.shared)]));
        }
        let mut labs = vec![row(["lab", "blobs", "bytes", "shared with other labs", "missing", "lock"])];
        for lab in &self.labs {
            labs.push(row([
                &lab.name,
                &lab.blobs.to_string(),
                &human_bytes(lab.bytes),
                &human_bytes(lab.shared),
                &lab.missing.to_string(),
                &format!("{}{}", lab.lock.display(), standing(&lab.standing)),
            ]));
        }
        let garbage = match self.garbage {
            0 => String::new(),
            bytes => format!("; no known lab needs {} (`ztlab store gc` removes them)", human_bytes(bytes)),
        };
        format!(
            "{}\n\n{}\n\n{} blobs, {}: shared ones are there once and counted once ({} between kinds, {} between labs){garbage}",
            table(&rows),
            table(&labs),
            self.blobs,
            human_bytes(self.bytes),
            human_bytes(self.shared_by_kinds),
            human_bytes(self.shared_by_labs),
        )
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn standing(standing: &Standing) -> String {
    match standing {
        Standing::Current => String::new(),
        Standing::Changed => "  (changed since it was fetched: what it says now counts)".to_owned(),
        Standing::Kept { why } => {
            format!("  (kept as it was fetched: {})", why.lines().next().unwrap_or_default())
        }
    }
}

/// What `store gc` is about to do, or would.
#[derive(Serialize)]
pub(in crate::cli) struct Preview<'told> {
    pub(in crate::cli) dry_run: bool,
    #[serde(flatten)]
    pub(in crate::cli) told: &'told Told,
}

impl Render for Preview<'_> {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        if self.told.garbage.is_empty() {
            lines.push("nothing to remove".to_owned());
        } else {
            let what = if self.dry_run { "would be removed" } else { "to be removed" };
            lines.push(format!("{} {what}:", human_bytes(self.told.bytes)));
            lines.extend(listed(&self.told.garbage));
        }
        lines.extend(labs("forgotten:", &self.told.forgotten));
        lines.extend(labs("kept, because a lab needs it, is what belongs to:", &self.told.labs));
        if !self.told.labs.is_empty() {
            lines.push("a lab that is no more: `ztlab store gc --forget LAB`".to_owned());
        }
        lines.join("\n")
    }
}

impl Render for Collection {
    fn text(&self) -> String {
        let count = self.removed.blobs.len() + self.removed.partials.len() + self.removed.others.len();
        format!("removed {count} files, {}; {} names", human_bytes(self.bytes), self.removed.names.len())
    }
}

fn labs(title: &str, states: &[LabState]) -> Vec<String> {
    let lines =
        states.iter().map(|state| format!("  {}  {}{}", state.name, state.lock.display(), standing(&state.standing)));
    if states.is_empty() { Vec::new() } else { std::iter::once(title.to_owned()).chain(lines).collect() }
}

fn listed(garbage: &Garbage) -> Vec<String> {
    let blobs = garbage.blobs.iter().map(|blob| format!("blob {}  {}", blob.digest.short(), human_bytes(blob.size)));
    let partials = garbage.partials.iter().map(|left| ("partial download", left));
    let others = garbage.others.iter().map(|left| ("leftover", left));
    let files = partials
        .chain(others)
        .map(|(what, left)| format!("{what} {}  {}", left.path.display(), human_bytes(left.size)));
    let names = garbage.names.iter().map(|name| format!("name {name}"));
    let all: Vec<String> = blobs.chain(files).chain(names).map(|line| format!("  {line}")).collect();
    let rest = all.len().saturating_sub(SHOWN);
    let mut lines: Vec<String> = all.into_iter().take(SHOWN).collect();
    if rest > 0 {
        lines.push(format!("  and {rest} more (`--json` lists them all)"));
    }
    lines
}

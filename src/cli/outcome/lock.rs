//! What `ztlab lock` and its subverbs print.

use crate::{
    base::human_bytes,
    cli::render::{Render, table},
    lockfile::Profile,
    review::{Finding, why::Why},
    verb::lock,
};

impl Render for lock::Outcome {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self.changes.iter().map(row).collect();
        let mut lines: Vec<String> = (!rows.is_empty()).then(|| table(&rows)).into_iter().collect();
        for pending in &self.pending {
            lines.push(format!("? {}: `ztlab fetch` completes {}", pending.artifact, pending.lacks.join(", ")));
        }
        let what = match (self.changed, self.written) {
            (false, _) => "is up to date",
            (true, true) => "is written",
            (true, false) => "would change (dry run)",
        };
        lines.push(format!(
            "{} {what}: lab {}, {} changed, {} kept, {} requests",
            self.lock.display(),
            self.lab_id.short(),
            self.changes.len(),
            self.kept,
            self.requests
        ));
        lines.join("\n")
    }
}

/// One entry that differs: what happens to it, and from what to what.
fn row(change: &lock::Change) -> Vec<String> {
    let text = |want: &Option<String>| want.clone().unwrap_or_default();
    let (mark, what) = match change.change {
        lock::Kind::Added => ("+", text(&change.now)),
        lock::Kind::Changed if change.was == change.now => ("~", text(&change.now)),
        lock::Kind::Changed => ("~", format!("{} -> {}", text(&change.was), text(&change.now))),
        lock::Kind::Moved => ("!", format!("{} has other bytes now", text(&change.now))),
        lock::Kind::Completed => (".", text(&change.now)),
        lock::Kind::Removed => ("-", text(&change.was)),
    };
    vec![format!("{mark} {}", change.artifact), what]
}

impl Render for lock::CheckOutcome {
    fn text(&self) -> String {
        format!(
            "the lock answers the intent: lab {}, {} entries, every byte named; {}",
            self.lab_id.short(),
            self.entries,
            self.signature
        )
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
        // A lab without profiles has nothing to compare.
        for profile in self.profiles.iter().filter(|_| self.profiles.len() > 1) {
            let Profile { name, memory, cpus, .. } = &profile.profile;
            lines.push(format!(
                "profile {name}: a node with {memory} MiB and {cpus} CPUs, {} images",
                profile.images.len()
            ));
            lines.extend(profile.images.iter().map(|image| format!("  {image}")));
        }
        lines.push(format!("lab {}, {} artifacts", self.lab_id.short(), self.artifacts.len()));
        lines.join("\n")
    }
}

impl Render for lock::LintOutcome {
    fn text(&self) -> String {
        let report = &self.report;
        let mut lines = findings(&report.findings);
        lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
        if !report.unknown_age.is_empty() {
            lines.push(format!("age unknown offline: {}", first_few(&report.unknown_age)));
        }
        let checked = report.checked.iter().map(|one| vec![format!("  {}", one.rule), one.looked_at.clone()]);
        lines.push(format!(
            "lab {}, {}: {} against lock/policy.toml; looked at",
            self.lab_id.short(),
            self.signature,
            match report.findings.len() {
                0 => "nothing".to_owned(),
                1 => "1 finding".to_owned(),
                number => format!("{number} findings"),
            }
        ));
        lines.push(table(&checked.collect::<Vec<_>>()));
        lines.join("\n")
    }
}

impl Render for lock::AuditOutcome {
    fn text(&self) -> String {
        let report = &self.report;
        let mut lines = findings(&report.findings);
        let named = [
            ("not in the store, known by its SHA-256", &report.by_digest),
            ("not in the store, so not looked at", &report.unseen),
            ("asked for by nobody who was looked at", &report.undecided),
        ];
        lines.extend(
            named
                .iter()
                .filter(|(_, names)| !names.is_empty())
                .map(|(what, names)| format!("{what}: {}", names.join(", "))),
        );
        let requests: usize = report.askers.values().sum();
        let locked = report.answered.iter().filter(|one| !one.entries.is_empty()).count();
        lines.extend(self.recorded.map(|containers| format!("compared with {containers} recorded containers")));
        lines.push(format!(
            "lab {}: {requests} requests for {} things, {locked} of them locked; asked by",
            self.lab_id.short(),
            report.answered.len(),
        ));
        let rows: Vec<Vec<String>> =
            report.askers.iter().map(|(who, count)| vec![format!("  {who}"), count.to_string()]).collect();
        lines.extend((!rows.is_empty()).then(|| table(&rows)));
        lines.extend(self.profiles.iter().map(|one| {
            let words =
                if one.closed { "closed: what is asked for, and nothing else" } else { "not shown to be closed" };
            format!("profile {}: {} images, {words}", one.profile, one.images.len())
        }));
        lines.join("\n")
    }
}

impl Render for lock::WhyOutcome {
    fn text(&self) -> String {
        let mut blocks: Vec<String> = self.entries.iter().map(entry_explained).collect();
        let mut notes = Vec::new();
        if !self.unseen.is_empty() {
            notes.push(format!("may ask as well, and was not looked at: {}", self.unseen.join(", ")));
        }
        if !self.unread_wheels.is_empty() {
            let wheels = self.unread_wheels.join(", ");
            notes.push(format!("what these require is not known, because they are not in the store: {wheels}"));
        }
        blocks.extend((!notes.is_empty()).then(|| notes.join("\n")));
        blocks.join("\n\n")
    }
}

fn entry_explained(why: &Why) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |what: &str, text: String| rows.push(vec![format!("  {what}"), text]);
    match &why.intent {
        Some(place) => row("intent", format!("lock/ztlab.toml:{}:{}", place.line, place.column)),
        None => row("intent", "lock/ztlab.toml does not ask for it: `ztlab lock` removes it".to_owned()),
    }
    for ask in &why.asks {
        let source = ask.source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default();
        row("asked by", format!("{}: {}{source}", ask.who, ask.place));
    }
    for one in &why.uses {
        row("used by", format!("{}: {}", one.by, one.how));
    }
    if why.asks.is_empty() && why.uses.is_empty() {
        row("used by", "nobody who was looked at".to_owned());
    }
    why.from.iter().for_each(|from| row("from", from.clone()));
    let shared = why.shared.iter().map(|one| format!("{} shared with {}", human_bytes(one.bytes), one.with));
    let parts: Vec<String> = std::iter::once(format!("{} alone", human_bytes(why.alone))).chain(shared).collect();
    match (why.bytes, why.pending.is_empty()) {
        (0, false) => row("costs", format!("not known yet: {}", why.pending.join(", "))),
        (bytes, true) => row("costs", format!("{}: {}", human_bytes(bytes), parts.join(", "))),
        (bytes, false) => {
            let gaps = why.pending.join(", ");
            row("costs", format!("{} and more: {}; not known yet: {gaps}", human_bytes(bytes), parts.join(", ")));
        }
    }
    format!("{}  {}\n{}", why.entry, why.want, table(&rows))
}

/// A list that fits a line; all of it is in the JSON.
fn first_few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more (`--json` lists them)"),
    }
}

/// One table of findings; below each row where it stands and what mends it.
fn findings(findings: &[Finding]) -> Vec<String> {
    if findings.is_empty() {
        return Vec::new();
    }
    let head = ["entry", "rule", "found", "allowed"].map(str::to_owned).to_vec();
    let rows =
        findings.iter().map(|one| vec![one.entry.clone(), one.rule.to_owned(), one.found.clone(), one.allowed.clone()]);
    let text = table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    let below = |one: &Finding| {
        let place = one.place.iter().map(|place| format!("    where: {place}"));
        place.chain([format!("    fix: {}", one.fix)]).collect::<Vec<_>>()
    };
    let below = std::iter::once(Vec::new()).chain(findings.iter().map(below));
    text.lines().map(str::to_owned).zip(below).flat_map(|(row, below)| std::iter::once(row).chain(below)).collect()
}

impl Render for lock::MergeOutcome {
    fn text(&self) -> String {
        let mut lines = vec![format!("{}: merged, lab {}", self.path, self.lab_id.short())];
        let open = |app: &String| {
            format!("  {app}: both sides changed what it is made of; `ztlab lock` and `ztlab fetch` complete it")
        };
        lines.extend(self.reopened.iter().map(open));
        lines.join("\n")
    }
}

impl Render for lock::InstallOutcome {
    fn text(&self) -> String {
        let done = format!("this clone merges locks by entry: {} = {}", self.key, self.command);
        if self.attribute {
            return done;
        }
        let missing = "lock/ztlab.lock is not given to it yet; in the lab's folder, once for all:";
        format!(
            "{done}\n{missing}\n  echo 'lock/ztlab.lock merge=ztlab-lock' >> .gitattributes && git add .gitattributes"
        )
    }
}

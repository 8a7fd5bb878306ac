//! What `ztlab lock diff` prints: for a terminal here, for a pull request in [`markdown`].

pub(in crate::cli) mod markdown;

use std::collections::BTreeSet;

use owo_colors::OwoColorize as _;

use crate::{
    base::{Digest, human_bytes},
    cli::render::{Render, table},
    review::{Alarm, AlarmCode, Change, Diff, Download, EntryChange, Kind},
    verb::lock::DiffOutcome,
};

/// Every change in the order in which a reviewer reads, with its title.
const TITLES: [(Change, &str); 8] = [
    (Change::Bumped, "bumped"),
    (Change::Added, "added"),
    (Change::Removed, "removed"),
    (Change::Moved, "moved under the same request"),
    (Change::Rebuilt, "rebuilt"),
    (Change::Completed, "completed"),
    (Change::Reopened, "pending again"),
    (Change::Edited, "edited"),
];

/// How many entries an alarm names before it counts the rest.
const NAMED: usize = 6;

impl Render for DiffOutcome {
    fn text(&self) -> String {
        let diff = &self.diff;
        let digests = Digests::of(diff);
        let mut lines = vec![format!("{} → {}: {}", plain(&self.from), plain(&self.to), summary(diff, &digests))];
        for alarm in &diff.alarms {
            let told = told(alarm, diff, &digests, &plain);
            lines.push(format!("  {}  {told}", alarm.code.name().bold()).red().to_string());
        }
        let settings: Vec<Vec<String>> = diff
            .settings
            .iter()
            .map(|setting| {
                vec![
                    format!("  {}", plain(&setting.name)),
                    arrow(setting.was.as_deref(), setting.now.as_deref(), &plain),
                ]
            })
            .collect();
        lines.extend((!settings.is_empty()).then(|| format!("settings\n{}", table(&settings))));
        for (change, title) in TITLES {
            let rows: Vec<Vec<String>> = diff.of(change).map(|entry| indented(row(entry, &plain))).collect();
            lines.extend((!rows.is_empty()).then(|| format!("{title}\n{}", table(&rows))));
        }
        lines.join("\n")
    }
}

/// For a terminal the words, which may be long, come last.
fn indented(row: [String; 4]) -> Vec<String> {
    let [name, what, size, mut download] = row;
    if !download.is_empty() {
        download.push_str(" to download");
    }
    vec![format!("  {name}"), size, download, what]
}

/// Name, what happened, size, bytes to download.
fn row(entry: &EntryChange, quote: &dyn Fn(&str) -> String) -> [String; 4] {
    let sizes = match (entry.size_was, entry.size_now) {
        (was, Some(now)) if was.is_none_or(|was| was == now) => human_bytes(now),
        (was, None) => was.map(human_bytes).unwrap_or_default(),
        (was, Some(now)) => format!("{} → {}", was.map(human_bytes).unwrap_or_default(), human_bytes(now)),
    };
    let download = if entry.download == 0 { String::new() } else { human_bytes(entry.download) };
    [quote(&entry.artifact), what(entry, quote), sizes, download]
}

/// What happened to an entry, in its own words.
fn what(entry: &EntryChange, quote: &dyn Fn(&str) -> String) -> String {
    let known = || entry.parts.iter().filter(|part| part.was.is_none()).map(|part| part.part.as_str());
    let mut words = Vec::new();
    match entry.change {
        Change::Added | Change::Removed => words.push(quote(&entry.subject)),
        Change::Bumped => {
            words.extend(entry.moved.as_ref().map(|(was, now)| arrow(Some(was), Some(now), quote)));
            words.extend((!entry.fields.is_empty()).then(|| format!("other {}", entry.fields.join(", "))));
        }
        Change::Moved => {
            let moved: Vec<&str> =
                entry.parts.iter().filter(|part| part.moved()).map(|part| part.part.as_str()).collect();
            words.push(quote(&moved.join(", ")));
        }
        Change::Rebuilt if !entry.source_changed => words.push("its base image or wheels changed".to_owned()),
        Change::Rebuilt | Change::Reopened => {}
        Change::Completed => {
            words.extend((known().next().is_some()).then(|| quote(&known().collect::<Vec<_>>().join(", "))))
        }
        Change::Edited => words.push(quote(&entry.subject)),
    }
    words.extend(entry.source_changed.then(|| "its source files changed".to_owned()));
    if !entry.pending.is_empty() && entry.change != Change::Removed {
        words.push(format!("pending: {}", quote(&entry.pending.join(", "))));
    }
    words.join("; ")
}

/// One line that says how large the change is.
fn summary(diff: &Diff, digests: &Digests) -> String {
    let lab = match &diff.was {
        _ if diff.is_empty() => return format!("the same lock, lab {}", digests.short(&diff.now)),
        Some(was) => format!("lab {} → {}", digests.short(was), digests.short(&diff.now)),
        None => format!("new lab {}", digests.short(&diff.now)),
    };
    format!("{lab}; {}; {}", counts(diff), costs(&diff.download))
}

/// `9 bumped, 1 added, 0 removed`: these always, others when there are some.
fn counts(diff: &Diff) -> String {
    let always = |change: Change| matches!(change, Change::Bumped | Change::Added | Change::Removed);
    let counted = TITLES.into_iter().map(|(change, title)| (change, title, diff.count(change)));
    let told = counted.filter(|(change, _, count)| *count > 0 || always(*change));
    told.map(|(_, title, count)| format!("{count} {title}")).collect::<Vec<_>>().join(", ")
}

fn costs(download: &Download) -> String {
    let (update, full) = (human_bytes(download.update), human_bytes(download.full));
    match download.unknown {
        0 => format!("{update} to download, {full} for a new machine"),
        1 => format!("at least {update} to download, {full} for a new machine (1 entry is pending)"),
        several => format!("at least {update} to download, {full} for a new machine ({several} entries are pending)"),
    }
}

/// What an alarm says, without its code.
fn told(alarm: &Alarm, diff: &Diff, digests: &Digests, quote: &dyn Fn(&str) -> String) -> String {
    let value =
        |value: &Option<String>| value.as_deref().map(|text| quote(&digests.shortened(text))).unwrap_or_default();
    let (who, was, now) = (named(&alarm.artifacts, quote), value(&alarm.was), value(&alarm.now));
    match alarm.code {
        AlarmCode::DigestMoved => {
            let rest = if only_index(alarm, diff) { "; what our platforms download did not move" } else { "" };
            format!("{who}: {} was {was} and is {now}, under the same request{rest}", quote(&alarm.part))
        }
        AlarmCode::HostChanged => format!("{who}: came from {was} and comes from {now}"),
        AlarmCode::AddressChanged => format!("{who}: was {was} and is {now}"),
        AlarmCode::MirrorAdded if alarm.was.is_some() => {
            format!("{who}: comes from {now}, and the request names {was}")
        }
        AlarmCode::MirrorAdded => format!("{who}: comes from {now}, where nothing of this kind came from before"),
        AlarmCode::SizeChanged => {
            let bytes = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            let (was, now) = (bytes(&alarm.was), bytes(&alarm.now));
            let part = quote(&alarm.part);
            format!("{who}: {part} was {} and is {}{}", human_bytes(was), human_bytes(now), per_cent(was, now))
        }
        AlarmCode::PlatformLost if alarm.artifacts == ["lab"] => {
            format!("the lab: {was} is no {} platform any more", alarm.part)
        }
        AlarmCode::PlatformLost => format!("{who}: was pinned for {was} and is not any more"),
        AlarmCode::MemberLost => format!("{who}: had the member {was} and has it no more"),
    }
}

/// Whether upstream's list of platforms moved and no platform of ours did.
fn only_index(alarm: &Alarm, diff: &Diff) -> bool {
    let entry = diff.entries.iter().find(|entry| alarm.artifacts.contains(&entry.artifact));
    alarm.part == "index" && entry.is_some_and(|entry| entry.kind == Kind::Image && entry.pending.is_empty())
}

fn per_cent(was: u64, now: u64) -> String {
    if was == 0 {
        return String::new();
    }
    let sign = if now > was { "+" } else { "−" };
    format!(" ({sign}{} %)", u128::from(was.abs_diff(now)) * 100 / u128::from(was))
}

fn named(artifacts: &[String], quote: &dyn Fn(&str) -> String) -> String {
    let mut names: Vec<String> = artifacts.iter().take(NAMED).map(|name| quote(name)).collect();
    let rest = artifacts.len().saturating_sub(NAMED);
    names.extend((rest > 0).then(|| format!("{rest} more")));
    names.join(", ")
}

fn arrow(was: Option<&str>, now: Option<&str>, quote: &dyn Fn(&str) -> String) -> String {
    let side = |text: Option<&str>| text.map_or("none".to_owned(), quote);
    format!("{} → {}", side(was), side(now))
}

/// Text of a lock as a person may see it: what could move the cursor, hide, or pass for another letter (a Cyrillic
/// `о` in a host's name) is spelled out. Names and addresses are plain ASCII in every honest lock.
fn plain(text: &str) -> String {
    let shown = |letter: char| match letter {
        ' '..='~' => letter.to_string(),
        other => other.escape_unicode().to_string(),
    };
    text.chars().map(shown).collect()
}

/// The digests of a difference, shortened as far as they stay apart.
struct Digests {
    length: usize,
}

impl Digests {
    /// Twelve digits, as everywhere else; more when two digests here begin alike, by chance or by intent.
    fn of(diff: &Diff) -> Self {
        let mut digests: BTreeSet<Digest> = diff.was.into_iter().chain([diff.now]).collect();
        digests
            .extend(diff.entries.iter().flat_map(|entry| &entry.parts).flat_map(|part| [part.was, part.now]).flatten());
        let all: Vec<String> = digests.iter().map(Digest::hex).collect();
        let alike = |length: usize| all.windows(2).any(|pair| pair[0][..length] == pair[1][..length]);
        Self { length: (12..64).find(|length| !alike(*length)).unwrap_or(64) }
    }

    fn short(&self, digest: &Digest) -> String {
        digest.hex().chars().take(self.length).collect()
    }

    /// A digest shortened, any other text as it is.
    fn shortened(&self, text: &str) -> String {
        text.parse::<Digest>().map_or(text.to_owned(), |digest| self.short(&digest))
    }
}

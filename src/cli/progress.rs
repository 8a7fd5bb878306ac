//! Events become bars on a terminal, a line every few seconds elsewhere, JSON lines when asked.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use owo_colors::OwoColorize as _;

use super::{
    outcome,
    pace::{Pace, span},
};
use crate::base::{Event, Reporter, human_bytes};

/// How often a run without a terminal says where it is.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// How often a transfer's progress becomes a JSON event.
const JSON_INTERVAL: Duration = Duration::from_millis(500);

/// How often the rate is looked at when nothing comes.
const TICK: Duration = Duration::from_millis(500);

/// All transfers together.
const SUM: &str = "{bar:30.green} {sums}";
/// All transfers together, when one has no known length.
const OPEN_SUM: &str = "{sums}";
/// One transfer.
const TRANSFER: &str = "  {msg:36!} {bar:20.cyan} {decimal_bytes:>10} of {decimal_total_bytes}";
/// One transfer without a known length.
const OPEN_TRANSFER: &str = "  {msg:36!} {spinner} {decimal_bytes:>10}";

/// The entries of a lock that are looked up.
const ENTRIES: &str = "{bar:30.green} {pos} of {len} entries  {msg}";

/// What the user wants to see of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Bars,
    Plain,
    Json,
    Quiet,
}

impl Style {
    /// Chooses by the flags and by who is watching.
    pub(super) fn choose(json: bool, quiet: bool) -> Self {
        match (json, quiet) {
            (true, _) => Self::Json,
            (_, true) => Self::Quiet,
            _ if std::io::stderr().is_terminal() => Self::Bars,
            _ => Self::Plain,
        }
    }
}

/// Shows events on stderr (or, as JSON, on stdout).
pub(super) struct Progress {
    style: Style,
    bars: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    transfers: BTreeMap<u64, Transfer>,
    /// Shared with the bar, which is drawn on a thread of its own.
    sums: Arc<Mutex<Sums>>,
    /// Transfers that were announced and have not come to an end.
    planned: usize,
    spoke: Option<Instant>,
    sum: Option<ProgressBar>,
    entries: Option<ProgressBar>,
    /// The steps that are under way, by name: several may be.
    steps: BTreeMap<String, ProgressBar>,
    room: Option<ProgressBar>,
    waiting: String,
}

/// All transfers together.
#[derive(Default)]
struct Sums {
    /// Bytes to come, as announced or as each transfer said.
    total: u64,
    done: u64,
    /// A server need not say how much it will send: then there is nothing to measure an end by.
    open_ended: bool,
    pace: Pace,
}

impl Sums {
    fn text(&self, now: Instant) -> String {
        let (done, rate) = (human_bytes(self.done), human_bytes(self.pace.rate(now) as u64));
        if self.open_ended {
            return format!("{done} so far, {rate}/s");
        }
        let left = self.pace.left(now, self.total.saturating_sub(self.done));
        let left = left.map_or_else(String::new, |left| format!(", about {} left", span(left.as_secs_f64())));
        format!("{done} of {}, {rate}/s{left}", human_bytes(self.total))
    }
}

struct Transfer {
    name: String,
    bar: Option<ProgressBar>,
    total: Option<u64>,
    done: u64,
    /// The last failure that was shown.
    told: String,
    unreported: u64,
    reported: Instant,
}

/// A source in a bar: host and port are enough to know it by.
fn short(source: &str) -> &str {
    let bare = source.split_once("://").map_or(source, |(_, rest)| rest);
    bare.split('/').next().unwrap_or(bare)
}

impl Transfer {
    fn new(name: &str, total: Option<u64>, bar: Option<ProgressBar>) -> Self {
        Self {
            name: name.to_owned(),
            bar,
            total,
            done: 0,
            told: String::new(),
            unreported: 0,
            reported: Instant::now(),
        }
    }

    /// What these bytes add to the sum: those that come a second time, after a wrong first half, add nothing.
    fn advance(&mut self, bytes: u64) -> u64 {
        let before = self.done;
        self.done = self.done.saturating_add(bytes).min(self.total.unwrap_or(u64::MAX));
        self.done - before
    }
}

impl Progress {
    pub(super) fn new(style: Style) -> Self {
        Self::drawing_to(style, ProgressDrawTarget::stderr())
    }

    fn drawing_to(style: Style, target: ProgressDrawTarget) -> Self {
        Self { style, bars: MultiProgress::with_draw_target(target), state: Mutex::default() }
    }

    /// Removes the bars, so that what follows starts on a clean line.
    pub(super) fn clear(&self) {
        let _ = self.bars.clear();
    }

    /// Prints a line above the bars.
    fn line(&self, text: &str) {
        if self.style == Style::Bars {
            let _ = self.bars.println(text);
        } else {
            // A closed stderr must not end an install.
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }

    fn show(&self, event: &Event, state: &mut State) {
        match event {
            Event::TransfersPlanned { transfers, bytes } => {
                state.planned = *transfers;
                if let Ok(mut sums) = state.sums.lock() {
                    *sums = Sums { total: *bytes, ..Sums::default() };
                }
            }
            Event::TransferStarted { id, name, total } => self.transfer_started(state, *id, name, *total),
            Event::TransferResumed { id, bytes } => self.advance(state, *id, *bytes, false),
            Event::TransferProgress { id, bytes } => self.advance(state, *id, *bytes, true),
            Event::TransferFrom { id, source } => {
                if let Some(Transfer { name, bar: Some(bar), .. }) = state.transfers.get(id) {
                    bar.set_message(format!("{name} < {}", short(source)));
                }
            }
            Event::SourceDropped { source, what, lied } => {
                let what = if *lied { format!("sent wrong bytes: {what}") } else { what.clone() };
                self.line(&format!("{} {source} is passed over: {what}", "warning:".yellow().bold()));
            }
            Event::TransferFinished { id } => self.transfer_ended(state, *id, true),
            Event::TransferFailed { id, error, retrying } => {
                let what = if *retrying { "trying again" } else { "failed" };
                let transfer = state.transfers.get_mut(id);
                // A network that is down says the same for every attempt at every blob: once for each will do.
                let told = transfer.as_ref().is_some_and(|transfer| *retrying && transfer.told == *error);
                let name = transfer.map_or("", |transfer| {
                    error.clone_into(&mut transfer.told);
                    transfer.name.as_str()
                });
                if !told {
                    self.line(&format!("{} {name}: {error} ({what})", "warning:".yellow().bold()));
                }
                if !retrying {
                    self.transfer_ended(state, *id, false);
                }
            }
            Event::EntryResolved { artifact, done, total } => self.entry_resolved(state, artifact, *done, *total),
            Event::StepStarted { step, title } => self.step_started(state, step, title),
            Event::StepWaiting { step, on } => self.step_waiting(state, step, on),
            Event::StepFinished { step, changed, detail, seconds } => {
                if let Some(bar) = state.steps.remove(*step) {
                    bar.finish_and_clear();
                }
                let mark = if *changed { "✔".green().to_string() } else { "=".dimmed().to_string() };
                self.line(&format!("{mark} {step:<10} {detail} {}", format!("{seconds:.1} s").dimmed()));
            }
            Event::Serving { lab, lab_id, blobs, bytes, addresses, beyond_this_machine } => {
                let (blobs, bytes, beyond) = (*blobs, *bytes, *beyond_this_machine);
                self.line(&outcome::serving(lab, lab_id, blobs, bytes, addresses, beyond));
            }
            Event::RoomChanged { machines, transfers, bytes, rate } => {
                self.room_changed(state, &outcome::room(*machines, *transfers, *bytes, *rate));
            }
            Event::SeatReported { seat, said } => self.line(&format!("{} {said}", seat.bold())),
            Event::Note { text } => self.line(text),
            Event::Warning { text } => self.line(&format!("{} {text}", "warning:".yellow().bold())),
        }
    }

    fn transfer_started(&self, state: &mut State, id: u64, name: &str, total: Option<u64>) {
        let open_ended = {
            let Ok(mut sums) = state.sums.lock() else { return };
            sums.open_ended |= total.is_none();
            if state.planned == 0 {
                sums.total += total.unwrap_or(0);
            }
            sums.pace.begin(Instant::now());
            sums.open_ended
        };
        let bar = (self.style == Style::Bars).then(|| {
            let sums = Arc::clone(&state.sums);
            let sum = state.sum.get_or_insert_with(|| {
                let bar = self.bars.add(ProgressBar::new(0));
                bar.enable_steady_tick(TICK);
                bar
            });
            let template = if open_ended { OPEN_SUM } else { SUM };
            sum.set_style(bar_style(template).with_key(
                "sums",
                move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
                    if let Ok(sums) = sums.lock() {
                        let _ = out.write_str(&sums.text(Instant::now()));
                    }
                },
            ));
            let bar = self.bars.insert_before(sum, ProgressBar::new(total.unwrap_or(0)));
            bar.set_style(bar_style(if total.is_some() { TRANSFER } else { OPEN_TRANSFER }));
            bar.set_message(name.to_owned());
            bar
        });
        state.transfers.insert(id, Transfer::new(name, total, bar));
        draw_sum(state);
    }

    /// Bytes that arrived, or (not `fresh`) that an earlier run left: those say nothing about the line.
    fn advance(&self, state: &mut State, id: u64, bytes: u64, fresh: bool) {
        let added = state.transfers.get_mut(&id).map_or(0, |transfer| {
            let added = transfer.advance(bytes);
            if let Some(bar) = &transfer.bar {
                bar.set_position(transfer.done);
            }
            added
        });
        let now = Instant::now();
        let line = {
            let Ok(mut sums) = state.sums.lock() else { return };
            sums.done += added;
            sums.pace.take(now, if fresh { bytes } else { 0 });
            let spoke = state.spoke.get_or_insert(now);
            let due = self.style == Style::Plain && now.saturating_duration_since(*spoke) >= PLAIN_INTERVAL;
            due.then(|| sums.text(now))
        };
        if let Some(line) = line {
            state.spoke = Some(now);
            self.line(&line);
        }
        draw_sum(state);
    }

    fn transfer_ended(&self, state: &mut State, id: u64, well: bool) {
        let Some(transfer) = state.transfers.remove(&id) else { return };
        if let Some(bar) = &transfer.bar {
            bar.finish_and_clear();
        }
        state.planned = state.planned.saturating_sub(1);
        if !well && let Ok(mut sums) = state.sums.lock() {
            // What does not come is not waited for.
            sums.done = sums.done.saturating_sub(transfer.done);
            sums.total = sums.total.saturating_sub(transfer.total.unwrap_or(0));
        }
        draw_sum(state);
        if state.transfers.is_empty() && state.planned == 0 {
            if let Some(sum) = state.sum.take() {
                sum.finish_and_clear();
            }
            *state =
                State { steps: std::mem::take(&mut state.steps), entries: state.entries.take(), ..State::default() };
        }
    }

    fn entry_resolved(&self, state: &mut State, artifact: &str, done: usize, total: usize) {
        if self.style == Style::Bars {
            let bar = state.entries.get_or_insert_with(|| {
                let bar = self.bars.insert(0, ProgressBar::new(total as u64));
                bar.set_style(bar_style(ENTRIES));
                bar
            });
            bar.set_position(done as u64);
            bar.set_message(artifact.to_owned());
            if done == total {
                bar.finish_and_clear();
                state.entries = None;
            }
        } else if state.spoke.get_or_insert_with(Instant::now).elapsed() >= PLAIN_INTERVAL {
            state.spoke = Some(Instant::now());
            self.line(&format!("{done} of {total} entries resolved, the last one {artifact}"));
        }
    }

    fn step_started(&self, state: &mut State, step: &str, title: &str) {
        state.waiting.clear();
        if self.style == Style::Bars {
            let bar = self.bars.add(ProgressBar::new_spinner());
            bar.set_style(bar_style("{spinner} {prefix:<10} {wide_msg} {elapsed:.dim}"));
            bar.set_prefix(step.to_owned());
            bar.set_message(title.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            state.steps.insert(step.to_owned(), bar);
        } else {
            self.line(&format!("  {step:<10} {title}"));
        }
    }

    fn room_changed(&self, state: &mut State, text: &str) {
        if self.style == Style::Bars {
            let bar = state.room.get_or_insert_with(|| {
                let bar = self.bars.add(ProgressBar::new_spinner());
                bar.set_style(bar_style("{spinner} {wide_msg}"));
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            });
            bar.set_message(text.to_owned());
        } else if state.spoke.is_none_or(|spoke| spoke.elapsed() >= PLAIN_INTERVAL) {
            state.spoke = Some(Instant::now());
            self.line(text);
        }
    }

    fn step_waiting(&self, state: &mut State, step: &str, on: &str) {
        if let Some(bar) = state.steps.get(step) {
            bar.set_message(on.to_owned());
        } else if state.waiting != on && state.spoke.is_none_or(|spoke| spoke.elapsed() >= PLAIN_INTERVAL) {
            state.spoke = Some(Instant::now());
            on.clone_into(&mut state.waiting);
            self.line(&format!("  {step:<10} waiting: {on}"));
        }
    }

    fn json(&self, event: Event, state: &mut State) {
        match event {
            // Every chunk would be thousands of lines a second: sums leave every half second.
            Event::TransferProgress { id, bytes } => {
                let Some(transfer) = state.transfers.get_mut(&id) else { return };
                transfer.unreported += bytes;
                if transfer.reported.elapsed() >= JSON_INTERVAL {
                    flush(id, transfer);
                }
                return;
            }
            Event::TransferStarted { id, ref name, total } => {
                state.transfers.insert(id, Transfer::new(name, total, None));
            }
            // All differences together are what came, so the last one must not be lost.
            Event::TransferFinished { id } | Event::TransferFailed { id, retrying: false, .. } => {
                if let Some(mut transfer) = state.transfers.remove(&id) {
                    flush(id, &mut transfer);
                }
            }
            _ => {}
        }
        super::render::json_line(&event);
    }
}

fn flush(id: u64, transfer: &mut Transfer) {
    let bytes = std::mem::take(&mut transfer.unreported);
    transfer.reported = Instant::now();
    if bytes > 0 {
        super::render::json_line(&Event::TransferProgress { id, bytes });
    }
}

fn draw_sum(state: &State) {
    if let (Some(bar), Ok(sums)) = (&state.sum, state.sums.lock()) {
        let (done, total) = (sums.done, sums.total);
        // The bar draws, and its text takes the lock itself.
        drop(sums);
        bar.set_length(total);
        bar.set_position(done);
    }
}

impl Reporter for Progress {
    fn report(&self, event: Event) {
        let Ok(mut state) = self.state.lock() else { return };
        match self.style {
            Style::Json => self.json(event, &mut state),
            Style::Quiet if !matches!(event, Event::Warning { .. }) => {}
            _ => self.show(&event, &mut state),
        }
    }
}

fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    /// A terminal of 100 columns and what it shows.
    fn bars() -> (Progress, InMemoryTerm) {
        let terminal = InMemoryTerm::new(12, 100);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        (Progress::drawing_to(Style::Bars, target), terminal)
    }

    fn start(progress: &Progress, id: u64, name: &str, total: Option<u64>) {
        progress.report(Event::TransferStarted { id, name: name.to_owned(), total });
    }

    /// The screen, drawn now, without what the clock decides.
    fn screen(progress: &Progress, terminal: &InMemoryTerm) -> Vec<String> {
        if let Some(sum) = &progress.state.lock().unwrap().sum {
            sum.tick();
        }
        terminal.contents().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_bar_for_each_transfer_and_one_for_all_that_was_announced() {
        let (progress, terminal) = bars();
        progress.report(Event::TransfersPlanned { transfers: 3, bytes: 4_000_000 });
        start(&progress, 1, "image.calico-node layer 1", Some(2_000_000));
        start(&progress, 2, "image.istio-proxy layer 4", Some(1_000_000));
        progress.report(Event::TransferResumed { id: 1, bytes: 1_000_000 });
        let text = screen(&progress, &terminal);
        assert_eq!(text.len(), 3, "{text:#?}");
        assert!(text[0].starts_with("  image.calico-node layer 1 "), "{text:#?}");
        assert!(text[2].contains("1.0 MB of 4.0 MB, 0 B/s"), "the third is known before it begins: {text:#?}");
        progress.report(Event::TransferFinished { id: 1 });
        let text = screen(&progress, &terminal);
        assert!(text[0].starts_with("  image.istio-proxy layer 4 ") && text.len() == 2, "{text:#?}");
        progress.report(Event::TransferProgress { id: 2, bytes: 1_000_000 });
        progress.report(Event::TransferFinished { id: 2 });
        assert!(screen(&progress, &terminal)[0].contains("2.0 MB of 4.0 MB"), "the sum stays between two transfers");
        start(&progress, 3, "file", Some(1_000_000));
        progress.report(Event::TransferFinished { id: 3 });
        assert_eq!(terminal.contents(), "", "nothing of the bars stays when all is done");
    }

    #[test]
    fn a_failure_is_a_line_above_the_bars_and_is_not_waited_for() {
        let (progress, terminal) = bars();
        progress.report(Event::TransfersPlanned { transfers: 2, bytes: 3_000_000 });
        start(&progress, 1, "one", Some(1_000_000));
        start(&progress, 2, "two", Some(2_000_000));
        progress.report(Event::TransferProgress { id: 1, bytes: 400_000 });
        progress.report(Event::TransferFailed { id: 1, error: "it broke".to_owned(), retrying: true });
        progress.report(Event::TransferFailed { id: 1, error: "it broke".to_owned(), retrying: true });
        let text = screen(&progress, &terminal);
        assert!(text[0].contains("one: it broke (trying again)"), "{text:#?}");
        assert!(text[1].starts_with("  one "), "the same is told once: {text:#?}");
        progress.report(Event::TransferFailed { id: 1, error: "it broke".to_owned(), retrying: false });
        let text = screen(&progress, &terminal);
        assert!(text[1].contains("one: it broke (failed)"), "{text:#?}");
        assert!(text.last().unwrap().contains("0 B of 2.0 MB"), "{text:#?}");
    }

    #[test]
    fn a_transfer_that_starts_over_does_not_pass_its_end() {
        let (progress, terminal) = bars();
        start(&progress, 1, "one", Some(1_000_000));
        for _ in 0..3 {
            progress.report(Event::TransferProgress { id: 1, bytes: 600_000 });
        }
        assert!(screen(&progress, &terminal).last().unwrap().contains("1.0 MB of 1.0 MB"));
    }

    #[test]
    fn where_no_length_is_known_no_end_is_told() {
        let (progress, terminal) = bars();
        start(&progress, 1, "page", None);
        progress.report(Event::TransferProgress { id: 1, bytes: 600_000 });
        let text = screen(&progress, &terminal);
        assert!(text.last().unwrap().starts_with("600.0 kB so far, "), "{text:#?}");
    }

    #[test]
    fn the_text_of_the_sums_has_rate_and_end() {
        let start = Instant::now();
        let mut sums = Sums { total: 100_000_000, ..Sums::default() };
        sums.pace.begin(start);
        let mut now = start;
        for _ in 0..20 {
            now += Duration::from_secs(1);
            sums.done += 1_000_000;
            sums.pace.take(now, 1_000_000);
        }
        assert_eq!(sums.text(now), "20.0 MB of 100.0 MB, 1.0 MB/s, about 1 min 20 s left");
    }
}

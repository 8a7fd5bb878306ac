//! Events become bars on a terminal, a line every few seconds elsewhere, JSON lines when asked.

mod lines;
mod sums;
mod transfers;

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::OwoColorize as _;

use self::sums::{Sums, Transfer};
use super::outcome;
use crate::base::{Event, Reporter};

/// How often a run without a terminal says where it is.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// A step whose parts are counted.
const COUNTED_STEP: &str = "{spinner} {prefix:<10} {bar:19.green} {wide_msg} {elapsed:.dim}";
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
    /// Who is served.
    room: Option<ProgressBar>,
    waiting: String,
}

/// A source in a bar: host and port are enough to know it by.
fn short(source: &str) -> &str {
    let bare = source.split_once("://").map_or(source, |(_, rest)| rest);
    bare.split('/').next().unwrap_or(bare)
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
            Event::StepProgress { step, done, total } => Self::step_progress(state, step, *done, *total),
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
            Event::RoomChanged { machines, transfers, bytes, rate, sharing } => {
                self.room_changed(state, &outcome::room(*machines, *transfers, *bytes, *rate, *sharing));
            }
            Event::Sharing { address, server, beyond_this_machine, complete } => {
                self.line(&outcome::sharing(address, server, *beyond_this_machine, *complete));
            }
            Event::SeatReported { seat, said } => self.line(&format!("{} {said}", seat.bold())),
            Event::Note { text } => self.line(text),
            Event::Warning { text } => self.line(&format!("{} {text}", "warning:".yellow().bold())),
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

    fn step_progress(state: &State, step: &str, done: u64, total: u64) {
        if let Some(bar) = state.steps.get(step) {
            bar.set_style(bar_style(COUNTED_STEP));
            bar.set_length(total);
            bar.set_position(done);
        }
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
}

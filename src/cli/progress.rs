//! Events become bars on a terminal, a line every few seconds elsewhere, JSON lines when asked.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use owo_colors::OwoColorize as _;

use crate::base::{Event, Reporter, human_bytes};

/// How often a run without a terminal says where it is.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// How often a transfer's progress becomes a JSON event.
const JSON_INTERVAL: Duration = Duration::from_millis(500);

/// All transfers together.
const SUM: &str = "{bar:30.green} {bytes} of {total_bytes}  {bytes_per_sec}  ETA {eta}";
/// All transfers together, when one has no known length.
const OPEN_SUM: &str = "{bytes} so far  {bytes_per_sec}";
/// One transfer.
const TRANSFER: &str = "  {msg:36!} {bar:20.cyan} {bytes:>10} of {total_bytes}";
/// One transfer without a known length.
const OPEN_TRANSFER: &str = "  {msg:36!} {spinner} {bytes:>10}";

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
    total: u64,
    done: u64,
    open_ended: bool,
    started: Option<Instant>,
    spoke: Option<Instant>,
    sum: Option<ProgressBar>,
    step: Option<ProgressBar>,
    waiting: String,
}

struct Transfer {
    name: String,
    bar: Option<ProgressBar>,
    unreported: u64,
    reported: Instant,
}

impl Progress {
    pub(super) fn new(style: Style) -> Self {
        Self { style, bars: MultiProgress::new(), state: Mutex::default() }
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
            Event::TransferStarted { id, name, total } => self.transfer_started(state, *id, name, *total),
            Event::TransferProgress { id, bytes } => self.transfer_progress(state, *id, *bytes),
            Event::TransferFinished { id } => {
                if let Some(bar) = state.transfers.remove(id).and_then(|transfer| transfer.bar) {
                    bar.finish_and_clear();
                }
                if state.transfers.is_empty() {
                    if let Some(sum) = state.sum.take() {
                        sum.finish_and_clear();
                    }
                    *state = State { step: state.step.take(), ..State::default() };
                }
            }
            Event::TransferFailed { id, error, retrying } => {
                let name = state.transfers.get(id).map_or("", |transfer| transfer.name.as_str());
                let what = if *retrying { "trying again" } else { "failed" };
                self.line(&format!("{} {name}: {error} ({what})", "warning:".yellow().bold()));
                if !retrying && let Some(bar) = state.transfers.remove(id).and_then(|transfer| transfer.bar) {
                    bar.finish_and_clear();
                }
            }
            Event::StepStarted { step, title } => self.step_started(state, step, title),
            Event::StepWaiting { step, on } => self.step_waiting(state, step, on),
            Event::StepFinished { step, changed, detail, seconds } => {
                if let Some(bar) = state.step.take() {
                    bar.finish_and_clear();
                }
                let mark = if *changed { "✔".green().to_string() } else { "=".dimmed().to_string() };
                self.line(&format!("{mark} {step:<10} {detail} {}", format!("{seconds:.1} s").dimmed()));
            }
            Event::Note { text } => self.line(text),
            Event::Warning { text } => self.line(&format!("{} {text}", "warning:".yellow().bold())),
        }
    }

    fn transfer_started(&self, state: &mut State, id: u64, name: &str, total: Option<u64>) {
        // A server need not say how much it will send: then there is nothing to measure an end by.
        state.open_ended |= total.is_none();
        let bar = (self.style == Style::Bars).then(|| {
            let sum = state.sum.get_or_insert_with(|| self.bars.add(ProgressBar::new(0)));
            sum.set_style(bar_style(if state.open_ended { OPEN_SUM } else { SUM }));
            sum.inc_length(total.unwrap_or(0));
            let bar = self.bars.insert_before(sum, ProgressBar::new(total.unwrap_or(0)));
            bar.set_style(bar_style(if total.is_some() { TRANSFER } else { OPEN_TRANSFER }));
            bar.set_message(name.to_owned());
            bar
        });
        state.total += total.unwrap_or(0);
        state.started.get_or_insert_with(Instant::now);
        state.transfers.insert(id, Transfer { name: name.to_owned(), bar, unreported: 0, reported: Instant::now() });
    }

    fn transfer_progress(&self, state: &mut State, id: u64, bytes: u64) {
        state.done += bytes;
        if let Some(bar) = state.transfers.get(&id).and_then(|transfer| transfer.bar.as_ref()) {
            bar.inc(bytes);
        }
        if let Some(sum) = &state.sum {
            sum.inc(bytes);
        }
        let started = state.started.unwrap_or_else(Instant::now);
        if self.style == Style::Plain && state.spoke.unwrap_or(started).elapsed() >= PLAIN_INTERVAL {
            state.spoke = Some(Instant::now());
            let rate = state.done as f64 / started.elapsed().as_secs_f64();
            let (done, per_second) = (human_bytes(state.done), human_bytes(rate as u64));
            if state.open_ended {
                self.line(&format!("{done} so far, {per_second}/s"));
            } else {
                let left = state.total.saturating_sub(state.done) as f64 / rate.max(1.0);
                self.line(&format!("{done} of {}, {per_second}/s, about {left:.0} s left", human_bytes(state.total)));
            }
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
            state.step = Some(bar);
        } else {
            self.line(&format!("  {step:<10} {title}"));
        }
    }

    fn step_waiting(&self, state: &mut State, step: &str, on: &str) {
        if let Some(bar) = &state.step {
            bar.set_message(on.to_owned());
        } else if state.waiting != on && state.spoke.is_none_or(|spoke| spoke.elapsed() >= PLAIN_INTERVAL) {
            state.spoke = Some(Instant::now());
            on.clone_into(&mut state.waiting);
            self.line(&format!("  {step:<10} waiting: {on}"));
        }
    }

    fn json(&self, event: Event, state: &mut State) {
        let event = match event {
            // Every chunk would be thousands of lines a second: sums leave every half second.
            Event::TransferProgress { id, bytes } => {
                let Some(transfer) = state.transfers.get_mut(&id) else { return };
                transfer.unreported += bytes;
                if transfer.reported.elapsed() < JSON_INTERVAL {
                    return;
                }
                transfer.reported = Instant::now();
                Event::TransferProgress { id, bytes: std::mem::take(&mut transfer.unreported) }
            }
            Event::TransferStarted { id, ref name, .. } => {
                state
                    .transfers
                    .insert(id, Transfer { name: name.clone(), bar: None, unreported: 0, reported: Instant::now() });
                event
            }
            other => other,
        };
        super::render::json_line(&event);
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

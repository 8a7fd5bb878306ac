//! Transfers on a terminal: a bar for each, one for all of them; elsewhere a line every few seconds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressState};

use super::{PLAIN_INTERVAL, Progress, State, Style, bar_style, sums::Transfer};

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

impl Progress {
    pub(super) fn transfer_started(&self, state: &mut State, id: u64, name: &str, total: Option<u64>) {
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
    pub(super) fn advance(&self, state: &mut State, id: u64, bytes: u64, fresh: bool) {
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

    pub(super) fn transfer_ended(&self, state: &mut State, id: u64, well: bool) {
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
            *state = State {
                steps: std::mem::take(&mut state.steps),
                entries: state.entries.take(),
                room: state.room.take(),
                ..State::default()
            };
        }
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

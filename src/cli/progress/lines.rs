//! Events as JSON lines.

use std::time::{Duration, Instant};

use super::{super::render, Progress, State, sums::Transfer};
use crate::base::Event;

/// How often a transfer's progress becomes a JSON event.
const JSON_INTERVAL: Duration = Duration::from_millis(500);

impl Progress {
    pub(super) fn json(&self, event: Event, state: &mut State) {
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
        render::json_line(&event);
    }
}

fn flush(id: u64, transfer: &mut Transfer) {
    let bytes = std::mem::take(&mut transfer.unreported);
    transfer.reported = Instant::now();
    if bytes > 0 {
        render::json_line(&Event::TransferProgress { id, bytes });
    }
}

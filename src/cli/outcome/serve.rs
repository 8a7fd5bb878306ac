//! What `serve` says when it begins and when it is over.

use owo_colors::OwoColorize as _;

use crate::{
    base::human_bytes,
    cli::{pace::span, render::Render},
    verb::serve::Outcome,
};

impl Render for Outcome {
    fn text(&self) -> String {
        let machines = if self.machines == 1 { "1 machine".to_owned() } else { format!("{} machines", self.machines) };
        let seats = match self.seats.len() {
            0 => String::new(),
            1 => ", 1 seat on the roster".to_owned(),
            more => format!(", {more} seats on the roster"),
        };
        format!(
            "served {} of lab {} to {machines} in {}{seats}",
            human_bytes(self.bytes),
            self.lab_id.short(),
            span(self.seconds)
        )
    }
}

/// What is served, where, and to whom.
pub(in crate::cli) fn beginning(
    lab: &str,
    lab_id: &str,
    blobs: usize,
    bytes: u64,
    addresses: &[String],
    beyond: bool,
) -> String {
    let id = lab_id.trim_start_matches("sha256:").get(..12).unwrap_or_default();
    let mut lines = vec![format!("serving the lab {lab} ({id}): {blobs} blobs, {}", human_bytes(bytes))];
    lines.extend(addresses.iter().map(|address| format!("  {}", address.bold())));
    lines.push(if beyond {
        "everybody who reaches such an address can read this lab's blobs, its lock, the list of its parts and the roster, \
         and can add a seat to it; nothing else of this machine is served or changed. Ctrl-C ends it"
            .to_owned()
    } else {
        "only this machine reaches it; `ztlab serve --bind ADDRESS` opens it to a network. Ctrl-C ends it".to_owned()
    });
    lines.join("\n")
}

/// How far the room is.
pub(in crate::cli) fn room(machines: usize, transfers: usize, bytes: u64, rate: u64, sharing: usize) -> String {
    let machines = if machines == 1 { "1 machine".to_owned() } else { format!("{machines} machines") };
    let now = match transfers {
        0 => String::new(),
        1 => format!("; 1 transfer, {}/s", human_bytes(rate)),
        more => format!("; {more} transfers, {}/s", human_bytes(rate)),
    };
    let others = match sharing {
        0 => String::new(),
        1 => "; 1 laptop shares".to_owned(),
        more => format!("; {more} laptops share"),
    };
    format!("{machines}, {} sent{now}{others}", human_bytes(bytes))
}

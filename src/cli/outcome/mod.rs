//! What each verb's outcome looks like to a person.

mod build;
mod bundle;
mod diff;
mod doctor;
mod install;
mod lock;
mod receipt;
mod registry;
pub(super) mod report;
mod serve;
mod share;
mod sources;
mod status;
mod store;
mod verify;

pub(super) use diff::markdown::page as diff_markdown;

use serde::Serialize;

use super::{args::Dashboard, render::Render};
use crate::{
    base::human_bytes,
    verb::{estimate, fetch, open, preload},
};

pub(super) use serve::{beginning as serving, room};
pub(super) use share::line as sharing;
pub(super) use store::Preview;
pub(super) use verify::Taught;

#[derive(Serialize)]
pub(super) struct Version {
    pub(super) version: &'static str,
    pub(super) platform: String,
}

impl Render for Version {
    fn text(&self) -> String {
        format!("ztlab {} ({})", self.version, self.platform)
    }
}

#[derive(Serialize)]
pub(super) struct Opened {
    pub(super) address: String,
}

impl Render for Opened {
    fn text(&self) -> String {
        format!("{}  (Ctrl-C closes it)", self.address)
    }
}

impl From<Dashboard> for open::Dashboard {
    fn from(dashboard: Dashboard) -> Self {
        match dashboard {
            Dashboard::App => Self::App,
            Dashboard::Kiali => Self::Kiali,
            Dashboard::Grafana => Self::Grafana,
            Dashboard::Prometheus => Self::Prometheus,
        }
    }
}

impl Render for fetch::Outcome {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        if !self.completed.is_empty() {
            lines.push(format!("completed in the lock: {}", self.completed.join(", ")));
        }
        if !self.built.is_empty() {
            lines.push(format!("built: {}", self.built.join(", ")));
        }
        lines.push(format!(
            "lab {}, profile {}: {} artifacts, {} blobs, {} in the store; fetched {} blobs ({}) with {} requests",
            self.lab_id.short(),
            self.profile,
            self.artifacts,
            self.blobs,
            human_bytes(self.bytes),
            self.fetched_blobs,
            human_bytes(self.fetched_bytes),
            self.requests
        ));
        lines.extend(sources::lines(&self.sources));
        lines.extend(self.shared.iter().map(share::summary));
        lines.join("\n")
    }
}

impl Render for estimate::Estimate {
    fn text(&self) -> String {
        let mut lines = match self.blobs {
            0 if self.pending.is_empty() => return "nothing to download: every blob is in the store".to_owned(),
            0 => Vec::new(),
            1 => vec![format!("to download: 1 blob, {}", human_bytes(self.bytes))],
            blobs => vec![format!("to download: {blobs} blobs, {}", human_bytes(self.bytes))],
        };
        if !self.pending.is_empty() {
            lines.push(format!("of a size that nobody knows yet: {}", self.pending.join(", ")));
        }
        if self.docker_hub_pulls > 0 {
            let left = self.docker_hub_left.map(|left| format!(" ({left} are left)")).unwrap_or_default();
            lines.push(format!("of Docker Hub's quota: at most {} pulls{left}", self.docker_hub_pulls));
        }
        if let (Some(rate), Some(seconds), 1..) = (self.bytes_per_second, self.seconds, self.bytes) {
            let how = if self.measured { "as measured just now" } else { "as given" };
            lines.push(format!("time: {} at {}/s, {how}", super::pace::span(seconds as f64), human_bytes(rate)));
        }
        lines.join("\n")
    }
}

impl Render for preload::Outcome {
    fn text(&self) -> String {
        let total = self.images.len();
        if self.loaded.is_empty() {
            return format!("{} holds all {total} images under their locked digests; nothing was sent", self.node);
        }
        let sent = human_bytes(self.sent);
        let had = match self.left_out {
            0 => String::new(),
            bytes => format!("; {} of layers were there already", human_bytes(bytes)),
        };
        format!(
            "{} of {total} images loaded into {} in {:.1} s, {sent} sent{had}; all read back by digest",
            self.loaded.len(),
            self.node,
            self.seconds
        )
    }
}

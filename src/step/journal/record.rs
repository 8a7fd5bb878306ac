//! What is in a journal's file, and how it is read and replaced.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::step::graph::Step;

/// The form of the file. A file of another form is put aside.
pub(super) const SCHEMA: u32 = 2;

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// It was begun, and nothing more is known.
    Begun,
    /// It found its work done, or did it.
    Done,
    /// It failed.
    Failed,
    /// A reset took it back.
    Undone,
}

/// What is known of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// How far it came.
    pub state: Progress,
    /// In which run.
    pub run: u64,
    /// When that was.
    pub at: Timestamp,
    /// How long it took when it last had something to do.
    pub seconds: Option<f64>,
    /// Its line of evidence, or why it failed.
    pub detail: String,
}

/// A run of `install` or `reset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Counted from 1.
    pub number: u64,
    /// When it began.
    pub begun: Timestamp,
    /// The last step that it was to do.
    pub until: Option<Step>,
    /// When it came to a good end, or was found to be about a cluster that is gone; absent when it failed, was
    /// interrupted, or still runs.
    pub end: Option<Timestamp>,
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) schema: u32,
    pub(super) lab_id: String,
    pub(super) target: String,
    /// What the target was when a run last met it, as [`Cluster::identity`](crate::cluster::client::Cluster::identity)
    /// tells; absent until it answered. A name stays when a cluster is deleted and made anew, and nothing of what was
    /// under way in the old one is in the new one.
    #[serde(default)]
    pub(super) cluster: Option<String>,
    /// Which of the lab's profiles was last set out to be there; none after it was taken away.
    #[serde(default)]
    pub(super) profile: Option<String>,
    pub(super) run: Option<Run>,
    pub(super) steps: BTreeMap<Step, Entry>,
}

impl Record {
    /// Whether it is about the cluster that answers now; a cluster that does not answer may be the same.
    pub(super) fn is_about(&self, here: Option<&str>) -> bool {
        self.cluster.as_deref().is_none_or(|met| here.is_none_or(|here| met == here))
    }

    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        let run = self.run.as_ref().filter(|run| run.end.is_none())?;
        let steps = |state: Progress| {
            let of_run = self.steps.iter().filter(|(_, entry)| entry.run == run.number && entry.state == state);
            of_run.map(|(step, _)| *step).collect()
        };
        Some(Unfinished {
            begun: run.begun,
            done: steps(Progress::Done),
            under_way: steps(Progress::Begun),
            failed: steps(Progress::Failed),
        })
    }
}

/// What an earlier run left unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// When that run began.
    pub begun: Timestamp,
    /// Steps that it had done.
    pub done: Vec<Step>,
    /// Steps that were under way.
    pub under_way: Vec<Step>,
    /// Steps that failed.
    pub failed: Vec<Step>,
}

/// A journal's content; none where there is no such file, or it is no journal.
///
/// # Errors
/// When it cannot be read, or is of another form.
pub(super) fn read(path: &Path) -> io::Result<Option<Record>> {
    if path.extension().is_none_or(|extension| extension != "json") {
        return Ok(None);
    }
    let text = match fs_err::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let record: Record = serde_json::from_slice(&text)?;
    if record.schema == SCHEMA { Ok(Some(record)) } else { Err(io::Error::other("another schema")) }
}

/// Replaces the file: whoever reads sees the old one or the new one.
pub(super) fn write(path: &Path, record: &Record) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
    let mut temporary = tempfile::Builder::new().prefix(".journal-").tempfile_in(folder)?;
    serde_json::to_writer_pretty(temporary.as_file_mut(), record)?;
    temporary.write_all(b"\n")?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map(|_| ()).map_err(|error| error.error)
}

//! What an install has done, written down while it works: one file for each target and lab, in the user's data folder.
//!
//! ```json
//! {"schema": 2, "lab_id": "sha256:…", "target": "--cluster ztlab", "cluster": "0f6d…", "profile": "small",
//!  "run": {"number": 3, "begun": "2026-11-28T17:21:00Z", "until": "receipt", "end": null},
//!  "steps": {"calico": {"state": "begun", "run": 3, "at": "2026-11-28T17:22:31Z", "seconds": null, "detail": ""}}}
//! ```
//!
//! The file is replaced as a whole, so a process that is killed leaves the old one or the new one. It tells what was
//! under way and how long each step took; it never replaces a look at the world: a step that is down as done is asked
//! again, and finds its work done or does it.

mod record;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use jiff::Timestamp;

pub use self::record::{Entry, Progress, Run, Unfinished};
use self::record::{Record, SCHEMA, read, write};
use super::graph::Step;
use crate::base::Digest;

/// Why there is no journal.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum JournalError {
    /// Another process is at it.
    #[error("another ztlab works on `{target}` at this moment")]
    #[diagnostic(
        code("step::busy"),
        help("wait for it to end, or end it; when none is there, look for one with `ps`: its death frees the target")
    )]
    Busy {
        /// The target's arguments.
        target: String,
    },
    /// The file system says no.
    #[error("cannot keep a journal of the install in {}", .folder.display())]
    #[diagnostic(code("step::journal"), help("look at the free space and the rights of that folder"))]
    Io {
        /// The journals' folder.
        folder: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// The journal of one target and lab, held by one process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    record: Mutex<Record>,
    /// The lock goes with the process, whatever ends it.
    _held: File,
}

impl Journal {
    /// Opens the journal of a lab in a target, or begins one. `target`: the arguments that name it.
    ///
    /// # Errors
    /// When another process holds it, or the folder cannot be used.
    pub fn open(folder: &Path, target: &str, lab_id: &str) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Io { folder: folder.to_owned(), source };
        fs_err::create_dir_all(folder).map_err(failed)?;
        let held = fs_err::File::create(folder.join(format!("{}.lock", file_name(target)))).map_err(failed)?;
        let (held, _) = held.into_parts();
        match held.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(JournalError::Busy { target: target.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        let short = lab_id.trim_start_matches("sha256:").get(..12).unwrap_or(lab_id);
        let path = folder.join(format!("{}@{short}.json", file_name(target)));
        let fresh = || Record {
            schema: SCHEMA,
            lab_id: lab_id.to_owned(),
            target: target.to_owned(),
            cluster: None,
            profile: None,
            run: None,
            steps: BTreeMap::new(),
        };
        let record = match read(&path) {
            Ok(Some(record)) if record.lab_id == lab_id && record.target == target => record,
            Ok(None) => fresh(),
            // Somebody's edit, a newer form, or a damaged disk: what is in it is only a help, so it may go.
            Ok(Some(_)) | Err(_) => {
                let _ = fs_err::rename(&path, path.with_extension("json.unreadable"));
                fresh()
            }
        };
        Ok(Self { path, record: Mutex::new(record), _held: held })
    }

    /// What the last run left unfinished; `None` when it came to a good end, or there was none.
    pub fn unfinished(&self) -> Option<Unfinished> {
        self.record.lock().ok()?.unfinished()
    }

    /// What is known of each step.
    pub fn entries(&self) -> BTreeMap<Step, Entry> {
        self.record.lock().map(|record| record.steps.clone()).unwrap_or_default()
    }

    /// Notes which cluster the target is. When it was another one before, the run that was under way there is over.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn meet(&self, cluster: &str) -> io::Result<()> {
        self.change(|record| {
            if !record.is_about(Some(cluster)) {
                record.profile = None;
                if let Some(run) = &mut record.run {
                    run.end.get_or_insert_with(Timestamp::now);
                }
            }
            record.cluster = Some(cluster.to_owned());
        })
    }

    /// Notes which profile is to be in the target; `None` when the lab is taken away.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_profile(&self, profile: Option<&str>) -> io::Result<()> {
        self.change(|record| record.profile = profile.map(str::to_owned))
    }

    /// Begins a run that ends with `until`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(&self, until: Option<Step>) -> io::Result<()> {
        self.change(|record| {
            let number = record.run.as_ref().map_or(1, |run| run.number + 1);
            record.run = Some(Run { number, begun: Timestamp::now(), until, end: None });
        })
    }

    /// Notes a step. `seconds`: how long it took when it had something to do.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&self, step: Step, state: Progress, seconds: Option<f64>, detail: &str) -> io::Result<()> {
        self.change(|record| {
            let run = record.run.as_ref().map_or(0, |run| run.number);
            let seconds = seconds.or_else(|| record.steps.get(&step)?.seconds);
            record.steps.insert(step, Entry { state, run, at: Timestamp::now(), seconds, detail: detail.to_owned() });
        })
    }

    /// Notes that the run came to a good end.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end(&self) -> io::Result<()> {
        self.change(|record| {
            if let Some(run) = &mut record.run {
                run.end = Some(Timestamp::now());
            }
        })
    }

    fn change(&self, by: impl FnOnce(&mut Record)) -> io::Result<()> {
        let mut record = self.record.lock().map_err(|_| io::Error::other("another thread panicked"))?;
        by(&mut record);
        write(&self.path, &record)
    }
}

/// Where the programs that an install into a target has running are written down. Whoever looks there holds the target.
pub fn children(folder: &Path, target: &str) -> PathBuf {
    folder.join("children").join(file_name(target))
}

/// Every journal of a target, whatever lab it was, the newest last.
fn records(folder: &Path, target: &str) -> Vec<Record> {
    let Ok(files) = fs_err::read_dir(folder) else { return Vec::new() };
    let records = files.filter_map(|file| read(&file.ok()?.path()).ok().flatten());
    let mut records: Vec<Record> = records.filter(|record| record.target == target).collect();
    records.sort_by_key(|record| record.run.as_ref().map(|run| run.begun));
    records
}

/// The profile that the newest run in a target was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastProfile {
    /// Its name.
    pub name: String,
    /// Whether that run came to a good end: one that did not is gone on with.
    pub ended: bool,
}

/// What the newest journal of a target says of its profile, unless it is about another cluster than the one that answers
/// there now. `here`: that one's identity; of one that is stopped nobody knows it, and the journal counts.
pub fn last_profile(folder: &Path, target: &str, here: Option<&str>) -> Option<LastProfile> {
    let record = records(folder, target).pop().filter(|record| record.is_about(here))?;
    let ended = record.run.is_none_or(|run| run.end.is_some());
    Some(LastProfile { name: record.profile?, ended })
}

/// What the newest run in a target left unfinished, or still works at; `None` when it ended well, was in another cluster
/// than the one that answers now (`here`), or there was none.
pub fn left_unfinished(folder: &Path, target: &str, here: Option<&str>) -> Option<Unfinished> {
    records(folder, target).pop().filter(|record| record.is_about(here))?.unfinished()
}

/// How long each step took when it last had something to do, by the newest journal of a target, whatever lab it was.
pub fn durations(folder: &Path, target: &str) -> BTreeMap<Step, f64> {
    let mut known = BTreeMap::new();
    for record in records(folder, target) {
        known.extend(record.steps.iter().filter_map(|(step, entry)| Some((*step, entry.seconds?))));
    }
    known
}

/// A target as a file's name: readable, and by a digest distinct from every other.
fn file_name(target: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || ".-".contains(letter) { letter } else { '_' };
    let readable: String = target.trim_start_matches('-').chars().map(plain).take(60).collect();
    format!("{readable}-{}", Digest::of(target.as_bytes()).short())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = "sha256:0123456789abcdef";

    fn open(folder: &Path) -> Journal {
        Journal::open(folder, "--cluster ztlab", LAB).unwrap()
    }

    #[test]
    fn an_unfinished_run_is_remembered_and_a_finished_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path());
        assert_eq!(journal.unfinished(), None);
        journal.begin(None).unwrap();
        journal.note(Step::Preflight, Progress::Done, Some(1.5), "fine").unwrap();
        journal.note(Step::Calico, Progress::Begun, None, "").unwrap();
        drop(journal);

        let journal = open(folder.path());
        let left = journal.unfinished().unwrap();
        assert_eq!((left.done, left.under_way), (vec![Step::Preflight], vec![Step::Calico]));
        journal.begin(None).unwrap();
        // What an earlier run did says nothing about this one.
        assert_eq!(journal.unfinished().unwrap().under_way, []);
        journal.end().unwrap();
        assert_eq!(open_again(journal, folder.path()).unfinished(), None);
    }

    fn open_again(journal: Journal, folder: &Path) -> Journal {
        drop(journal);
        open(folder)
    }

    #[test]
    fn a_target_is_held_by_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let _held = open(folder.path());
        let error = Journal::open(folder.path(), "--cluster ztlab", "sha256:ffffffffffffffff").unwrap_err();
        assert!(matches!(error, JournalError::Busy { .. }), "{error}");
        Journal::open(folder.path(), "--cluster other", LAB).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_read_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = open(folder.path()).path;
        for text in
            ["{\"schema\": 1", "{\"schema\": 99, \"lab_id\": \"\", \"target\": \"\", \"run\": null, \"steps\": {}}"]
        {
            fs_err::write(&path, text).unwrap();
            let journal = open(folder.path());
            assert_eq!(journal.entries(), BTreeMap::new());
            assert_eq!(fs_err::read_to_string(path.with_extension("json.unreadable")).unwrap(), text);
        }
    }

    #[test]
    fn a_profile_is_remembered_until_the_lab_goes_and_the_newest_run_counts() {
        let folder = tempfile::tempdir().unwrap();
        let target = "--cluster ztlab";
        assert_eq!(last_profile(folder.path(), target, None), None);
        let journal = open(folder.path());
        journal.keep_profile(Some("small")).unwrap();
        journal.begin(None).unwrap();
        let last = |ended| Some(LastProfile { name: "small".to_owned(), ended });
        assert_eq!(last_profile(folder.path(), target, None), last(false));
        assert!(left_unfinished(folder.path(), target, None).is_some());
        journal.end().unwrap();
        assert_eq!(last_profile(folder.path(), target, None), last(true));
        assert_eq!(left_unfinished(folder.path(), target, None), None);
        drop(journal);
        let other = Journal::open(folder.path(), target, "sha256:ffffffffffffffff").unwrap();
        other.keep_profile(None).unwrap();
        other.begin(None).unwrap();
        assert_eq!(last_profile(folder.path(), target, None), None, "an older journal has nothing to say any more");
        assert_eq!(last_profile(folder.path(), "--cluster other", None), None);
    }

    #[test]
    fn what_was_under_way_in_a_cluster_that_is_gone_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let target = "--cluster ztlab";
        let journal = open(folder.path());
        journal.keep_profile(Some("small")).unwrap();
        journal.begin(None).unwrap();
        let known = |here| {
            (
                last_profile(folder.path(), target, here).is_some(),
                left_unfinished(folder.path(), target, here).is_some(),
            )
        };
        assert_eq!(known(Some("first")), (true, true), "it was interrupted before the cluster answered");
        journal.meet("first").unwrap();
        assert_eq!((known(Some("first")), known(None)), ((true, true), (true, true)));
        assert_eq!(known(Some("second")), (false, false));
        journal.meet("first").unwrap();
        assert!(journal.unfinished().is_some(), "the same cluster");
        journal.meet("second").unwrap();
        assert_eq!((journal.unfinished(), known(Some("second"))), (None, (false, false)));
    }

    #[test]
    fn how_long_a_step_takes_is_what_it_took_when_it_had_something_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path());
        journal.begin(None).unwrap();
        journal.note(Step::Calico, Progress::Done, Some(36.0), "changed").unwrap();
        journal.begin(None).unwrap();
        journal.note(Step::Calico, Progress::Begun, None, "").unwrap();
        journal.note(Step::Calico, Progress::Done, None, "unchanged").unwrap();
        assert_eq!(durations(folder.path(), "--cluster ztlab"), BTreeMap::from([(Step::Calico, 36.0)]));
        assert_eq!(durations(folder.path(), "--cluster other"), BTreeMap::new());
    }
}

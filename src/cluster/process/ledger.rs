//! Children that may outlive this process, written down while they run.
//!
//! A child is killed when its future is dropped, but a SIGKILL of ztlab drops nothing: `istioctl install` or
//! `minikube start` then go on alone, and the next run would start a second one beside it. Linux can tie a child's life
//! to its parent's (`PR_SET_PDEATHSIG`), macOS cannot, and both would need code between fork and exec. So each child
//! leaves a note with its process id and the time of its birth, which tells it from a later process with the same
//! number; who holds the target next ends what is still there.
//!
//! ```json
//! {"process": 4711, "born": "5f2d…/1234567", "command": "istioctl install --set …"}
//! ```

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// How long a program may take to end when it is asked to; then it is killed.
const POLITE: Duration = Duration::from_secs(10);
/// How long the system may take to end a killed one: it may be waiting for a disk.
const KILLED: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A program of an earlier run that cannot be ended.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{command}` of an earlier run still runs as process {process}, and did not end when it was killed")]
#[diagnostic(
    code(process::leftover),
    help("look at it with `ps -p {process}`; when it is gone, run the same command again")
)]
pub struct LeftoverError {
    command: String,
    process: u32,
}

/// The folder of the notes about one target's children. Whoever uses it holds the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    folder: PathBuf,
}

/// One running child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    process: u32,
    born: String,
    command: String,
}

/// A note that is struck off when it is dropped.
#[derive(Debug)]
pub(super) struct Noted {
    path: PathBuf,
}

impl Drop for Noted {
    fn drop(&mut self) {
        let _ = fs_err::remove_file(&self.path);
    }
}

impl Ledger {
    /// Notes go into this folder, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Notes a child. Without a note the child runs all the same: it is a help for a rare end.
    pub(super) fn note(&self, process: u32, command: &str) -> Option<Noted> {
        let note = Note { process, born: birth(process)?, command: command.to_owned() };
        let path = self.folder.join(format!("{process}.json"));
        let written =
            fs_err::create_dir_all(&self.folder).and_then(|()| fs_err::write(&path, serde_json::to_vec(&note)?));
        match written {
            Ok(()) => Some(Noted { path }),
            Err(error) => {
                tracing::debug!(%error, "a child is not written down");
                None
            }
        }
    }

    /// Ends what an earlier run left running. What was ended, one line each.
    ///
    /// # Errors
    /// When a program does not end.
    pub async fn end_leftovers(&self) -> Result<Vec<String>, LeftoverError> {
        let mut ended = Vec::new();
        for (path, note) in self.notes() {
            if let Some(note) = note.filter(Note::runs) {
                note.end().await?;
                ended.push(format!(
                    "`{}` of an earlier run still ran (process {}) and was ended",
                    note.command, note.process
                ));
            }
            let _ = fs_err::remove_file(path);
        }
        Ok(ended)
    }

    /// Every file of the folder, with its note when it is one: a process that is killed may leave half of one.
    fn notes(&self) -> Vec<(PathBuf, Option<Note>)> {
        let Ok(files) = fs_err::read_dir(&self.folder) else { return Vec::new() };
        let read = |path: &Path| -> io::Result<Note> { Ok(serde_json::from_slice(&fs_err::read(path)?)?) };
        files.filter_map(|file| Some(file.ok()?.path())).map(|path| (path.clone(), read(&path).ok())).collect()
    }
}

impl Note {
    /// Whether the process is still the one that was noted.
    fn runs(&self) -> bool {
        birth(self.process).is_some_and(|born| born == self.born)
    }

    async fn end(&self) -> Result<(), LeftoverError> {
        for (signal, patience) in [(Signal::TERM, POLITE), (Signal::KILL, KILLED)] {
            if let Some(process) = i32::try_from(self.process).ok().and_then(Pid::from_raw) {
                // It may have ended in this moment, or be another user's: the look below tells.
                let _ = kill_process(process, signal);
            }
            let end = Instant::now() + patience;
            while Instant::now() < end {
                if !self.runs() {
                    return Ok(());
                }
                sleep(PAUSE).await;
            }
        }
        Err(LeftoverError { command: self.command.clone(), process: self.process })
    }
}

/// When a process was born, in words that no other process of its number has; `None` when it is gone, or only waits
/// for its parent to hear of its end. Linux: the boot, and the clock ticks since then (proc(5), `/proc/PID/stat`).
#[cfg(target_os = "linux")]
fn birth(process: u32) -> Option<String> {
    let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold blanks and parentheses itself.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, born) = (fields.first()?, fields.get(19)?);
    let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    (!matches!(*state, "Z" | "X")).then(|| format!("{}/{born}", boot.trim()))
}

/// The same from `ps`, to the second.
#[cfg(not(target_os = "linux"))]
fn birth(process: u32) -> Option<String> {
    let mut ps = std::process::Command::new("/bin/ps");
    let output = ps.env("LC_ALL", "C").args(["-o", "stat=,lstart=", "-p", &process.to_string()]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (state, born) = text.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| born.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper(script: &str) -> Child {
        Command::new("/bin/sh").args(["-c", script]).spawn().unwrap()
    }

    /// What a run leaves that is killed: the note stays.
    fn left(ledger: &Ledger, child: &Child) {
        std::mem::forget(ledger.note(child.id(), "istioctl install").unwrap());
    }

    fn files(ledger: &Ledger) -> usize {
        fs_err::read_dir(&ledger.folder).map_or(0, Iterator::count)
    }

    #[tokio::test]
    async fn what_an_earlier_run_left_is_ended_and_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path().join("children"));
        let mut child = sleeper("exec sleep 600");
        left(&ledger, &child);
        let told = ledger.end_leftovers().await.unwrap();
        let status = child.try_wait().unwrap().expect("it still runs");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
        let id = child.id();
        assert_eq!(told, [format!("`istioctl install` of an earlier run still ran (process {id}) and was ended")]);
        assert_eq!((files(&ledger), ledger.end_leftovers().await.unwrap().len()), (0, 0));
    }

    #[tokio::test]
    async fn another_process_with_the_same_number_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path());
        let mut child = sleeper("exec sleep 600");
        let note = Note { process: child.id(), born: "before".to_owned(), command: "istioctl install".to_owned() };
        fs_err::write(folder.path().join("1.json"), serde_json::to_vec(&note).unwrap()).unwrap();
        fs_err::write(folder.path().join("2.json"), "{\"process\": 1").unwrap();
        assert_eq!(ledger.end_leftovers().await.unwrap(), [""; 0]);
        assert!(child.try_wait().unwrap().is_none(), "a stranger was ended");
        assert_eq!(files(&ledger), 0, "notes of nothing stay");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn a_note_is_there_while_a_child_runs_and_gone_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path());
        let environment = super::super::Environment::default().with("PATH", "/usr/bin:/bin");
        let child = super::super::Child::new("sleep", &environment, Duration::from_secs(60));
        let child = child.arguments(["600"]).noted_in(Some(&ledger));
        let seen = async {
            while files(&ledger) == 0 {
                sleep(Duration::from_millis(10)).await;
            }
            let notes = ledger.notes();
            notes[0].1.as_ref().map(|note| (note.process, note.runs(), note.command.clone())).unwrap()
        };
        let (process, runs, command) = tokio::select! {
            ended = child.run() => panic!("{ended:?}"),
            seen = seen => seen,
        };
        assert_eq!((runs, command.as_str()), (true, "sleep 600"));
        assert_eq!(files(&ledger), 0);
        let end = Instant::now() + Duration::from_secs(10);
        while birth(process).is_some() {
            assert!(Instant::now() < end, "the child was not killed when it was dropped");
            sleep(PAUSE).await;
        }
    }
}

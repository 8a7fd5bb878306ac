//! An install that is killed at every boundary of every step, and in the middle of each, on a world that is a folder:
//! what the journal then says, and that the next run comes to the same end.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use ztlab::{
    base::{Event, Reporter, report::Silent},
    step::{
        Step, Target,
        engine::{self, World},
        graph::waits_for,
        journal::Journal,
        report::Done,
        undo::Undone,
    },
};

const LAB: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TARGET: &str = "--cluster ztlab";
/// What a killed child is told: the folder, what it does, where it dies.
const VARIABLES: [&str; 3] = ["ZTLAB_KILL_WORLD", "ZTLAB_KILL_VERB", "ZTLAB_KILL_AT"];

/// Where a process dies.
const POINTS: [&str; 4] = [
    // Noted as begun, nothing done.
    "started", // In the middle of its work.
    "half",    // Its work is done, the journal does not know.
    "worked",  // Noted as done.
    "finished",
];

/// Each step leaves a file. `half` files are work that was begun.
struct Folder {
    root: PathBuf,
    /// `half calico`, where the process is to die.
    die_at: Option<String>,
}

impl Folder {
    fn file(&self, step: Step, what: &str) -> PathBuf {
        self.root.join(format!("{step}.{what}"))
    }

    fn reach(&self, point: &str, step: Step) {
        if self.die_at.as_deref() == Some(&format!("{point} {step}")) {
            let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            std::thread::sleep(std::time::Duration::from_secs(30));
        }
    }

    fn done(&self) -> Vec<Step> {
        Step::ALL.into_iter().filter(|step| self.file(*step, "done").exists()).collect()
    }

    fn halves(&self) -> usize {
        Step::ALL.into_iter().filter(|step| self.file(*step, "half").exists()).count()
    }
}

impl World for Folder {
    async fn perform(&self, step: Step) -> miette::Result<Done> {
        let before = waits_for(step, &Step::ALL);
        assert!(before.iter().all(|one| self.file(*one, "done").exists()), "{step} began before {before:?} were done");
        if self.file(step, "done").exists() {
            return Ok(Done::unchanged("there"));
        }
        fs_err::write(self.file(step, "half"), "").unwrap();
        // Others get their turn: what may overlap does.
        tokio::task::yield_now().await;
        self.reach("half", step);
        fs_err::rename(self.file(step, "half"), self.file(step, "done")).unwrap();
        self.reach("worked", step);
        Ok(Done::changed("made"))
    }

    async fn undo(&self, step: Step) -> miette::Result<Undone> {
        let later = Step::ALL.into_iter().filter(|one| waits_for(*one, &Step::ALL).contains(&step));
        assert!(later.into_iter().all(|one| !self.file(one, "done").exists()), "{step} went before what stands on it");
        if self.file(step, "done").exists() {
            fs_err::rename(self.file(step, "done"), self.file(step, "half")).unwrap();
        }
        self.reach("half", step);
        let there = fs_err::remove_file(self.file(step, "half")).is_ok();
        self.reach("worked", step);
        Ok(Undone { removed: there.then(|| step.to_string()).into_iter().collect(), kept: Vec::new() })
    }
}

/// Hears of a step after the journal was told.
struct Dying<'world>(&'world Folder);

impl Reporter for Dying<'_> {
    fn report(&self, event: Event) {
        match event {
            Event::StepStarted { step, .. } => self.0.reach("started", step.parse().unwrap()),
            Event::StepFinished { step, .. } => self.0.reach("finished", step.parse().unwrap()),
            _ => {}
        }
    }
}

/// A process that another test is about to start has every open file for a moment, this lock too.
fn journal(root: &Path) -> Journal {
    for _ in 0..500 {
        if let Ok(journal) = Journal::open(root, TARGET, LAB) {
            return journal;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} stays locked", root.display())
}

fn run(world: &Folder, verb: &str, reporter: &dyn Reporter) {
    let journal = journal(&world.root);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    match verb {
        "install" => {
            let reports = runtime.block_on(engine::install(world, &Step::ALL, &journal, reporter)).unwrap();
            assert_eq!(reports.len(), Step::ALL.len());
        }
        _ => {
            runtime.block_on(engine::reset(world, &down(), &journal, reporter)).unwrap();
        }
    }
}

fn down() -> Vec<Step> {
    Step::down_to(&Target::Minikube { cluster: "ztlab".to_owned(), memory: None, cpus: None }, Step::Cluster)
}

/// The process that dies. It is a test so that it can be called as one.
#[test]
#[ignore = "a part of the others"]
fn child() {
    let [root, verb, die_at] = VARIABLES.map(|name| std::env::var(name).unwrap());
    let world = Folder { root: root.into(), die_at: Some(die_at) };
    run(&world, &verb, &Dying(&world));
}

fn killed(root: &Path, verb: &str, at: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored"]);
    command.envs(VARIABLES.iter().zip([root.to_str().unwrap(), verb, at]));
    command.output().unwrap().status
}

fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[test]
fn an_install_killed_anywhere_is_remembered_and_goes_on_to_the_same_end() {
    for step in Step::ALL {
        for point in POINTS {
            let at = format!("{point} {step}");
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(signal(killed(folder.path(), "install", &at)), Some(9), "{at}: it was not killed");

            let world = Folder { root: folder.path().to_owned(), die_at: None };
            let left = journal(&world.root).unfinished();
            let left = left.unwrap_or_else(|| panic!("{at}: nobody knows of it"));
            match point {
                "finished" => assert!(left.done.contains(&step), "{at}: {left:?}"),
                _ => assert!(left.under_way.contains(&step), "{at}: {left:?}"),
            }
            // What the journal calls done is done: it is told after the work.
            assert!(left.done.iter().all(|done| world.file(*done, "done").exists()), "{at}: {left:?}");

            run(&world, "install", &Silent);
            assert_eq!(world.done(), Step::ALL, "{at}");
            assert_eq!(world.halves(), 0, "{at}: half-done work stayed");
            assert_eq!(journal(&world.root).unfinished(), None, "{at}");
        }
    }
}

#[test]
fn a_reset_killed_anywhere_goes_on_to_the_same_end() {
    for step in down() {
        for point in ["started", "half", "worked", "finished"] {
            let at = format!("{point} {step}");
            let folder = tempfile::tempdir().unwrap();
            let world = Folder { root: folder.path().to_owned(), die_at: None };
            run(&world, "install", &Silent);
            assert_eq!(signal(killed(folder.path(), "reset", &at)), Some(9), "{at}: it was not killed");
            run(&world, "reset", &Silent);
            let stays: Vec<Step> = Step::ALL.into_iter().filter(|one| *one <= Step::Cluster).collect();
            assert_eq!(world.done(), stays, "{at}");
            assert_eq!(world.halves(), 0, "{at}");
        }
    }
}

#[test]
fn a_failed_step_is_remembered_and_stops_what_stands_on_it() {
    struct Failing<'world>(&'world Folder);
    impl World for Failing<'_> {
        async fn perform(&self, step: Step) -> miette::Result<Done> {
            if step == Step::Calico {
                return Err(miette::miette!("no pod network\nwith a second line"));
            }
            self.0.perform(step).await
        }
        async fn undo(&self, step: Step) -> miette::Result<Undone> {
            self.0.undo(step).await
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let world = Folder { root: folder.path().to_owned(), die_at: None };
    let journal = journal(&world.root);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(engine::install(&Failing(&world), &Step::ALL, &journal, &Silent)).unwrap_err();
    assert!(error.to_string().contains("no pod network"));
    assert!(!world.file(Step::Istio, "done").exists());
    let left = journal.unfinished().unwrap();
    assert_eq!(left.failed, [Step::Calico]);
    assert_eq!(journal.entries()[&Step::Calico].detail, "no pod network");
}

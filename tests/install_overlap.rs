//! The time line of an install on a world whose steps take the time that they take on a laptop, a thousandth of it: what
//! does not need each other runs at the same time, and nothing waits for what it does not need.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

use std::{collections::BTreeMap, time::Duration};

use ztlab::{
    base::report::Silent,
    step::{
        Step,
        engine::{self, World},
        graph::waits_for,
        journal::Journal,
        report::{Done, StepReport},
        undo::Undone,
    },
};

/// Sleeps for each step's time.
struct Slow;

impl Slow {
    /// In milliseconds; a start of Minikube is the longest of the first half, the images of the second.
    fn time(step: Step) -> u64 {
        match step {
            Step::Preflight => 40,
            Step::Blobs => 150,
            Step::Cache => 60,
            Step::BaseImage => 120,
            Step::Cluster => 500,
            Step::Preload => 100,
            Step::Images => 350,
            Step::Calico => 300,
            Step::Istio => 200,
            Step::Addons => 160,
            Step::App => 90,
            Step::Policies | Step::Prune | Step::Receipt => 20,
        }
    }
}

impl World for Slow {
    async fn perform(&self, step: Step) -> miette::Result<Done> {
        tokio::time::sleep(Duration::from_millis(Self::time(step))).await;
        Ok(Done::changed("done"))
    }

    async fn undo(&self, _: Step) -> miette::Result<Undone> {
        Ok(Undone::default())
    }
}

/// What a machine that does other work may be late by.
const LATE: f64 = 0.08;

#[test]
fn a_slow_start_of_minikube_is_used_and_nothing_waits_for_what_it_does_not_need() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), "--cluster slow", "sha256:00").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reports = runtime.block_on(engine::install(&Slow, &Step::ALL, &journal, &Silent)).unwrap();
    let of: BTreeMap<Step, &StepReport> = reports.iter().map(|one| (one.step.parse().unwrap(), one)).collect();
    let end = |step: Step| of[&step].started + of[&step].seconds;

    for step in Step::ALL {
        let ready = waits_for(step, &Step::ALL).into_iter().map(end).fold(0.0, f64::max);
        let late = of[&step].started - ready;
        assert!((-0.001..LATE).contains(&late), "{step} began {late:.3} s after all that it needs: {reports:#?}");
    }
    // Hashing and the archives' drafts, the cache and the node's image: all of it before the start is over.
    for beside in [Step::Blobs, Step::Cache, Step::BaseImage] {
        assert!(end(beside) < end(Step::Cluster), "{beside} ends after the cluster runs: {reports:#?}");
    }
    for (one, other) in [(Step::Images, Step::Calico), (Step::App, Step::Addons), (Step::Cache, Step::BaseImage)] {
        let overlap = end(one).min(end(other)) - of[&one].started.max(of[&other].started);
        assert!(overlap > 0.0, "{one} and {other} ran one after the other: {reports:#?}");
    }
    let alone: u64 = Step::ALL.into_iter().map(Slow::time).sum();
    let whole = reports.iter().map(|one| one.started + one.seconds).fold(0.0, f64::max);
    assert!(whole < 0.8 * alone as f64 / 1000.0, "{whole:.2} s of {alone} ms");
}

//! Runs steps as early as the graph allows, and tells journal and listener what becomes of each.

use std::{collections::BTreeSet, future::Future, time::Instant};

use futures::{StreamExt as _, stream::FuturesUnordered};

use super::{
    graph::{Step, waits_for},
    journal::{Journal, Progress},
    report::{Done, StepReport},
    undo::Undone,
};
use crate::base::{Event, Reporter};

/// What steps work on. The real one is [`super::Install`]; tests have one that is a folder.
pub trait World {
    /// Looks whether a step's work is done, does it if not, and waits for its gate. May be stopped at any point and
    /// called again.
    fn perform(&self, step: Step) -> impl Future<Output = miette::Result<Done>>;

    /// Takes a step back, and tells what went; nothing when nothing of it was there.
    fn undo(&self, step: Step) -> impl Future<Output = miette::Result<Undone>>;
}

/// Does the selected steps, each as soon as those before it are done. What is under way when one fails is dropped;
/// the next run looks at it again.
///
/// # Errors
/// The first step's that fails.
pub async fn install<W: World>(
    world: &W,
    selected: &[Step],
    journal: &Journal,
    reporter: &dyn Reporter,
) -> miette::Result<Vec<StepReport>> {
    let begun = Instant::now();
    told(reporter, journal.begin(selected.last().copied()));
    let mut waiting: Vec<Step> = selected.to_vec();
    let mut done = BTreeSet::new();
    let mut running = FuturesUnordered::new();
    let mut reports = Vec::new();
    loop {
        let (ready, later): (Vec<Step>, Vec<Step>) =
            waiting.into_iter().partition(|step| waits_for(*step, selected).iter().all(|before| done.contains(before)));
        waiting = later;
        for step in ready {
            told(reporter, journal.note(step, Progress::Begun, None, ""));
            reporter.report(Event::StepStarted { step: step.name(), title: step.title().to_owned() });
            running.push(async move {
                let started = begun.elapsed().as_secs_f64();
                let result = world.perform(step).await;
                (step, started, begun.elapsed().as_secs_f64() - started, result)
            });
        }
        let Some((step, started, seconds, result)) = running.next().await else { break };
        match result {
            Ok(one) => {
                let effort = one.changed.then_some(seconds);
                told(reporter, journal.note(step, Progress::Done, effort, &one.detail));
                reporter.report(Event::StepFinished {
                    step: step.name(),
                    changed: one.changed,
                    detail: one.detail.clone(),
                    seconds,
                });
                reports.push(StepReport { step: step.name(), done: one, started, seconds });
                done.insert(step);
            }
            Err(error) => {
                told(reporter, journal.note(step, Progress::Failed, None, &first_line(&error)));
                return Err(error);
            }
        }
    }
    told(reporter, journal.end());
    reports.sort_by(|one, other| one.started.total_cmp(&other.started));
    Ok(reports)
}

/// Takes steps back, in the order given; what went and what stays.
///
/// # Errors
/// The first that cannot be taken back; those before it are.
pub async fn reset<W: World>(
    world: &W,
    steps: &[Step],
    journal: &Journal,
    reporter: &dyn Reporter,
) -> miette::Result<Undone> {
    told(reporter, journal.begin(None));
    let mut gone = Undone::default();
    for step in steps {
        let begun = Instant::now();
        reporter.report(Event::StepStarted { step: step.name(), title: step.undo().to_owned() });
        let Undone { removed, kept } = world.undo(*step).await?;
        let detail = if removed.is_empty() { "nothing to take back".to_owned() } else { removed.join("; ") };
        told(reporter, journal.note(*step, Progress::Undone, None, &detail));
        let seconds = begun.elapsed().as_secs_f64();
        reporter.report(Event::StepFinished { step: step.name(), changed: !removed.is_empty(), detail, seconds });
        gone.removed.extend(removed);
        gone.kept.extend(kept);
    }
    told(reporter, journal.end());
    Ok(gone)
}

/// A journal that cannot be written costs a run nothing but its memory.
fn told(reporter: &dyn Reporter, written: std::io::Result<()>) {
    if let Err(error) = written {
        reporter.report(Event::Warning { text: format!("the journal of the install cannot be written: {error}") });
    }
}

fn first_line(error: &miette::Report) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

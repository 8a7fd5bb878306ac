//! What steps did, and what they would do.

use serde::Serialize;

use super::egress::Egress;

/// What one step did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Done {
    /// Whether anything is different now.
    pub changed: bool,
    /// One line of evidence.
    pub detail: String,
}

impl Done {
    /// Something is different now.
    pub fn changed(detail: impl Into<String>) -> Self {
        Self { changed: true, detail: detail.into() }
    }

    /// The same, with pods that were started again because they ran what was locked before.
    pub(super) fn replacing(self, pods: &[String]) -> Self {
        match pods {
            [] => self,
            [pod] => Self::changed(format!("{}; started again with its locked image: {pod}", self.detail)),
            pods => {
                Self::changed(format!("{}; started again with their locked images: {}", self.detail, pods.join(", ")))
            }
        }
    }

    /// Everything was as it should be.
    pub fn unchanged(detail: impl Into<String>) -> Self {
        Self { changed: false, detail: detail.into() }
    }
}

/// A step and what it did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// The step's name.
    pub step: &'static str,
    /// What it did.
    #[serde(flatten)]
    pub done: Done,
    /// When it began, in seconds from the beginning of the run.
    pub started: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What an install did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Identity of the lab.
    pub lab_id: String,
    /// How much of it: `full`, or another of its profiles.
    pub profile: String,
    /// The kubectl context.
    pub context: String,
    /// Every step that ran, by when it began; several may run at the same time.
    pub steps: Vec<StepReport>,
    /// The whole time.
    pub seconds: f64,
    /// What tried to leave the machine meanwhile; of an offline run only.
    pub egress: Option<Egress>,
}

impl Report {
    /// Whether any step changed anything.
    pub fn changed(&self) -> bool {
        self.steps.iter().any(|step| step.done.changed)
    }
}

/// One step to come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedStep {
    /// The step's name.
    pub step: &'static str,
    /// What it will do.
    pub title: &'static str,
    /// The steps that it waits for.
    pub after: Vec<&'static str>,
    /// What holds when it is done.
    pub gate: &'static str,
    /// How it is taken back.
    pub undo: &'static str,
    /// Objects that it applies.
    pub objects: usize,
    /// Images that it loads when they are not there.
    pub images: usize,
    /// Bytes of their blobs, each counted once.
    pub bytes: u64,
    /// How long it may take, in seconds.
    pub seconds: f64,
    /// Whether it took that long when it last had something to do here; else the figure is from another machine.
    pub measured_here: bool,
}

/// How many objects were applied, and which of them changed.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) objects: usize,
    pub(super) changed: Vec<String>,
}

impl Counts {
    /// `12 objects, 3 changed` as a step's result.
    pub(super) fn done(&self, what: &str) -> Done {
        if self.changed.is_empty() {
            Done::unchanged(format!("{what}: {} objects as they should be", self.objects))
        } else {
            Done::changed(format!("{what}: {} of {} objects created or changed", self.changed.len(), self.objects))
        }
    }
}

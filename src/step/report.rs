//! What steps did, and what they would do.

use serde::Serialize;

/// What one step did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Done {
    /// Whether anything is different now.
    pub changed: bool,
    /// One line of evidence.
    pub detail: String,
}

impl Done {
    pub(super) fn changed(detail: impl Into<String>) -> Self {
        Self { changed: true, detail: detail.into() }
    }

    pub(super) fn unchanged(detail: impl Into<String>) -> Self {
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
    /// How long it took.
    pub seconds: f64,
}

/// What an install did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Identity of the lab.
    pub lab_id: String,
    /// The kubectl context.
    pub context: String,
    /// Every step that ran.
    pub steps: Vec<StepReport>,
    /// The whole time.
    pub seconds: f64,
}

impl Report {
    /// Whether any step changed anything.
    pub fn changed(&self) -> bool {
        self.steps.iter().any(|step| step.done.changed)
    }
}

/// One step to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStep {
    /// The step's name.
    pub step: &'static str,
    /// What it will do.
    pub title: &'static str,
    /// Objects that it applies.
    pub objects: usize,
    /// Images that it loads when they are not there.
    pub images: usize,
    /// Bytes of their blobs, each counted once.
    pub bytes: u64,
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

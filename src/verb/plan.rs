//! `plan`: what an install would check, load and apply, before it does.

use serde::Serialize;

use super::Context;
use crate::step::{Install, Options, PlannedStep, Target, plan::duration};

/// The steps to come, with what they would move.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    /// Identity of the lab.
    pub lab_id: String,
    /// The kubectl context.
    pub context: String,
    /// One entry a step.
    pub steps: Vec<PlannedStep>,
    /// How long the whole may take, in seconds: steps that overlap count once.
    pub seconds: f64,
}

/// Plans an install; needs no cluster.
///
/// # Errors
/// When the lab is incomplete or its manifests cannot be used.
pub fn run(context: &Context, target: Target, options: Options) -> miette::Result<Planned> {
    let lab_install = super::install::prepare(context, target, options)?;
    of(&lab_install)
}

/// The plan of a prepared install.
///
/// # Errors
/// When the lab's manifests cannot be used.
pub(super) fn of(lab_install: &Install) -> miette::Result<Planned> {
    let steps = lab_install.plan()?;
    Ok(Planned {
        lab_id: lab_install.complete.lock().lab_id().to_string(),
        context: lab_install.target.context().to_owned(),
        seconds: duration(&steps),
        steps,
    })
}

//! `plan`: what an install would check, load and apply, before it does.

use serde::Serialize;

use super::Context;
use crate::step::{Options, PlannedStep, Step, Target};

/// The steps to come, with what they would move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Identity of the lab.
    pub lab_id: String,
    /// The kubectl context.
    pub context: String,
    /// One entry a step.
    pub steps: Vec<PlannedStep>,
}

/// Plans an install; needs no cluster.
///
/// # Errors
/// When the lab is incomplete or its manifests cannot be used.
pub fn run(context: &Context, target: Target, options: Options) -> miette::Result<Planned> {
    let lab_install = super::install::prepare(context, target, options)?;
    let steps = Step::between(&lab_install.target, None, None);
    let steps = steps.into_iter().map(|step| lab_install.plan(step)).collect::<Result<_, _>>()?;
    Ok(Planned {
        lab_id: lab_install.complete.lock().lab_id().to_string(),
        context: lab_install.target.context().to_owned(),
        steps,
    })
}

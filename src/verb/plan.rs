//! `plan`: what an install would check, load and apply, before it does.

use serde::Serialize;

use super::Context;
use crate::{
    base::Digest,
    lockfile::Profile,
    step::{
        Install, Options, PlannedStep, Target,
        images::{self as lab_images, Role},
        plan::duration,
    },
};

/// The steps to come, with what they would move.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    /// Identity of the lab.
    pub lab_id: String,
    /// How much of the lab: `full`, or another of its profiles.
    pub profile: Profile,
    /// The profile's closed list: every image that is used, in the node or to make it.
    pub images: Vec<PlannedImage>,
    /// The kubectl context.
    pub context: String,
    /// One entry a step.
    pub steps: Vec<PlannedStep>,
    /// How long the whole may take, in seconds: steps that overlap count once.
    pub seconds: f64,
}

/// One image of the closed list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedImage {
    /// The lock's name of it, `image.calico-node`.
    pub entry: String,
    /// Its full reference.
    pub reference: String,
    /// What it is for.
    pub role: Role,
    /// SHA-256 of its config: what the node lists as its ID.
    pub id: Digest,
}

/// Plans an install; needs no cluster.
///
/// # Errors
/// When the lab is incomplete or its manifests cannot be used.
pub async fn run(context: &Context, target: Target, options: Options) -> miette::Result<Planned> {
    let lab_install = super::install::prepare(context, target, options).await?;
    of(&lab_install)
}

/// The plan of a prepared install.
///
/// # Errors
/// When the lab's manifests cannot be used.
pub(super) fn of(lab_install: &Install) -> miette::Result<Planned> {
    let steps = lab_install.plan()?;
    Ok(Planned {
        lab_id: lab_install.complete.lab_id().to_string(),
        profile: lab_install.complete.profile().clone(),
        images: images(lab_install),
        context: lab_install.target.context().to_owned(),
        seconds: duration(&steps),
        steps,
    })
}

/// By role and name: what the node itself is made of comes first.
fn images(install: &Install) -> Vec<PlannedImage> {
    let of_lock = lab_images::of_lock(install.complete.lock(), install.node).into_iter();
    let mut images: Vec<PlannedImage> = of_lock
        .map(|image| PlannedImage {
            entry: image.name,
            reference: image.image.reference,
            role: image.role,
            id: image.image.config.digest,
        })
        .collect();
    images.sort_by(|one, other| (one.role, &one.entry).cmp(&(other.role, &other.entry)));
    images
}

//! The install, step by step: each has a precondition, an action and a gate, and may be run again.
//!
//! ```text
//! preflight → cache → base-image → cluster → preload → calico → istio → policies → app → addons → receipt
//!             └──── only when ztlab makes the cluster ────┘
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | [`graph`] | the steps, their order, which of them a target needs |
//! | [`objects`] | the lab's manifests as objects, checked against the lock before any pod starts |
//! | [`images`] | which locked image goes where |
//! | [`setup`] | what an install is given: the lab, the target, the choices |
//! | [`run`] | runs the steps |
//! | [`report`] | what they did |
//! | [`preflight`] … [`receipt`] | one file a step |
//! | [`delivery`], [`share_out`] | images into a runtime, without what it has; in two streams |
//! | [`edit`] | an app's image that is not the locked one, into the running lab |
//!
//! A step that finds its work done changes nothing and says so: a second install is how a student checks.

mod addons;
mod app;
mod base_image;
mod cache;
mod calico;
mod cluster;
mod delivery;
pub mod edit;
pub mod graph;
pub mod images;
mod istio;
pub mod objects;
mod plan;
mod policies;
mod preflight;
pub mod preload;
mod receipt;
pub mod report;
pub mod run;
pub mod setup;
mod share_out;
mod tool;
pub mod uninstall;

pub use graph::{Step, Target};
pub use receipt::Receipt;
pub use report::{PlannedStep, Report};
pub use run::{Install, InstallError};
pub use setup::{Options, Setup};

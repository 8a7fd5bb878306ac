//! The install, step by step: each has a precondition, an action and a gate, and may be run again.
//!
//! ```text
//! preflight ─┬─ blobs ──────────────────────┬─ preload ─┬─ images ─┬─ istio ─┬─ policies ─ app ─┬─ prune ─ receipt
//!            ├─ cache ──────┬─ cluster ─────┘           └─ calico ─┘         └─ addons ─────────┘
//!            └─ base-image ─┘   (only when ztlab makes the cluster)
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | [`graph`] | the steps, what comes before each, what it ends in, how it is taken back |
//! | [`engine`] | runs steps as early as the graph allows |
//! | [`journal`] | what was done, kept on disk |
//! | [`objects`] | the lab's manifests as objects, checked against the lock before any pod starts |
//! | [`trim`] | what a profile leaves out of them |
//! | [`images`] | which locked image goes where |
//! | [`setup`] | what an install is given: the lab, the target, the choices |
//! | [`run`] | what the steps work on: an install that connects once |
//! | [`report`] | what they did |
//! | [`preflight`] … [`receipt`] | one file a step |
//! | [`draft`] | what is known of the archives before there is a node |
//! | [`stale`] | pods that still run what was locked before |
//! | [`delivery`], [`share_out`] | images into a runtime, without what it has; in two streams |
//! | [`plan`], [`dry_run`] | what an install would do, and change |
//! | [`undo`] | takes steps back |
//! | [`egress`] | what tried to leave the machine during an offline install, and what left |
//! | [`edit`] | an app's image that is not the locked one, into the running lab |
//!
//! A step that finds its work done changes nothing and says so: a second install is how a student checks.

mod addons;
mod app;
mod base_image;
mod blobs;
mod cache;
mod calico;
mod cluster;
mod delivery;
pub mod draft;
pub mod dry_run;
pub mod edit;
pub mod egress;
pub mod engine;
pub mod graph;
pub mod images;
mod istio;
pub mod journal;
pub mod objects;
pub mod plan;
mod policies;
mod preflight;
pub mod preload;
mod prune;
mod quiet;
pub mod receipt;
pub mod report;
pub mod run;
pub mod setup;
mod share_out;
mod stale;
pub mod tool;
pub mod trim;
pub mod undo;

pub use graph::{Step, Target};
pub(crate) use preflight::smaller;
pub use receipt::Receipt;
pub use report::{PlannedStep, Report};
pub use run::{Install, InstallError};
pub use setup::{Options, POD_CIDR, Setup};

//! ztlab: a Zero Trust teaching lab, as reproducible as its lockfile.
//!
//! Data flows one way; each arrow takes the value that the arrow before it made:
//!
//! ```text
//! intent ─resolve→ lock ─check→ CheckedLock ─plan→ Plan ─fetch→ Complete
//! Complete ─place, start, preload→ Preloaded ─apply→ Applied ─wait→ Ready ─probe→ Verdict
//! ```
//!
//! Rooms, from the top down (a room uses only rooms below it; `tests/layers.rs` holds us to it):
//!
//! | room | what it does |
//! |---|---|
//! | [`cli`] | the only code that prints, reads the environment or asks the terminal |
//! | [`verb`] | one file a verb: glue only, returns an outcome value |
//! | [`review`] | judges locks: against the policy, against who asks for what, against each other; values in, findings out |
//! | [`step`] | the install graph: precondition, action, gate; who runs it again finds its work done |
//! | [`demand`] | what a lab will ask for, and who asks: Minikube, Calico's operator, Istio, manifests; data by version |
//! | [`image`] | OCI documents, archives for a runtime, the app's images as a pure function |
//! | [`resolve`] | version, tag or path → address, size, digest |
//! | [`serve`] | the store for a room: blobs, the OCI distribution API, a page; read-only, with limits |
//! | [`proof`] | is the lab what it claims? probes with evidence and positive controls |
//! | [`node`] | a node's runtime: what it has, take this stream, read back |
//! | [`machine`] | is this machine fit? what was seen, and what follows from it |
//! | [`cluster`] | talks to a cluster: Minikube, the API server, pods; knows no store and no lock |
//! | [`push`] | a lab into a registry of others: what goes where, in which order |
//! | [`fetch`] | the only sockets to the outside: scheduler, attempt, retry, mirrors; the offline switch |
//! | [`bundle`] | one portable file of a lab, written and read; ends in the same blobs as a fetch |
//! | [`plan`] | what is there, what is missing; [`plan::Complete`] |
//! | [`store`] | blobs under their digests, an OCI image layout |
//! | [`lockfile`] | text ↔ [`lockfile::Lock`]: parse, canonical write, check |
//! | [`intent`] | what a person asks for |
//! | [`base`] | digests, platforms, sizes, events: the words of every other room |

pub mod base;
pub mod bundle;
pub mod cli;
pub mod cluster;
pub mod demand;
pub mod fetch;
pub mod image;
pub mod intent;
pub mod lockfile;
pub mod machine;
pub mod node;
pub mod plan;
pub mod proof;
pub mod push;
pub mod resolve;
pub mod review;
pub mod serve;
pub mod step;
pub mod store;
pub mod verb;

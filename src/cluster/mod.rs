//! Talks to a cluster: Minikube, the API server, pods. Knows no store and no lock.
//!
//! | file | what it does |
//! |---|---|
//! | [`process`] | a child process: arguments, scrubbed environment, deadline, the end of its stderr |
//! | [`minikube`] | start, status, stop and delete of a profile; its events in our words |
//! | [`client`] | a connection to the API server that a kubeconfig names |
//! | [`kubeconfig`] | one context as a kubeconfig of its own |
//! | [`manifest`] | YAML text into objects, and the images that they ask for (pure) |
//! | [`apply`] | server-side apply and removal, with one field manager |
//! | [`difference`] | what an apply would change, field by field (pure) |
//! | [`ownership`] | whose an object is; removal of ours, and of nobody else's |
//! | [`wait`] | gates with a deadline, and why one did not open |
//! | [`facts`] | small questions to the API server |
//! | [`pulls`] | what the node tried to pull |
//! | [`refusal`] | the way out of an offline run's programs: none, and counted |
//! | [`exec`] | a command inside a pod |
//! | [`forward`] | a loopback port into a pod |

pub mod apply;
pub mod client;
pub mod difference;
pub mod exec;
pub mod facts;
pub mod forward;
pub mod kubeconfig;
pub mod manifest;
pub mod minikube;
pub mod ownership;
pub mod process;
pub mod pulls;
pub mod refusal;
pub mod wait;

//! One file a verb: glue between the rooms below. A verb takes the context and its request, returns an outcome
//! that can be serialized, and prints nothing.

pub mod build;
pub mod bundle;
pub mod dev;
pub mod doctor;
pub mod estimate;
pub mod fetch;
pub mod install;
pub mod lock;
pub mod open;
pub mod plan;
pub mod preload;
pub mod profile;
pub mod pull;
pub mod push;
pub mod receipt;
pub mod record;
pub mod sbom;
pub mod seat;
pub mod serve;
pub mod shell;
pub mod signature;
pub mod sources;
pub mod status;
pub mod store;
pub mod supply;
pub mod verify;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{base::Reporter, fetch::RetryPolicy};

/// What every verb works with. Made once, from arguments, environment and the user's configuration.
#[derive(Clone)]
pub struct Context {
    /// The lab's folder: it holds `lock/`, `manifests/`, `istio/`, `app/`.
    pub lab: PathBuf,
    /// The store's folder.
    pub store: PathBuf,
    /// Where installs keep their journals.
    pub journals: PathBuf,
    /// Whether sockets to the outside are forbidden.
    pub offline: bool,
    /// FROM → TO; the first that matches wins.
    pub mirrors: Vec<(String, String)>,
    /// Files with certificates to believe besides the platform's.
    pub ca_files: Vec<PathBuf>,
    /// How often and how long a server that fails is asked again.
    pub retry: RetryPolicy,
    /// The environment of this process: for registry credentials and for children, who get a scrubbed copy.
    pub environment: BTreeMap<String, String>,
    /// Who hears what happens.
    pub reporter: Arc<dyn Reporter>,
}

impl Context {
    /// `lock/ztlab.toml` of the lab.
    pub fn intent_path(&self) -> PathBuf {
        self.lab.join("lock/ztlab.toml")
    }

    /// `lock/ztlab.lock` of the lab.
    pub fn lock_path(&self) -> PathBuf {
        self.lab.join("lock/ztlab.lock")
    }
}

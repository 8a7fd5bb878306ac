//! Runs the steps of an install and tells what each did.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::OnceCell;

use super::{
    addons, app, base_image, cache, calico, cluster,
    graph::{Step, Target},
    images::{self, LabImage, Role},
    istio,
    objects::LabObjects,
    policies, preflight, preload, receipt,
};
use crate::{
    base::{Event, Platform, Reporter},
    cluster::{
        client::{ClientError, Cluster},
        process::Environment,
        wait::{self, Gate, WaitError},
    },
    plan::Complete,
};

/// The address range of pods: inside kubeadm's default and clear of Minikube's node network
/// 192.168.49.0/24 and Docker Desktop's 192.168.65.0/24, which 192.168.0.0/16 is not.
pub const POD_CIDR: &str = "10.244.0.0/16";

/// What a person can choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long each gate may take.
    pub timeout: Duration,
    /// Take over fields of other managers.
    pub force_conflicts: bool,
    /// Give children no way out.
    pub offline: bool,
    /// First step.
    pub from: Option<Step>,
    /// Last step.
    pub until: Option<Step>,
}

/// Everything that a step may use. Values only: where they come from is the caller's business.
pub struct Install {
    /// The lab's folder.
    pub lab: PathBuf,
    /// The locked lab, every blob at hand.
    pub complete: Complete,
    /// Where it goes.
    pub target: Target,
    /// The machine that runs ztlab.
    pub host: Platform,
    /// The node.
    pub node: Platform,
    /// The environment of children, without what could lead them astray.
    pub environment: Environment,
    /// Minikube's folder (`MINIKUBE_HOME` with `.minikube` in it).
    pub minikube_home: PathBuf,
    /// The kubeconfig; the default one when absent.
    pub kubeconfig: Option<PathBuf>,
    /// Choices.
    pub options: Options,
    /// Who hears what happens.
    pub reporter: Arc<dyn Reporter>,
    connection: OnceCell<Cluster>,
    objects: OnceCell<LabObjects>,
}

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

/// Why an install stopped. The step's own error carries code and help.
pub type InstallError = miette::Report;

impl Install {
    /// Prepares an install; nothing happens yet.
    #[expect(clippy::too_many_arguments, reason = "one value per fact, made once, by the verb")]
    pub fn new(
        lab: PathBuf,
        complete: Complete,
        target: Target,
        host: Platform,
        node: Platform,
        environment: Environment,
        minikube_home: PathBuf,
        kubeconfig: Option<PathBuf>,
        options: Options,
        reporter: Arc<dyn Reporter>,
    ) -> Self {
        Self {
            lab,
            complete,
            target,
            host,
            node,
            environment,
            minikube_home,
            kubeconfig,
            options,
            reporter,
            connection: OnceCell::new(),
            objects: OnceCell::new(),
        }
    }

    /// Runs the steps.
    ///
    /// # Errors
    /// The first step's that fails; the steps before it stay done, and the next run finds them so.
    pub async fn run(&self) -> Result<Report, InstallError> {
        let begun = Instant::now();
        let mut steps = Vec::new();
        for step in Step::between(&self.target, self.options.from, self.options.until) {
            let started = Instant::now();
            self.reporter.report(Event::StepStarted { step: step.name(), title: step.title().to_owned() });
            let done = self.step(step).await?;
            let seconds = started.elapsed().as_secs_f64();
            self.reporter.report(Event::StepFinished {
                step: step.name(),
                changed: done.changed,
                detail: done.detail.clone(),
                seconds,
            });
            steps.push(StepReport { step: step.name(), done, seconds });
        }
        Ok(Report {
            lab_id: self.complete.lock().lab_id().to_string(),
            context: self.target.context().to_owned(),
            steps,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    async fn step(&self, step: Step) -> Result<Done, InstallError> {
        match step {
            Step::Preflight => preflight::run(self).await,
            Step::Cache => cache::run(self).await,
            Step::BaseImage => base_image::run(self).await,
            Step::Cluster => cluster::run(self).await,
            Step::Preload => preload::run(self).await,
            Step::Calico => calico::run(self).await,
            Step::Istio => istio::run(self).await,
            Step::Policies => policies::run(self).await,
            Step::App => app::run(self).await,
            Step::Addons => addons::run(self).await,
            Step::Receipt => receipt::run(self).await,
        }
    }

    /// What a step would move and apply; asks no cluster.
    ///
    /// # Errors
    /// When the lab's manifests cannot be used.
    pub fn plan(&self, step: Step) -> Result<PlannedStep, super::objects::ObjectsError> {
        let objects = LabObjects::read(&self.lab, &self.complete)?;
        let images: Vec<_> = match step {
            Step::Cache => self.images_of(Role::Bootstrap),
            Step::BaseImage => self.images_of(Role::NodeBase),
            Step::Preload => preload::expected(self).into_iter().filter(|image| image.role == Role::Workload).collect(),
            _ => Vec::new(),
        };
        let objects = match step {
            Step::Calico => objects.operator.len() + objects.cluster.len(),
            Step::Policies => objects.policies.len(),
            Step::App => objects.app.len(),
            Step::Addons => objects.addons.len(),
            Step::Receipt => 1,
            _ => 0,
        };
        let blobs: BTreeMap<_, _> = images
            .iter()
            .flat_map(|image| image.image.layers.iter().chain([&image.image.config, &image.image.manifest]))
            .map(|blob| (blob.digest, blob.size))
            .collect();
        Ok(PlannedStep {
            step: step.name(),
            title: step.title(),
            objects,
            images: images.len(),
            bytes: blobs.values().sum(),
        })
    }

    fn images_of(&self, role: Role) -> Vec<LabImage> {
        images::of_lock(self.complete.lock(), self.node).into_iter().filter(|image| image.role == role).collect()
    }

    /// The connection to the cluster, made when first needed: before the step `cluster` there may be none.
    pub(super) async fn cluster(&self) -> Result<&Cluster, ClientError> {
        self.connection.get_or_try_init(|| Cluster::connect(self.kubeconfig.as_deref(), self.target.context())).await
    }

    /// The cluster, for probes.
    ///
    /// # Errors
    /// When the kubeconfig has no such context.
    pub async fn connect(&self) -> Result<&Cluster, ClientError> {
        self.cluster().await
    }

    /// The node's runtime, for probes.
    ///
    /// # Errors
    /// When the cluster does not answer or has a runtime that ztlab does not know.
    pub async fn connect_node(&self) -> Result<crate::node::Node, InstallError> {
        preload::connect(self).await
    }

    /// The lab's objects, read and checked once.
    pub(super) async fn objects(&self) -> Result<&LabObjects, super::objects::ObjectsError> {
        self.objects.get_or_try_init(|| async { LabObjects::read(&self.lab, &self.complete) }).await
    }

    /// The environment of a child that talks to the cluster at `host`.
    pub(super) fn child_environment(&self, host: &str) -> Environment {
        if self.options.offline { self.environment.clone().offline([host]) } else { self.environment.clone() }
    }

    /// Says what a step is waiting for.
    pub(super) fn waiting(&self, step: Step) -> impl Fn(String) + Send + Sync + '_ {
        move |on| self.reporter.report(Event::StepWaiting { step: step.name(), on })
    }

    /// Waits for gates on behalf of a step.
    pub(super) async fn wait(&self, step: Step, gates: &[Gate]) -> Result<(), InstallError> {
        let client = &self.cluster().await?.client;
        wait::wait_for(client, gates, self.options.timeout, &self.waiting(step)).await.map_err(WaitError::into)
    }

    /// Applies objects on behalf of a step; the number of objects that changed.
    pub(super) async fn apply(&self, step: Step, objects: &[kube::api::DynamicObject]) -> Result<Counts, InstallError> {
        use crate::cluster::apply::{ApplyOptions, Change, apply};
        let client = &self.cluster().await?.client;
        let options = ApplyOptions {
            force: self.options.force_conflicts,
            deadline: self.options.timeout,
            ..ApplyOptions::default()
        };
        let applied = apply(client, objects, options, &self.waiting(step)).await?;
        let mut counts = Counts { objects: applied.len(), changed: Vec::new() };
        counts.changed.extend(applied.into_iter().filter(|one| one.change != Change::Unchanged).map(|one| one.object));
        Ok(counts)
    }
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

/// Versions of the lock by name, for the steps that need one.
pub(super) fn version<'lock>(
    versions: &'lock BTreeMap<String, String>,
    name: &'static str,
) -> Result<&'lock str, MissingEntry> {
    versions.get(name).map(String::as_str).ok_or(MissingEntry { entry: "version", name })
}

/// The lock lacks something that an install needs. Other verbs do not: a lock of two images is a lab too.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("an install needs `{entry}.{name}`, and the lock has none")]
#[diagnostic(code("lock::lacks"), help("add [{entry}.{name}] to lock/ztlab.toml, then `ztlab lock` and `ztlab fetch`"))]
pub struct MissingEntry {
    pub(super) entry: &'static str,
    pub(super) name: &'static str,
}

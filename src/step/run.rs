//! Runs the steps of an install and tells what each did.

use std::{ops::Deref, path::Path, time::Instant};

use tokio::sync::OnceCell;

use jiff::Timestamp;

use super::{
    addons, app, base_image, blobs, cache, calico, cluster,
    draft::Drafts,
    engine::{self, World},
    graph::{Step, Target},
    istio,
    journal::{self, Journal, JournalError, Unfinished},
    objects::LabObjects,
    policies, preflight,
    preload::{self, Share},
    prune, receipt,
    report::{Counts, Done, Report},
    setup::Setup,
    undo::{self, Removed, Undone},
};
use crate::{
    base::Event,
    cluster::{
        client::{ClientError, Cluster},
        facts::GLANCE,
        process::{Environment, Ledger},
        wait::{self, Gate, WaitError},
    },
    store::StoreError,
};

/// Why an install stopped. The step's own error carries code and help.
pub type InstallError = miette::Report;

/// An install that can run: its setup, and what it learns once on the way.
pub struct Install {
    setup: Setup,
    connection: OnceCell<Cluster>,
    objects: OnceCell<LabObjects>,
    drafts: OnceCell<Drafts>,
}

impl Deref for Install {
    type Target = Setup;

    fn deref(&self) -> &Setup {
        &self.setup
    }
}

impl World for Install {
    async fn perform(&self, step: Step) -> Result<Done, InstallError> {
        match step {
            Step::Preflight => preflight::run(self).await,
            Step::Blobs => blobs::run(self).await,
            Step::Cache => cache::run(self).await,
            Step::BaseImage => base_image::run(self).await,
            Step::Cluster => cluster::run(self).await,
            Step::Preload => preload::run(self, Share::Network).await,
            Step::Images => preload::run(self, Share::Rest).await,
            Step::Calico => calico::run(self).await,
            Step::Istio => istio::run(self).await,
            Step::Policies => policies::run(self).await,
            Step::App => app::run(self).await,
            Step::Addons => addons::run(self).await,
            Step::Prune => prune::run(self).await,
            Step::Receipt => receipt::run(self).await,
        }
    }

    async fn undo(&self, step: Step) -> Result<Undone, InstallError> {
        undo::undo(self, step).await
    }
}

/// What a run says that goes on with an earlier one.
fn resumed(left: &Unfinished) -> String {
    let names = |steps: &[Step]| steps.iter().map(|step| step.name()).collect::<Vec<_>>().join(", ");
    let minutes = Timestamp::now().duration_since(left.begun).as_mins().max(0);
    let mut text = format!("going on with the run of {minutes} minutes ago, which did not come to its end");
    for (what, steps) in [("done", &left.done), ("under way", &left.under_way), ("failed", &left.failed)] {
        if !steps.is_empty() {
            text.push_str(&format!("; {what}: {}", names(steps)));
        }
    }
    text.push_str(". Every step is looked at again");
    text
}

/// What journals of a target are kept under: clusters of different kubeconfigs may have contexts of the same name.
pub fn journal_key(target: &Target, kubeconfig: Option<&Path>) -> String {
    match (target, kubeconfig) {
        (Target::Existing { .. }, Some(path)) => format!("{} of {}", target.key(), path.display()),
        _ => target.key(),
    }
}

impl Install {
    /// Prepares an install; nothing happens yet.
    pub fn new(setup: Setup) -> Self {
        Self { setup, connection: OnceCell::new(), objects: OnceCell::new(), drafts: OnceCell::new() }
    }

    /// Runs the steps, goes on where an earlier run stopped, and says so.
    ///
    /// # Errors
    /// The first step's that fails; the steps before it stay done, and the next run finds them so.
    pub async fn run(&self) -> Result<Report, InstallError> {
        let begun = Instant::now();
        let journal = self.journal()?;
        self.end_leftovers().await?;
        self.meet(&journal).await;
        if let Some(left) = journal.unfinished() {
            self.reporter.report(Event::Note { text: resumed(&left) });
        }
        let selected = Step::between(&self.target, self.options.from, self.options.until);
        self.kept(journal.keep_profile(Some(&self.complete.profile().name)));
        let steps = engine::install(self, &selected, &journal, self.reporter.as_ref()).await?;
        // A cluster that this run made did not answer before.
        self.meet(&journal).await;
        Ok(Report {
            lab_id: self.complete.lab_id().to_string(),
            profile: self.complete.profile().name.clone(),
            context: self.target.context().to_owned(),
            steps,
            seconds: begun.elapsed().as_secs_f64(),
            egress: None,
        })
    }

    /// Takes steps back down to one, which stays; with `None`, all of them.
    ///
    /// # Errors
    /// When the cluster refuses, or something stays.
    pub async fn reset(&self, to: Option<Step>) -> Result<Removed, InstallError> {
        let journal = self.journal()?;
        self.end_leftovers().await?;
        let steps = undo::order(&self.target, to);
        let Undone { removed, kept } = engine::reset(self, &steps, &journal, self.reporter.as_ref()).await?;
        if to.is_none() || steps.contains(&Step::Cluster) {
            self.kept(journal.keep_profile(None));
        }
        Ok(Removed { context: self.target.context().to_owned(), removed, kept })
    }

    /// The journal of this lab in this target.
    fn journal(&self) -> Result<Journal, JournalError> {
        Journal::open(&self.journals, &self.journal_key(), &self.complete.lab_id().to_string())
    }

    /// Where programs are written down that would go on should this process be killed.
    pub(super) fn children(&self) -> Ledger {
        Ledger::new(journal::children(&self.journals, &self.journal_key()))
    }

    /// Ends what an earlier run started and nobody waits for any more: it would work against this one.
    async fn end_leftovers(&self) -> Result<(), InstallError> {
        for text in self.children().end_leftovers().await? {
            self.reporter.report(Event::Note { text });
        }
        Ok(())
    }

    /// Lets the journal know which cluster this is, as far as it answers.
    async fn meet(&self, journal: &Journal) {
        let Ok(cluster) = self.cluster().await else { return };
        if let Ok(Ok(Some(identity))) = tokio::time::timeout(GLANCE, cluster.identity()).await {
            self.kept(journal.meet(&identity));
        }
    }

    /// A journal that cannot be written costs a run nothing but its memory.
    fn kept(&self, written: std::io::Result<()>) {
        if let Err(error) = written {
            tracing::warn!(%error, "the journal does not know the profile");
        }
    }

    /// What journals are kept under.
    pub(super) fn journal_key(&self) -> String {
        journal_key(&self.target, self.kubeconfig.as_deref())
    }

    /// MiB of memory for a node that Minikube makes: as a person said, else as the profile asks.
    pub(super) fn memory(&self) -> u32 {
        match &self.target {
            Target::Minikube { memory: Some(memory), .. } => *memory,
            _ => self.complete.profile().memory,
        }
    }

    /// CPUs for it, likewise.
    pub(super) fn cpus(&self) -> u32 {
        match &self.target {
            Target::Minikube { cpus: Some(cpus), .. } => *cpus,
            _ => self.complete.profile().cpus,
        }
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

    /// The drafts of the archives for the node, made once: by the step `blobs` while the cluster starts.
    pub(super) async fn drafts(&self) -> Result<&Drafts, StoreError> {
        let read = || async {
            let (images, platform, blobs) = (preload::expected(self), self.node, self.complete.clone());
            let drafts = move || Drafts::of(images.iter().map(|image| &image.image), platform, &blobs);
            let read = tokio::task::spawn_blocking(drafts).await;
            Ok(read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?)
        };
        self.drafts.get_or_try_init(read).await
    }

    /// The environment of a child that talks to the cluster at `host`.
    pub(super) fn child_environment(&self, host: &str) -> Environment {
        self.environment.clone().exempting(host)
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

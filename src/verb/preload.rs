//! `preload`: the lab's images into a node, without the rest of an install and without asking a cluster.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use super::{
    Context,
    install::{children, complete, node_platform},
    lock::refuse_unknown,
    profile::choose,
};
use crate::{
    base::Event,
    intent::profile::FULL,
    lockfile,
    node::{Node, NodeAddress, Runtime},
    plan::is_selected,
    step::{
        Step, Target,
        draft::Drafts,
        images::{self, LabImage, Role},
        preload,
    },
};

/// What a person asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where the images go.
    pub node: NodeAddress,
    /// Whether Kubernetes' own images go there too: a node that ztlab makes needs them.
    pub bootstrap: bool,
    /// How much of the lab, by a profile's name; what is there, or everything, when absent.
    pub profile: Option<String>,
    /// The cluster that the node is of, where it is one that ztlab makes.
    pub cluster: Option<String>,
    /// Only these images; all that pods of the lab run when empty.
    pub only: Vec<String>,
}

/// What was found and moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Identity of the lab.
    pub lab_id: String,
    /// The node's address.
    pub node: String,
    /// `docker` or `containerd`.
    pub runtime: &'static str,
    /// Image ID by reference, as the node reports it.
    pub images: BTreeMap<String, String>,
    /// References of the images that had to be brought.
    pub loaded: Vec<String>,
    /// Bytes that went to the node.
    pub sent: u64,
    /// Bytes of layers of the brought images that the node had already.
    pub left_out: u64,
    /// Streams that were sent again in full, because the node had thrown away what it had listed.
    pub resent: usize,
    /// The whole time, from the question what is there to the last image that was read back.
    pub seconds: f64,
}

/// Brings what is missing and reads everything back.
///
/// # Errors
/// When the lab is incomplete or not for this machine, when the node cannot be reached, or when it does not have the
/// locked images afterwards.
pub async fn run(context: &Context, request: &Request) -> miette::Result<Outcome> {
    let lock = lockfile::read(&context.lock_path())?;
    let profile = match (&request.cluster, request.profile.as_deref()) {
        (Some(cluster), asked) => {
            let target = Target::Minikube { cluster: cluster.clone(), memory: None, cpus: None };
            choose(context, &target, &lock, asked).await?.profile
        }
        (None, asked) => lock.profile(asked.unwrap_or(FULL))?,
    };
    let complete = complete(context, &lock, profile)?;
    refuse_unknown(complete.lock(), &request.only)?;
    let platform = node_platform(complete.lock())?;
    let images = wanted(images::of_lock(complete.lock(), platform), request);
    let begun = Instant::now();
    let node = Node::find(&request.node, &children(context)).await?;
    let said = |on: String| context.reporter.report(Event::StepWaiting { step: Step::Preload.name(), on });
    let loaded =
        preload::fill(&node, &images, &complete, platform, &context.reporter, Drafts::default(), &said).await?;
    Ok(Outcome {
        lab_id: complete.lab_id().to_string(),
        node: node.to_string(),
        runtime: match node.runtime() {
            Runtime::Docker => "docker",
            Runtime::Containerd => "containerd",
        },
        images: loaded.images,
        loaded: loaded.loaded,
        sent: loaded.sent,
        left_out: loaded.left_out,
        resent: loaded.resent,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Named images go there whatever their role.
fn wanted(mut images: Vec<LabImage>, request: &Request) -> Vec<LabImage> {
    images.retain(|image| match request.only.is_empty() {
        true => image.role == Role::Workload || (request.bootstrap && image.role == Role::Bootstrap),
        false => is_selected(&image.name, &request.only),
    });
    images
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::Descriptor, image::archive::ArchiveImage};

    #[test]
    fn who_names_images_gets_those_and_who_does_not_gets_what_pods_run() {
        let image = |name: &str, role| {
            let one = Descriptor::of(name.as_bytes());
            let image =
                ArchiveImage { reference: name.to_owned(), manifest: one, config: one, layers: vec![], pinned: None };
            LabImage { name: name.to_owned(), role, image }
        };
        let all = vec![
            image("image.kicbase", Role::NodeBase),
            image("image.pause", Role::Bootstrap),
            image("image.python", Role::BuildBase),
            image("app.backend", Role::Workload),
        ];
        let names = |bootstrap, only: &[&str]| {
            let only = only.iter().map(|name| (*name).to_owned()).collect();
            let node = "docker:n".parse().unwrap();
            let request = Request { node, bootstrap, profile: None, cluster: None, only };
            wanted(all.clone(), &request).into_iter().map(|image| image.name).collect::<Vec<_>>()
        };
        assert_eq!(names(false, &[]), ["app.backend"]);
        assert_eq!(names(true, &[]), ["image.pause", "app.backend"]);
        assert_eq!(names(false, &["python"]), ["image.python"]);
    }
}

//! What a lab will ask for when it is installed, and who asks.
//!
//! A cluster asks for more images than its manifests name: Minikube brings kubeadm's, Calico's operator makes
//! workloads of its own, Istio injects a container into every pod. Which ones, by version, is data here, each row with
//! the upstream line that it was read from. A version without a row is unknown, and is said to be: guessing would let
//! a lock pass that fails in front of a class.
//!
//! | file | who asks |
//! |---|---|
//! | [`minikube`] | Minikube and kubeadm: programs, the node's image, the control plane |
//! | [`calico`] | Calico's operator |
//! | [`istio`] | istioctl's charts, and the injection into pods |
//! | [`manifests`] | YAML: the lab's and upstream's |
//! | [`record`] | what a cluster really asked for |
//! | [`files`] | upstream's YAML that is known by its SHA-256, so that nobody has to read it |

pub mod calico;
pub mod files;
pub mod istio;
pub mod manifests;
pub mod minikube;
pub mod record;

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde::Serialize;

use crate::base::Digest;

/// The repository that `ztlab verify` takes its callers from, with any tag that is locked.
pub const PROBER: &str = "docker.io/curlimages/curl";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// An image by its full reference.
    Image(String),
    /// Any tag of this repository.
    Repository(String),
    /// A program by the lock's name of it, in this version.
    Program {
        /// `kubelet`
        name: String,
        /// `1.28.3`
        version: String,
    },
}

/// How an installed cluster shows that something was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shows {
    /// A pod that the lab brings has a container of it.
    Pod,
    /// A pod of the cluster itself does: of a cluster that was there before, it is the cluster's business.
    ClusterPod,
    /// Only the runtime's image list does: the container that holds a pod's namespaces is in no pod's text.
    Runtime,
    /// Not at all: it is used on the machine, or for a moment only.
    Nothing,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ask {
    /// What is asked for.
    pub wanted: Wanted,
    /// Who asks: `Calico's operator 1.32.3`, `manifests/06-loadtest.yaml`.
    pub who: String,
    /// Where: object and container, chart value, program.
    pub place: String,
    /// Where that is written; absent when `who` is the file itself.
    pub source: Option<String>,
    /// The install's step, or the verb, in which it is asked for.
    pub step: &'static str,
    /// What shows it afterwards.
    pub shows: Shows,
}

/// Somebody whose requests nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unknown {
    /// Who: `Minikube 1.40.0`.
    pub who: String,
    /// What of it is known instead.
    pub known: String,
}

/// One YAML text as objects.
#[derive(Debug, Clone, Copy)]
pub struct Source<'lab> {
    /// `manifests/06-loadtest.yaml`, or the lock's name of it.
    pub name: &'lab str,
    /// The step that applies it.
    pub step: &'static str,
    /// Its objects.
    pub objects: &'lab [DynamicObject],
}

/// What of a lab decides who will ask.
#[derive(Debug, Clone)]
pub struct Lab<'lab> {
    /// `[version]` of the lock.
    pub version: &'lab BTreeMap<String, String>,
    /// Whether the lab makes its own cluster: it has a `minikube`.
    pub minikube: bool,
    /// Whether the lab installs Istio: it has an `istioctl`.
    pub istio: bool,
    /// Whether Istio is installed without its egress gateway.
    pub no_egress_gateway: bool,
    /// Every YAML that was read.
    pub sources: &'lab [Source<'lab>],
    /// Locked YAML that was not read, with its digest where that is known.
    pub unread: &'lab [(String, Option<Digest>)],
}

/// Every request of a lab.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Demand {
    /// Sorted, no duplicates.
    pub asks: Vec<Ask>,
    /// Whose requests nobody knows.
    pub unknown: Vec<Unknown>,
    /// YAML that was not read and is not known by its digest either.
    pub unseen: Vec<String>,
    /// YAML that was not read and is known by its digest.
    pub by_digest: Vec<String>,
}

impl Demand {
    /// Everything that this lab will ask for.
    pub fn of(lab: &Lab<'_>) -> Self {
        let mut demand = Self::default();
        if lab.minikube {
            let version = |name: &str| lab.version.get(name).map_or("without a version", String::as_str);
            demand.take(minikube::asks(version("minikube"), version("kubernetes")));
        }
        for source in lab.sources {
            demand.asks.extend(manifests::asks(source));
        }
        for (name, digest) in lab.unread {
            match digest.as_ref().and_then(files::known) {
                Some(file) => {
                    demand.asks.extend(file.asks(name));
                    demand.by_digest.push(name.clone());
                }
                None => demand.unseen.push(name.clone()),
            }
        }
        for operator in calico::operators(&demand.asks) {
            demand.take(calico::asks(&operator, lab.sources));
        }
        if lab.istio {
            let version = lab.version.get("istio").map_or("without a version", String::as_str);
            demand.take(istio::asks(version, lab.sources, lab.no_egress_gateway));
        }
        demand.asks.sort();
        demand.asks.dedup();
        demand
    }

    fn take(&mut self, found: Result<Vec<Ask>, Unknown>) {
        match found {
            Ok(asks) => self.asks.extend(asks),
            Err(unknown) => self.unknown.push(unknown),
        }
    }
}

//! What Minikube asks for. Its image names are compiled in: kubeadm is not asked, so the tables here are Minikube's.

use super::{Ask, Shows, Unknown, Wanted};

/// Minikube's name of the node's image (kubernetes/minikube v1.32.0, `pkg/drivers/kic/types.go:32`).
pub const NODE_BASE: &str = "gcr.io/k8s-minikube/kicbase";

/// The lock's name of each program that Minikube copies into the node, and Minikube's (kubernetes/minikube v1.32.0,
/// `pkg/minikube/constants/constants.go:200`). A `kubectl` for the machine is another program.
pub const NODE_PROGRAMS: [(&str, &str); 3] =
    [("kubelet", "kubelet"), ("kubeadm", "kubeadm"), ("kubectl-node", "kubectl")];

/// One release of Minikube.
struct Release {
    version: &'static str,
    /// `pkg/drivers/kic/types.go:27`
    kicbase: &'static str,
    /// `Makefile:120`
    storage_provisioner: &'static str,
    /// `pkg/minikube/constants/constants_kubeadm_images.go:26`: Kubernetes, CoreDNS, etcd, pause.
    kubernetes: &'static [(&'static str, &'static str, &'static str, &'static str)],
}

/// Read from kubernetes/minikube at the tag of each version.
const RELEASES: [Release; 1] = [Release {
    version: "1.32.0",
    kicbase: "v0.0.42",
    storage_provisioner: "v5",
    kubernetes: &[
        ("1.28.3", "v1.10.1", "3.5.9-0", "3.9"),
        ("1.28.2", "v1.10.1", "3.5.9-0", "3.9"),
        ("1.28.1", "v1.10.1", "3.5.9-0", "3.9"),
        ("1.28.0", "v1.10.1", "3.5.9-0", "3.9"),
    ],
}];

/// A part of the control plane: repository, where its pod is, where Minikube names it.
type Part = (&'static str, &'static str, &'static str);

/// Kubernetes' own, with Kubernetes' version as tag.
const COMPONENTS: [Part; 4] = [
    ("registry.k8s.io/kube-apiserver", "static pod kube-system/kube-apiserver", "images.go:51"),
    ("registry.k8s.io/kube-controller-manager", "static pod kube-system/kube-controller-manager", "images.go:52"),
    ("registry.k8s.io/kube-scheduler", "static pod kube-system/kube-scheduler", "images.go:53"),
    ("registry.k8s.io/kube-proxy", "DaemonSet kube-system/kube-proxy", "images.go:54"),
];
const COREDNS: Part = ("registry.k8s.io/coredns/coredns", "Deployment kube-system/coredns", "images.go:114-130");
const ETCD: Part = ("registry.k8s.io/etcd", "static pod kube-system/etcd", "images.go:133-141");
const PAUSE: Part = ("registry.k8s.io/pause", "the container that holds each pod's namespaces", "images.go:36-45");
const STORAGE: Part =
    ("gcr.io/k8s-minikube/storage-provisioner", "Pod kube-system/storage-provisioner", "images.go:164-175");

/// Whether kubeadm or Minikube starts images of this repository: they go into Minikube's cache.
pub fn is_bootstrap(repository: &str) -> bool {
    COMPONENTS.iter().chain([&COREDNS, &ETCD, &PAUSE, &STORAGE]).any(|(known, ..)| *known == repository)
}

/// What this Minikube asks for to start this Kubernetes with the docker driver.
///
/// # Errors
/// When nobody has read what this pair asks for.
pub fn asks(minikube: &str, kubernetes: &str) -> Result<Vec<Ask>, Unknown> {
    let unknown = |who: String, known: Vec<&str>| Unknown { who, known: known.join(", ") };
    let Some(release) = RELEASES.iter().find(|release| release.version == minikube) else {
        let known = RELEASES.iter().map(|release| release.version).collect();
        return Err(unknown(format!("Minikube {minikube}"), known));
    };
    let Some((_, coredns, etcd, pause)) = release.kubernetes.iter().find(|(version, ..)| *version == kubernetes) else {
        let known = release.kubernetes.iter().map(|(version, ..)| *version).collect();
        return Err(unknown(format!("Kubernetes {kubernetes} under Minikube {minikube}"), known));
    };
    let who = format!("Minikube {minikube}");
    let tag = format!("kubernetes/minikube v{minikube}");
    let image = |(repository, place, lines): Part, version: &str, shows| Ask {
        wanted: Wanted::Image(format!("{repository}:{version}")),
        who: who.clone(),
        place: place.to_owned(),
        source: Some(format!("{tag}, pkg/minikube/bootstrapper/images/{lines}")),
        step: "cluster",
        shows,
    };
    let kubernetes_tag = format!("v{kubernetes}");
    let mut asks: Vec<Ask> =
        COMPONENTS.into_iter().map(|part| image(part, &kubernetes_tag, Shows::ClusterPod)).collect();
    asks.extend([
        image(COREDNS, coredns, Shows::ClusterPod),
        image(ETCD, etcd, Shows::ClusterPod),
        image(PAUSE, pause, Shows::Runtime),
        image(STORAGE, release.storage_provisioner, Shows::ClusterPod),
        Ask {
            wanted: Wanted::Image(format!("{NODE_BASE}:{}", release.kicbase)),
            who: who.clone(),
            place: "the container that is the node".to_owned(),
            source: Some(format!("{tag}, pkg/drivers/kic/types.go:27-39")),
            step: "cluster",
            shows: Shows::Nothing,
        },
    ]);
    asks.extend(NODE_PROGRAMS.into_iter().map(|(name, program)| Ask {
        wanted: Wanted::Program { name: name.to_owned(), version: kubernetes.to_owned() },
        who: who.clone(),
        place: format!("{program} in the node"),
        source: Some(format!("{tag}, pkg/minikube/constants/constants.go:200")),
        step: "cluster",
        shows: Shows::Nothing,
    }));
    asks.push(Ask {
        wanted: Wanted::Program { name: "minikube".to_owned(), version: minikube.to_owned() },
        who: "ztlab install".to_owned(),
        place: "minikube start".to_owned(),
        source: None,
        step: "cluster",
        shows: Shows::Nothing,
    });
    Ok(asks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eight_of_kubeadm_the_node_and_four_programs() {
        let asks = asks("1.32.0", "1.28.3").unwrap();
        let image = |ask: &Ask| match &ask.wanted {
            Wanted::Image(image) => Some(image.clone()),
            _ => None,
        };
        let mut images: Vec<String> = asks.iter().filter_map(image).collect();
        images.sort_unstable();
        assert_eq!(
            images,
            [
                "gcr.io/k8s-minikube/kicbase:v0.0.42",
                "gcr.io/k8s-minikube/storage-provisioner:v5",
                "registry.k8s.io/coredns/coredns:v1.10.1",
                "registry.k8s.io/etcd:3.5.9-0",
                "registry.k8s.io/kube-apiserver:v1.28.3",
                "registry.k8s.io/kube-controller-manager:v1.28.3",
                "registry.k8s.io/kube-proxy:v1.28.3",
                "registry.k8s.io/kube-scheduler:v1.28.3",
                "registry.k8s.io/pause:3.9",
            ]
        );
        assert_eq!(asks.len() - images.len(), 4);
        for image in images.iter().filter(|image| !image.starts_with(NODE_BASE)) {
            assert!(is_bootstrap(image.rsplit_once(':').unwrap().0), "{image}");
        }
    }

    #[test]
    fn what_nobody_has_read_is_unknown() {
        assert_eq!(asks("1.40.0", "1.28.3").unwrap_err().who, "Minikube 1.40.0");
        let unknown = asks("1.32.0", "1.31.0").unwrap_err();
        assert_eq!(unknown.who, "Kubernetes 1.31.0 under Minikube 1.32.0");
        assert_eq!(unknown.known, "1.28.3, 1.28.2, 1.28.1, 1.28.0");
    }
}

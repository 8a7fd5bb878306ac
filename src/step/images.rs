//! Which locked image goes where.

use crate::{
    base::{Descriptor, Platform, normalize_reference},
    demand::minikube::{NODE_BASE, is_bootstrap},
    image::archive::ArchiveImage,
    lockfile::Lock,
};

/// What an image is to the install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The node itself: into the host's Docker.
    NodeBase,
    /// What kubeadm starts: into Minikube's cache.
    Bootstrap,
    /// What pods of the lab run: into the node.
    Workload,
    /// A base that only `ztlab` builds upon: nowhere.
    BuildBase,
}

/// An image of the lab and its role.
#[derive(Debug, Clone)]
pub struct LabImage {
    /// The lock's name of it, `image.pause`.
    pub name: String,
    /// Where it goes.
    pub role: Role,
    /// Its digests.
    pub image: ArchiveImage,
}

/// Every image of the lock for one platform, with its role.
pub fn of_lock(lock: &Lock, platform: Platform) -> Vec<LabImage> {
    let bases: Vec<&str> = lock.app.values().map(|app| app.request.base.as_str()).collect();
    lock.images_for(platform)
        .into_iter()
        .map(|(name, reference, pin)| LabImage {
            role: role(&name, reference, &bases),
            image: ArchiveImage {
                reference: normalize_reference(reference),
                manifest: pin.manifest,
                config: pin.config,
                layers: pin.layers.clone(),
                pinned: pinned(lock, &name, pin.manifest),
            },
            name,
        })
        .collect()
}

/// What upstream's name with a digest means, of an image that upstream has.
fn pinned(lock: &Lock, entry: &str, manifest: Descriptor) -> Option<Descriptor> {
    let image = lock.image.get(entry.strip_prefix("image.")?)?;
    Some(image.index.and_then(|index| index.complete()).unwrap_or(manifest))
}

/// What an image or app of the lock is to the install; `None` for other entries.
pub fn role_of(lock: &Lock, entry: &str) -> Option<Role> {
    let (kind, name) = entry.split_once('.')?;
    let reference = match kind {
        "image" => &lock.image.get(name)?.want,
        "app" => &lock.app.get(name)?.request.reference,
        _ => return None,
    };
    let bases: Vec<&str> = lock.app.values().map(|app| app.request.base.as_str()).collect();
    Some(role(entry, reference, &bases))
}

fn role(name: &str, reference: &str, bases: &[&str]) -> Role {
    let repository = reference.rsplit_once(':').map_or(reference, |(repository, _)| repository);
    if repository == NODE_BASE {
        Role::NodeBase
    } else if is_bootstrap(repository) {
        Role::Bootstrap
    } else if bases.contains(&name) {
        Role::BuildBase
    } else {
        Role::Workload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_from_repository_and_use() {
        let bases = ["image.python"];
        for (name, reference, expected) in [
            ("image.kicbase", "gcr.io/k8s-minikube/kicbase:v0.0.42", Role::NodeBase),
            ("image.coredns", "registry.k8s.io/coredns/coredns:v1.10.1", Role::Bootstrap),
            ("image.python", "docker.io/library/python:3.12.14-slim-bookworm", Role::BuildBase),
            ("image.calico-node", "docker.io/calico/node:v3.27.0", Role::Workload),
            ("app.backend", "docker.io/library/simple-backend:v1", Role::Workload),
        ] {
            assert_eq!(role(name, reference, &bases), expected, "{reference}");
        }
    }
}

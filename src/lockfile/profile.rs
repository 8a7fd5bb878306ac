//! The lock of a lab with less: which entries a profile needs, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Lock;
use crate::intent::{ProfileRequest, profile::FULL};

/// MiB of memory for Minikube's node, where a profile says nothing: Calico, Istio and the dashboards fit.
const DEFAULT_MEMORY: u32 = 6144;
/// CPUs for Minikube's node, where a profile says nothing.
const DEFAULT_CPUS: u32 = 4;

/// One profile of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// `full`, `small`
    pub name: String,
    /// MiB of memory for Minikube's node.
    pub memory: u32,
    /// CPUs for Minikube's node.
    pub cpus: u32,
    /// What is left out, as [`crate::intent::profile`] names it.
    pub without: BTreeSet<String>,
}

impl Default for Profile {
    /// The whole lab.
    fn default() -> Self {
        Self::new(FULL, &ProfileRequest::default())
    }
}

/// A profile that the lab does not have.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("this lab has no profile `{name}`: expected one of {}", .known.join(", "))]
#[diagnostic(
    code("usage::profile"),
    help(
        "a profile says how much of the lab is installed: {}; the name of the cluster that Minikube makes is another option: `--cluster {name}`",
        .known.iter().map(|name| format!("`--profile {name}`")).collect::<Vec<_>>().join(", ")
    )
)]
pub struct UnknownProfile {
    name: String,
    known: Vec<String>,
}

impl Profile {
    fn new(name: &str, request: &ProfileRequest) -> Self {
        Self {
            name: name.to_owned(),
            memory: request.memory.unwrap_or(DEFAULT_MEMORY),
            cpus: request.cpus.unwrap_or(DEFAULT_CPUS),
            without: request.without.iter().cloned().collect(),
        }
    }

    /// Whether it leaves nothing out.
    pub fn is_full(&self) -> bool {
        self.without.is_empty()
    }

    /// Whether it leaves this out: `image.kiali`, `file.istio.kiali`, `deployment.webapp.loadtest`, a part.
    pub fn leaves_out(&self, name: &str) -> bool {
        self.without.contains(name)
    }
}

impl Lock {
    /// A profile by its name. Every lab has `full`.
    ///
    /// # Errors
    /// [`UnknownProfile`], with the names that there are.
    pub fn profile(&self, name: &str) -> Result<Profile, UnknownProfile> {
        let profiles = self.profiles();
        let known = profiles.iter().map(|profile| profile.name.clone()).collect();
        let found = profiles.into_iter().find(|profile| profile.name == name);
        found.ok_or_else(|| UnknownProfile { name: name.to_owned(), known })
    }

    /// Every profile: `full`, then the others, the one that leaves out least first.
    pub fn profiles(&self) -> Vec<Profile> {
        let nothing = ProfileRequest::default();
        let full = Profile::new(FULL, self.profile.get(FULL).unwrap_or(&nothing));
        let others = self.profile.iter().filter(|(name, _)| *name != FULL);
        let mut profiles: Vec<Profile> = others.map(|(name, request)| Profile::new(name, request)).collect();
        profiles.sort_by_key(|profile| profile.without.len());
        profiles.insert(0, full);
        profiles
    }

    /// The profiles whose node takes less memory than this one's, the one that leaves out least first.
    pub fn smaller_than(&self, profile: &Profile) -> Vec<Profile> {
        self.profiles().into_iter().filter(|other| other.memory < profile.memory).collect()
    }

    /// This lock with no more than a profile needs. Its text is not the lab's, so it has no lab id worth showing.
    pub fn narrowed(&self, profile: &Profile) -> Self {
        let mut lock = self.clone();
        lock.image.retain(|name, _| !profile.leaves_out(&format!("image.{name}")));
        for (file, entry) in &mut lock.file {
            entry.member.retain(|member, _| !profile.leaves_out(&format!("file.{file}.{member}")));
        }
        lock
    }

    /// This lock with programs and files alone.
    pub fn without_images(&self) -> Self {
        Self { image: BTreeMap::new(), wheel: BTreeMap::new(), app: BTreeMap::new(), ..self.clone() }
    }

    /// The closed list of a profile: every image that it has, upstream's by their entries and the lab's own, in the
    /// lock's order.
    pub fn images_of(&self, profile: &Profile) -> Vec<(String, String)> {
        let lock = self.narrowed(profile);
        let pulled = lock.image.iter().map(|(name, entry)| (format!("image.{name}"), entry.want.clone()));
        let built = lock.app.iter().map(|(name, app)| (format!("app.{name}"), app.request.reference.clone()));
        pulled.chain(built).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::Intent;

    fn lab(profiles: &str) -> Lock {
        let text = format!(
            "schema = 1\nname = \"x\"\n\
             [file.istio]\nurl = \"https://x\"\nmember = {{ istioctl = \"bin/istioctl\", kiali = \"samples/kiali.yaml\" }}\n\
             [image.nginx]\nref = \"docker.io/library/nginx:1\"\n[image.kiali]\nref = \"quay.io/kiali/kiali:1\"\n{profiles}\n"
        );
        super::super::request(&Intent::parse(&text).unwrap()).unwrap()
    }

    #[test]
    fn every_lab_has_full_and_only_the_profiles_that_it_names_besides() {
        let lock = lab("");
        assert!(lock.profile("full").unwrap().is_full());
        let error = lock.profile("small").unwrap_err();
        assert_eq!(error.to_string(), "this lab has no profile `small`: expected one of full");
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("`--cluster small`"), "{help}");
    }

    #[test]
    fn sizes_are_the_profiles_own_or_the_usual_ones() {
        let lock = lab("[profile.small]\nmemory = 3072\n[profile.full]\ncpus = 6");
        let size = |name: &str| lock.profile(name).map(|profile| (profile.memory, profile.cpus)).unwrap();
        assert_eq!((size("small"), size("full")), ((3072, DEFAULT_CPUS), (DEFAULT_MEMORY, 6)));
    }

    #[test]
    fn a_narrowed_lock_has_what_is_not_left_out() {
        let lock = lab("[profile.small]\nwithout = [\"image.kiali\", \"file.istio.kiali\", \"istio.egress-gateway\"]");
        let small = lock.profile("small").unwrap();
        let images = |profile: &Profile| lock.images_of(profile).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(images(&small), ["image.nginx"]);
        assert_eq!(images(&Profile::default()), ["image.kiali", "image.nginx"]);
        let members: Vec<_> = lock.narrowed(&small).file["istio"].member.keys().cloned().collect();
        assert_eq!(members, ["istioctl"]);
        assert_eq!(lock.narrowed(&Profile::default()), lock);
    }
}

//! `[profile.NAME]`: the lab with less. Pure.
//!
//! `full` is everything, and every lab has it. Another profile names what an install leaves out; the images that stay are
//! its closed list. What can be left out:
//!
//! | name in `without` | what it is |
//! |---|---|
//! | `image.NAME` | an image of this lab |
//! | `file.FILE.MEMBER` | a member of an archive that would be applied as an add-on |
//! | `deployment.NAMESPACE.NAME` | a Deployment of the lab's own manifests |
//! | one of [`PARTS`] | a part of Calico or Istio that they can do without |
//!
//! Policies are no such thing: they are what the lab is about, and the same in every profile.

use serde::{Deserialize, Serialize};

use super::{AppRequest, Intent, IntentError, check::is_name};

/// The profile that leaves nothing out.
pub const FULL: &str = "full";

/// Calico's CSI driver: volumes over which a pod talks to its policy. Nothing in the lab mounts one.
pub const CSI_DRIVER: &str = "calico.csi-driver";
/// Calico's FlexVolume driver, the older way to the same end.
pub const FLEXVOL_DRIVER: &str = "calico.flexvol-driver";
/// Istio's egress gateway. No route of the lab leads through it.
pub const EGRESS_GATEWAY: &str = "istio.egress-gateway";
/// Every part that can be left out.
pub const PARTS: [&str; 3] = [CSI_DRIVER, FLEXVOL_DRIVER, EGRESS_GATEWAY];

/// Minikube refuses a node with less, in MiB (kubernetes/minikube v1.32.0, `cmd/minikube/cmd/start.go`, `minUsableMem`).
const LEAST_MEMORY: u32 = 1800;
/// Minikube refuses a control plane with fewer CPUs (the same file, `minimumCPUS`).
const LEAST_CPUS: u32 = 2;

/// `[profile.NAME]`. The lock repeats it, with `without` in the order of its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileRequest {
    /// MiB of memory for Minikube's node.
    pub memory: Option<u32>,
    /// CPUs for Minikube's node.
    pub cpus: Option<u32>,
    /// What is left out.
    #[serde(default)]
    pub without: Vec<String>,
}

/// What a name in `without` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut<'name> {
    /// An image by its name in the intent.
    Image(&'name str),
    /// `FILE.MEMBER`; both names may have dots in them.
    Member(&'name str),
    /// A Deployment.
    Deployment {
        /// Its namespace.
        namespace: &'name str,
        /// Its name.
        name: &'name str,
    },
    /// One of [`PARTS`].
    Part(&'name str),
}

impl<'name> LeftOut<'name> {
    /// Takes a name apart; `None` when it is of no kind that can be left out.
    pub fn of(name: &'name str) -> Option<Self> {
        if PARTS.contains(&name) {
            return Some(Self::Part(name));
        }
        match name.split_once('.')? {
            ("image", image) => Some(Self::Image(image)),
            ("file", member) => Some(Self::Member(member)),
            // No namespace has a dot in its name (RFC 1123 label), a Deployment may.
            ("deployment", place) => {
                place.split_once('.').map(|(namespace, name)| Self::Deployment { namespace, name })
            }
            _ => None,
        }
    }
}

impl Intent {
    pub(super) fn check_profiles(&self) -> Result<(), IntentError> {
        for (name, profile) in &self.profile {
            let entry = || format!("profile.{name}");
            let problem = |problem: String| Err(IntentError::Entry { entry: entry(), problem });
            // The name is an argument and, in the lock, a key.
            if !is_name(name) || name.contains('.') {
                return problem("a profile's name is made of lower-case letters, digits, `-` and `_`".to_owned());
            }
            if name == FULL && !profile.without.is_empty() {
                return problem("`full` leaves nothing out: give what has less another name".to_owned());
            }
            if let Some(memory) = profile.memory.filter(|memory| *memory < LEAST_MEMORY) {
                return problem(format!("Minikube starts no node with {memory} MiB: the least is {LEAST_MEMORY}"));
            }
            if let Some(cpus) = profile.cpus.filter(|cpus| *cpus < LEAST_CPUS) {
                return problem(format!("Minikube starts no node with {cpus} CPUs: the least is {LEAST_CPUS}"));
            }
            for (number, left) in profile.without.iter().enumerate() {
                if profile.without[..number].contains(left) {
                    return problem(format!("`{left}` is left out twice"));
                }
                if let Err(why) = self.can_be_left_out(left) {
                    return problem(why);
                }
            }
        }
        Ok(())
    }

    fn can_be_left_out(&self, left: &str) -> Result<(), String> {
        match LeftOut::of(left) {
            Some(LeftOut::Part(_) | LeftOut::Deployment { .. }) => Ok(()),
            Some(LeftOut::Image(image)) => {
                if !self.image.contains_key(image) {
                    return Err(format!("`{left}` is no [image] of this lab"));
                }
                let built = |(_, app): &(&String, &AppRequest)| app.base == left;
                match self.app.iter().find(built) {
                    Some((app, _)) => Err(format!("`{left}` cannot be left out: app.{app} is built on it")),
                    None => Ok(()),
                }
            }
            Some(LeftOut::Member(place)) => {
                let members = self.file.iter().flat_map(|(file, request)| {
                    request.member.iter().map(move |(member, path)| (format!("{file}.{member}"), path))
                });
                match members.into_iter().find(|(name, _)| name == place) {
                    None => Err(format!("`{left}` is no member of a [file] of this lab (write `file.FILE.MEMBER`)")),
                    Some((_, path)) if !path.ends_with(".yaml") => {
                        Err(format!("`{left}` cannot be left out: {path} is not applied, it is a program"))
                    }
                    Some(_) => Ok(()),
                }
            }
            None => Err(format!(
                "`{left}` is nothing that can be left out: expected `image.NAME`, `file.FILE.MEMBER`, \
                 `deployment.NAMESPACE.NAME`, or one of {}",
                PARTS.join(", ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(profile: &str) -> Result<Intent, String> {
        let text = format!(
            "schema = 1\nname = \"x\"\n\
             [file.istio]\nurl = \"https://x\"\nmember = {{ istioctl = \"bin/istioctl\", kiali = \"samples/kiali.yaml\" }}\n\
             [image.base]\nref = \"docker.io/library/base:1\"\n[image.kiali]\nref = \"quay.io/kiali/kiali:1\"\n\
             [app.a]\npath = \"app/a\"\nbase = \"image.base\"\nref = \"docker.io/library/a:1\"\ncommand = [\"a\"]\n{profile}\n"
        );
        Intent::parse(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_exists_can_be_left_out() {
        let intent = parsed(
            "[profile.small]\nmemory = 3072\ncpus = 2\nwithout = [\"image.kiali\", \"file.istio.kiali\", \
             \"deployment.webapp.loadtest\", \"istio.egress-gateway\"]\n[profile.full]\nmemory = 8192",
        )
        .unwrap();
        assert_eq!(intent.profile["small"].without.len(), 4);
        assert_eq!(intent.profile["full"].memory, Some(8192));
        assert_eq!(
            LeftOut::of("deployment.webapp.load.test"),
            Some(LeftOut::Deployment { namespace: "webapp", name: "load.test" })
        );
    }

    #[test]
    fn what_does_not_exist_or_must_stay_is_refused() {
        for (profile, expected) in [
            ("[profile.s]\nwithout = [\"image.grafana\"]", "`image.grafana` is no [image] of this lab"),
            ("[profile.s]\nwithout = [\"image.base\"]", "app.a is built on it"),
            ("[profile.s]\nwithout = [\"file.istio.grafana\"]", "is no member of a [file]"),
            ("[profile.s]\nwithout = [\"file.istio.istioctl\"]", "it is a program"),
            ("[profile.s]\nwithout = [\"policy.backend\"]", "is nothing that can be left out"),
            ("[profile.s]\nwithout = [\"calico.node\"]", "is nothing that can be left out"),
            ("[profile.s]\nwithout = [\"deployment.loadtest\"]", "is nothing that can be left out"),
            ("[profile.s]\nwithout = [\"image.kiali\", \"image.kiali\"]", "is left out twice"),
            ("[profile.s]\nmemory = 1024", "the least is 1800"),
            ("[profile.s]\ncpus = 1", "the least is 2"),
            ("[profile.full]\nwithout = [\"image.kiali\"]", "`full` leaves nothing out"),
            ("[profile.\"A\"]", "a profile's name is made of"),
            ("[profile.\"a.b\"]", "a profile's name is made of"),
            ("[profile.s]\nwith = []", "unknown field `with`"),
        ] {
            let error = parsed(profile).unwrap_err();
            assert!(error.contains(expected), "{profile}: {error}");
        }
    }
}

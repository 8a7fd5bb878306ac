//! The lab's manifests as objects, held against the lock before any pod starts.
//!
//! What must not happen offline: a container whose image the node lacks, or whose pull policy makes the
//! kubelet ask a registry at every start. Both are found here, by name, in text.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use kube::api::DynamicObject;

use super::trim::{trimmed, unknown};
use crate::{
    base::{Digest, normalize_reference},
    cluster::manifest::{self, ManifestError},
    demand::{self, Demand, Shows, Source, Wanted},
    intent::profile::EGRESS_GATEWAY,
    lockfile::{Lock, MemberPin, Profile},
    plan::{Complete, PlanError},
};

/// Every object that an install applies, by the step that applies it.
#[derive(Debug, Clone, Default)]
pub struct LabObjects {
    /// The operator with its definitions, from the lock.
    pub operator: Vec<DynamicObject>,
    /// What the operator is asked for: `manifests/cluster/`.
    pub cluster: Vec<DynamicObject>,
    /// Namespaces, accounts and every kind of policy.
    pub policies: Vec<DynamicObject>,
    /// Everything else of `manifests/` and `istio/`.
    pub app: Vec<DynamicObject>,
    /// The dashboards, from the lock.
    pub addons: Vec<DynamicObject>,
}

/// Why the manifests cannot be installed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ObjectsError {
    /// Not YAML, or no objects.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Manifest(#[from] ManifestError),
    /// A locked file is not there.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Plan(#[from] PlanError),
    /// The file system says no.
    #[error("cannot read the lab's manifests")]
    #[diagnostic(code("lab::read"), help("look at the rights of the lab's folder, or name the lab: ztlab --lab DIR …"))]
    Read(#[from] std::io::Error),
    /// A locked file is not text.
    #[error("{name} of the lock is not UTF-8 text")]
    #[diagnostic(code("lab::text"), help("the address in lock/ztlab.toml names something else than YAML"))]
    NotText {
        /// The lock's entry.
        name: String,
    },
    /// A profile leaves out what the lab's files do not have.
    #[error("the profile {profile} leaves out {}, and no file of manifests/ has it", .unknown.join(", "))]
    #[diagnostic(
        code("lab::profile"),
        help("correct [profile.{profile}] in lock/ztlab.toml (`deployment.NAMESPACE.NAME`), then `ztlab lock`")
    )]
    Profile {
        /// The profile.
        profile: String,
        /// What it names.
        unknown: Vec<String>,
    },
    /// Containers that would ask a registry, or that the lock does not know.
    #[error("{} of the lab's manifests cannot run from the lock:\n{}", counted(.findings.len()), .findings.join("\n"))]
    #[diagnostic(
        code("policy::images"),
        help(
            "give each container a locked image with a fixed tag and `imagePullPolicy: IfNotPresent`; a new image goes into lock/ztlab.toml, then `ztlab lock`"
        )
    )]
    Unlocked {
        /// One line a container.
        findings: Vec<String>,
    },
}

fn counted(number: usize) -> String {
    if number == 1 { "1 container".to_owned() } else { format!("{number} containers") }
}

impl LabObjects {
    /// Reads everything and checks it.
    ///
    /// # Errors
    /// See [`ObjectsError`]; all bad containers are named at once.
    pub fn read(lab: &Path, complete: &Complete) -> Result<Self, ObjectsError> {
        let mut objects = Self::default();
        let mut findings = Vec::new();
        let locked = locked_references(complete.lock());
        for name in complete.lock().manifest.keys() {
            let Some(descriptor) = complete.lock().manifest[name].expected().complete() else { continue };
            let parsed = manifest::parse(&format!("manifest.{name}"), &text(complete, descriptor, name)?)?;
            objects.operator.extend(parsed);
        }
        for (file, entry) in &complete.lock().file {
            for (member, pin) in entry.member.iter().filter(|(_, pin)| is_addon(pin)) {
                let Some(descriptor) = pin.expected().complete() else { continue };
                let name = format!("file.{file} member {member}");
                for mut object in manifest::parse(&name, &text(complete, descriptor, &name)?)? {
                    // Kiali's upstream file says Always, which fails at every start without a network
                    // (istio 1.20.0, samples/addons/kiali.yaml:474). The bytes stay upstream's; the object is ours.
                    manifest::set_pull_policy(&mut object, "IfNotPresent");
                    super::quiet::silence(&mut object);
                    objects.addons.push(object);
                }
            }
        }
        let profile = complete.profile();
        let own = own_objects(lab)?;
        refuse_unknown(own.iter().flat_map(|(_, objects)| objects), profile)?;
        for (path, parsed) in own {
            let name = path.strip_prefix(lab).unwrap_or(&path).display().to_string();
            for object in trimmed(parsed, profile) {
                findings.extend(problems(&name, &object, &locked));
                if path.starts_with(lab.join("manifests/cluster")) {
                    objects.cluster.push(object);
                } else if is_policy(&object) {
                    objects.policies.push(object);
                } else {
                    objects.app.push(object);
                }
            }
        }
        for object in objects.operator.iter().chain(&objects.addons) {
            findings.extend(problems("the lock's own manifests", object, &locked));
        }
        findings.extend(objects.unlocked(complete.lock(), profile, &locked, |shows| shows == Shows::Pod));
        if findings.is_empty() { Ok(objects) } else { Err(ObjectsError::Unlocked { findings }) }
    }
}

impl LabObjects {
    /// What the cluster will ask for besides the manifests' own images, and the lock does not have: what Calico's
    /// operator makes, what Istio injects, what kubeadm starts. One line each. Of a version that nobody has read
    /// nothing is known, and nothing refused: `ztlab lock audit` says so.
    pub(super) fn unlocked(
        &self,
        lock: &Lock,
        profile: &Profile,
        locked: &BTreeSet<String>,
        concerns: impl Fn(Shows) -> bool,
    ) -> Vec<String> {
        let sources = [
            Source { name: "the lock's own manifests", step: "calico", objects: &self.operator },
            Source { name: "manifests/cluster", step: "calico", objects: &self.cluster },
            Source { name: "manifests and istio", step: "policies", objects: &self.policies },
            Source { name: "manifests and istio", step: "app", objects: &self.app },
            Source { name: "the add-ons", step: "addons", objects: &self.addons },
        ];
        let mut lines = Vec::new();
        for ask in demand(lock, profile, &sources, &[]).asks {
            // Containers of the manifests themselves are looked at where their file is known.
            if let (Wanted::Image(image), Some(_), true) = (&ask.wanted, &ask.source, concerns(ask.shows))
                && !locked.contains(image)
            {
                lines.push(format!("  {}: {}: the lock has no image {image}", ask.who, ask.place));
            }
        }
        lines
    }
}

/// Every request that this lock's lab will make, as far as these texts say it. Lock and texts are the profile's.
pub fn demand(lock: &Lock, profile: &Profile, sources: &[Source<'_>], unread: &[(String, Option<Digest>)]) -> Demand {
    Demand::of(&demand::Lab {
        version: &lock.version,
        minikube: lock.tool.contains_key("minikube"),
        istio: lock.tool.contains_key("istioctl")
            || lock.file.values().any(|file| file.member.contains_key("istioctl")),
        no_egress_gateway: profile.leaves_out(EGRESS_GATEWAY),
        sources,
        unread,
    })
}

/// The lab's own files with their objects.
fn own_objects(lab: &Path) -> Result<Vec<(PathBuf, Vec<DynamicObject>)>, ObjectsError> {
    let parsed = own_yaml(lab)?.into_iter().map(|path| {
        let name = path.strip_prefix(lab).unwrap_or(&path).display().to_string();
        let objects = manifest::parse(&name, &fs_err::read_to_string(&path)?)?;
        Ok((path, objects))
    });
    parsed.collect()
}

/// Whether a profile leaves out what is not there.
///
/// # Errors
/// [`ObjectsError::Profile`], naming it.
pub fn refuse_unknown<'lab>(
    objects: impl Iterator<Item = &'lab DynamicObject>,
    profile: &Profile,
) -> Result<(), ObjectsError> {
    let unknown = unknown(objects, profile);
    if unknown.is_empty() {
        return Ok(());
    }
    Err(ObjectsError::Profile { profile: profile.name.clone(), unknown })
}

/// Every reference that a pod of the lab may name.
pub(super) fn locked_references(lock: &Lock) -> BTreeSet<String> {
    let pulled = lock.image.values().map(|entry| entry.want.as_str());
    let built = lock.app.values().map(|app| app.request.reference.as_str());
    pulled.chain(built).map(normalize_reference).collect()
}

/// What is wrong with the containers of one object.
fn problems(file: &str, object: &DynamicObject, locked: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for container in manifest::containers_of(object) {
        let place = format!("  {file}: {}, container {}", manifest::describe(object), container.container);
        if !locked.contains(&normalize_reference(&container.image)) {
            found.push(format!("{place}: the lock has no image {}", container.image));
        }
        if container.pull_policy == "Always" {
            found.push(format!("{place}: imagePullPolicy Always asks a registry at every start ({})", container.image));
        }
    }
    found
}

/// Policies go in before any pod of the app: an app that starts first is open for a moment.
fn is_policy(object: &DynamicObject) -> bool {
    const KINDS: [&str; 9] = [
        "Namespace",
        "ServiceAccount",
        "NetworkPolicy",
        "GlobalNetworkPolicy",
        "PeerAuthentication",
        "RequestAuthentication",
        "AuthorizationPolicy",
        "Role",
        "RoleBinding",
    ];
    object.types.as_ref().is_some_and(|types| KINDS.contains(&types.kind.as_str()))
}

fn text(complete: &Complete, descriptor: crate::base::Descriptor, name: &str) -> Result<String, ObjectsError> {
    let bytes = complete.blob(&descriptor.digest)?.read().map_err(PlanError::from)?;
    String::from_utf8(bytes).map_err(|_| ObjectsError::NotText { name: name.to_owned() })
}

/// The lab's own YAML: `manifests/` and `istio/`, by name.
///
/// # Errors
/// When a folder cannot be read; a lab without it has no files there.
pub fn own_yaml(lab: &Path) -> std::io::Result<Vec<PathBuf>> {
    Ok(yaml_files(&lab.join("manifests"))?.into_iter().chain(yaml_files(&lab.join("istio"))?).collect())
}

/// Whether a member of a locked archive is applied as an add-on: those that are YAML are.
pub fn is_addon(member: &MemberPin) -> bool {
    member.path.ends_with(".yaml")
}

/// The YAML files of a folder and the folders in it, by name; a lab without the folder has none.
fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(yaml_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(image: &str, policy: &str) -> DynamicObject {
        let yaml = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: webapp}}\n\
             spec: {{template: {{spec: {{containers: [{{name: c, image: \"{image}\"{policy}}}]}}}}}}\n"
        );
        manifest::parse("test.yaml", &yaml).unwrap().remove(0)
    }

    fn found(image: &str, policy: &str) -> Vec<String> {
        let locked = BTreeSet::from(["docker.io/library/simple-backend:v1".to_owned()]);
        problems("web.yaml", &deployment(image, policy), &locked)
    }

    #[test]
    fn a_locked_image_with_a_fixed_tag_passes() {
        assert!(found("simple-backend:v1", "").is_empty());
        assert!(found("docker.io/library/simple-backend:v1", ", imagePullPolicy: IfNotPresent").is_empty());
    }

    #[test]
    fn what_the_operator_makes_and_istio_injects_must_be_locked_too() {
        let lock = |without: &str| {
            let text = include_str!("../../lock/ztlab.lock");
            let mut lock = crate::lockfile::parse(text).unwrap();
            lock.image.remove(without).map_or_else(|| assert_eq!(without, ""), |_| ());
            lock
        };
        let yaml = |text: &str| manifest::parse("test.yaml", text).unwrap();
        let objects = LabObjects {
            operator: yaml(
                "apiVersion: v1\nkind: Pod\nmetadata: {name: o}\nspec: {containers: [{name: o, image: 'quay.io/tigera/operator:v1.32.3'}]}",
            ),
            cluster: yaml(include_str!("../../manifests/cluster/01-installation.yaml")),
            policies: yaml(include_str!("../../manifests/01-namespace.yaml")),
            app: yaml(include_str!("../../manifests/06-loadtest.yaml")),
            ..LabObjects::default()
        };
        let unlocked = |without: &str| {
            let lock = lock(without);
            objects.unlocked(&lock, &Profile::default(), &locked_references(&lock), |_| true)
        };
        assert_eq!(unlocked(""), [""; 0]);
        assert_eq!(
            unlocked("calico-typha"),
            [
                "  Calico's operator 1.32.3: Deployment calico-system/calico-typha, container calico-typha: the lock has no image docker.io/calico/typha:v3.27.0"
            ]
        );
        assert_eq!(unlocked("pause").len(), 1);
        let proxies = unlocked("istio-proxyv2");
        assert_eq!(proxies.len(), 4, "two gateways, and two containers beside the load test: {proxies:?}");
    }

    #[test]
    fn always_and_an_unlocked_image_are_named() {
        let always = found("simple-backend:v1", ", imagePullPolicy: Always");
        assert!(always[0].contains("web.yaml") && always[0].contains("container c") && always[0].contains("Always"));
        let unlocked = found("simple-backend:v2", "");
        assert!(unlocked[0].contains("no image docker.io/library/simple-backend:v2"), "{unlocked:?}");
        // No tag means `latest`, and `latest` means Always.
        assert_eq!(found("simple-backend", "").len(), 2);
    }
}

//! Every YAML of the lab that can be read now: the lab's own files, and upstream's as far as the store has them.

use kube::api::DynamicObject;

use crate::{
    base::{Descriptor, Digest, Expected},
    cluster::manifest,
    lockfile::Lock,
    step::objects::{ObjectsError, is_addon, own_yaml},
    store::Store,
    verb::Context,
};

/// One YAML text.
pub(super) struct Yaml {
    /// `manifests/06-loadtest.yaml`, `manifest.tigera-operator` or `file.istio member kiali`.
    pub(super) name: String,
    /// Its objects.
    pub(super) objects: Vec<DynamicObject>,
    /// Whether `ztlab install` sets the pull policies of its containers itself: it does so for add-ons.
    pub(super) rewritten: bool,
}

/// A locked YAML that is not in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unseen {
    /// As [`Yaml::name`].
    pub(super) name: String,
    /// Its bytes' digest, where the lock has it.
    pub(super) digest: Option<Digest>,
}

/// What could be read, and what not.
pub(super) struct LabYaml {
    pub(super) files: Vec<Yaml>,
    pub(super) unseen: Vec<Unseen>,
}

/// The store, where there is one. Looking at a lock makes no store.
pub(super) fn store_if_there(context: &Context) -> miette::Result<Option<Store>> {
    Ok(if context.store.join("oci-layout").is_file() { Some(Store::open(&context.store)?) } else { None })
}

impl LabYaml {
    /// Reads the lab's folders, and what of the lock's YAML is in the store.
    ///
    /// # Errors
    /// When a file cannot be read or is not YAML.
    pub(super) fn read(context: &Context, lock: &Lock, store: Option<&Store>) -> miette::Result<Self> {
        let (mut files, mut unseen) = (Vec::new(), Vec::new());
        for path in own_yaml(&context.lab).map_err(ObjectsError::from)? {
            let name = path.strip_prefix(&context.lab).unwrap_or(&path).display().to_string();
            let text = fs_err::read_to_string(&path).map_err(ObjectsError::from)?;
            files.push(Yaml { objects: manifest::parse(&name, &text)?, name, rewritten: false });
        }
        for (name, expected, rewritten) in locked_yaml(lock) {
            match expected.complete().and_then(|descriptor| text_of(store?, descriptor)) {
                Some(text) => {
                    let text = text.map_err(|()| ObjectsError::NotText { name: name.clone() })?;
                    files.push(Yaml { objects: manifest::parse(&name, &text)?, name, rewritten });
                }
                None => unseen.push(Unseen { name, digest: expected.digest }),
            }
        }
        Ok(Self { files, unseen })
    }
}

/// Name, bytes and whether it is an add-on.
fn locked_yaml(lock: &Lock) -> Vec<(String, Expected, bool)> {
    let manifests = lock.manifest.iter().map(|(name, entry)| (format!("manifest.{name}"), entry.expected(), false));
    let members = lock.file.iter().flat_map(|(file, entry)| {
        let members = entry.member.iter().filter(|(_, pin)| is_addon(pin));
        members.map(move |(name, pin)| (format!("file.{file} member {name}"), pin.expected(), true))
    });
    manifests.chain(members).collect()
}

/// The blob as text; `None` when it is not there or damaged, which is `store verify`'s to tell.
fn text_of(store: &Store, descriptor: Descriptor) -> Option<Result<String, ()>> {
    let bytes = store.blob(descriptor)?.read().ok()?;
    Some(String::from_utf8(bytes).map_err(|_| ()))
}

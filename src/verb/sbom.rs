//! `ztlab sbom`: the bill of materials of the lab, or of one app's image, from the lock alone (CycloneDX 1.6).
//!
//! The same lock gives the same bytes: there is no time in the document, and its serial number follows from the
//! lab's identity. What the lock does not know yet is said to be pending and has no hash.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Context, build::chosen_apps};
use crate::{
    base::{Digest, wheel_tag::normalized_project},
    lockfile::{self, ImagePin, Lock},
};

/// The document.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Outcome(pub Value);

/// Writes the bill of the whole lab, or of one app.
///
/// # Errors
/// When the lock cannot be read, or has no such app.
pub fn run(context: &Context, app: Option<&String>) -> miette::Result<Outcome> {
    let lock = lockfile::read(&context.lock_path())?;
    let app = match app {
        Some(name) => chosen_apps(&lock, std::slice::from_ref(name))?.into_iter().next(),
        None => None,
    };
    Ok(Outcome(document(&lock, app.as_deref())))
}

/// The document about a lock. `app`: only this app's image and what it is made of.
fn document(lock: &Lock, app: Option<&str>) -> Value {
    let mut components = components(lock);
    let parts_of = |name: &str| {
        let request = &lock.app[name].request;
        let wheels = request.wheels.iter().map(|wheel| format!("wheel.{wheel}"));
        std::iter::once(request.base.clone()).chain(wheels).collect::<BTreeSet<String>>()
    };
    let mut dependencies: BTreeMap<String, BTreeSet<String>> =
        lock.app.keys().map(|name| (format!("app.{name}"), parts_of(name))).collect();
    let subject = match app {
        Some(name) => {
            let parts = parts_of(name);
            let subject = components.remove(&format!("app.{name}")).unwrap_or_default();
            components.retain(|reference, _| parts.contains(reference));
            dependencies.retain(|reference, _| *reference == format!("app.{name}"));
            subject
        }
        None => {
            dependencies.insert("lab".to_owned(), components.keys().cloned().collect());
            json!({ "type": "platform", "bom-ref": "lab", "name": lock.name, "version": lock.lab_id() })
        }
    };
    for reference in components.keys() {
        dependencies.entry(reference.clone()).or_default();
    }
    let depends = |(reference, on): (String, BTreeSet<String>)| json!({ "ref": reference, "dependsOn": on });
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial_number(&lock.lab_id(), app.unwrap_or("lab")),
        "version": 1,
        "metadata": {
            "tools": { "components": [
                { "type": "application", "name": "ztlab", "version": env!("CARGO_PKG_VERSION") },
            ] },
            "component": subject,
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies.into_iter().map(depends).collect::<Vec<_>>(),
    })
}

/// Every entry of the lock, by its name there.
fn components(lock: &Lock) -> BTreeMap<String, Value> {
    let pending: BTreeMap<String, Vec<String>> = lock.pending().into_iter().collect();
    let mut components = BTreeMap::new();
    let mut add = |reference: String, part: Part| {
        let lacks = pending.get(&reference).map(|lacks| lacks.join(", "));
        components.insert(reference.clone(), part.component(&reference, lacks));
    };
    for (name, tool) in &lock.tool {
        let digests = tool.platforms.values().filter_map(|pin| pin.digest).collect();
        let urls = tool.platforms.values().map(|pin| pin.url.clone()).collect();
        add(format!("tool.{name}"), Part { kind: "application", name: name.clone(), digests, urls, ..Part::default() });
    }
    for (name, file) in &lock.file {
        let (digests, urls) = (file.digest.into_iter().collect(), BTreeSet::from([file.want.clone()]));
        add(format!("file.{name}"), Part { kind: "file", name: name.clone(), digests, urls, ..Part::default() });
    }
    for (name, manifest) in &lock.manifest {
        let (digests, urls) = (manifest.digest.into_iter().collect(), BTreeSet::from([manifest.want.clone()]));
        add(format!("manifest.{name}"), Part { kind: "file", name: name.clone(), digests, urls, ..Part::default() });
    }
    for (name, image) in &lock.image {
        let index = image.index.as_ref().and_then(|index| index.digest);
        add(format!("image.{name}"), container(&image.want, index, image.platforms.values()));
    }
    for (name, wheel) in &lock.wheel {
        let version = wheel.request().map(|request| request.version.to_owned());
        let purl = version.as_ref().map(|version| format!("pkg:pypi/{}@{version}", normalized_project(name)));
        let digests = wheel.platforms.values().filter_map(|download| download.digest).collect();
        let urls = wheel.platforms.values().filter_map(|download| download.url.clone()).collect();
        let part = Part { kind: "library", name: name.clone(), version, purl, digests, urls, source: None };
        add(format!("wheel.{name}"), part);
    }
    for (name, app) in &lock.app {
        let part = container(&app.request.reference, None, app.platforms.values());
        // Nobody publishes it: an address would lead nowhere.
        add(format!("app.{name}"), Part { purl: None, source: app.source, ..part });
    }
    components
}

/// What a component is made from.
#[derive(Default)]
struct Part {
    kind: &'static str,
    name: String,
    version: Option<String>,
    purl: Option<String>,
    digests: BTreeSet<Digest>,
    urls: BTreeSet<String>,
    source: Option<Digest>,
}

impl Part {
    fn component(self, reference: &str, lacks: Option<String>) -> Value {
        let mut component = Map::new();
        let mut set = |key: &str, value: Value| _ = component.insert(key.to_owned(), value);
        set("type", json!(self.kind));
        set("bom-ref", json!(reference));
        set("name", json!(self.name));
        if let Some(version) = self.version {
            set("version", json!(version));
        }
        if !self.digests.is_empty() {
            let hash = |digest: &Digest| json!({ "alg": "SHA-256", "content": digest.hex() });
            set("hashes", self.digests.iter().map(hash).collect());
        }
        if let Some(purl) = self.purl {
            set("purl", json!(purl));
        }
        if !self.urls.is_empty() {
            let distribution = |url: &String| json!({ "type": "distribution", "url": url });
            set("externalReferences", self.urls.iter().map(distribution).collect());
        }
        let source = self.source.map(|digest| json!({ "name": "ztlab:source", "value": digest }));
        let pending = lacks.map(|lacks| json!({ "name": "ztlab:pending", "value": lacks }));
        let properties: Vec<Value> = source.into_iter().chain(pending).collect();
        if !properties.is_empty() {
            set("properties", json!(properties));
        }
        Value::Object(component)
    }
}

/// An image: its hashes are those of its documents, the index's first of all.
fn container<'pins>(reference: &str, index: Option<Digest>, pins: impl Iterator<Item = &'pins ImagePin>) -> Part {
    let manifests: BTreeSet<Digest> = pins.map(|pin| pin.manifest.digest).collect();
    let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, ""));
    let name = repository.rsplit('/').next().unwrap_or(repository);
    // package-url specification, type "oci": the digest is the version, the repository and the tag are qualifiers.
    let digest = index.or_else(|| manifests.first().copied());
    let version = digest.map(|digest| format!("@sha256%3A{}", digest.hex())).unwrap_or_default();
    let purl = format!("pkg:oci/{name}{version}?repository_url={repository}&tag={tag}");
    Part {
        kind: "container",
        name: repository.to_owned(),
        version: Some(tag.to_owned()),
        purl: Some(purl),
        digests: manifests.into_iter().chain(index).collect(),
        ..Part::default()
    }
}

/// A UUID of version 8 (RFC 9562, 5.8: the content is the maker's own) from the lab's identity and the subject.
fn serial_number(lab: &Digest, subject: &str) -> String {
    let mut hex: Vec<char> = Digest::of(format!("{lab} {subject}").as_bytes()).hex().chars().take(32).collect();
    hex[12] = '8';
    // The two highest bits of this digit are the variant, 10.
    hex[16] = match hex[16] {
        '0'..='3' => '8',
        '4'..='7' => '9',
        '8'..='b' => 'a',
        _ => 'b',
    };
    let part = |range: std::ops::Range<usize>| hex[range].iter().collect::<String>();
    format!("urn:uuid:{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Lock {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("lock/ztlab.lock");
        lockfile::read(&path).unwrap()
    }

    #[test]
    fn every_entry_of_the_lock_is_a_component_once() {
        let lock = shipped();
        let bill = document(&lock, None);
        let references: Vec<&str> =
            bill["components"].as_array().unwrap().iter().map(|one| one["bom-ref"].as_str().unwrap()).collect();
        let mut expected: Vec<String> = lock.artifacts().into_iter().map(|artifact| artifact.name).collect();
        expected.sort();
        assert_eq!(references, expected);
        assert_eq!(bill, document(&lock, None));
        assert!(!bill.to_string().contains("timestamp"));
    }

    #[test]
    fn an_apps_bill_has_its_base_and_its_wheels() {
        let lock = shipped();
        let bill = document(&lock, Some("backend"));
        assert_eq!(bill["metadata"]["component"]["bom-ref"], "app.backend");
        assert_eq!(bill["components"].as_array().unwrap().len(), 1 + lock.app["backend"].request.wheels.len());
        let flask = bill["components"].as_array().unwrap().iter().find(|one| one["name"] == "flask").unwrap();
        assert_eq!(flask["purl"], "pkg:pypi/flask@3.1.3");
        assert_eq!(flask["hashes"][0]["alg"], "SHA-256");
        assert_ne!(bill["serialNumber"], document(&lock, None)["serialNumber"]);
    }

    #[test]
    fn a_serial_number_is_a_uuid_of_version_8() {
        let number = serial_number(&Digest::of(b"lab"), "lab");
        assert_eq!(number.len(), "urn:uuid:".len() + 36);
        assert_eq!(&number[9 + 14..9 + 15], "8");
        assert!("89ab".contains(&number[9 + 19..9 + 20]), "{number}");
    }

    #[test]
    fn what_is_not_known_has_no_hash_and_says_so() {
        let mut lock = shipped();
        lock.image.get_mut("pause").unwrap().platforms.clear();
        lock.image.get_mut("pause").unwrap().index = None;
        let pause = components(&lock).remove("image.pause").unwrap();
        assert_eq!(pause["hashes"], Value::Null);
        assert_eq!(pause["properties"][0]["name"], "ztlab:pending");
    }
}

//! `index.json`: the names under which other tools find the images of the store.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::{Descriptor, Digest, Reporter, file};

use super::{Store, StoreError, faults};

/// OCI image-spec v1.1, annotations.md. Skopeo and crane select an image of a layout by it.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The digest of the entries as they are written.
const CHECK: &str = "dev.ztlab.index.entries";

/// An image of the store and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedImage {
    /// Full reference.
    pub reference: String,
    /// The pinned index, or the manifest where upstream published a single one.
    pub top: Descriptor,
}

impl Store {
    /// Gives these images their names in `index.json`, replaces older ones of the same name, and keeps
    /// those of other labs. Puts `oci-layout` back when it is gone.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn name_images(&self, images: &[NamedImage], reporter: &dyn Reporter) -> Result<(), StoreError> {
        self.mend_layout()?;
        let replaced = |entry: &Value| images.iter().any(|image| image.reference == name(entry));
        self.write_index(reporter, |before| {
            let mut entries = before;
            entries.retain(|entry| !replaced(entry));
            for image in images {
                entries.extend(self.entry_of(image)?);
            }
            Ok(entries)
        })
    }

    /// The `index.json` of another layout, with these images of this store and `more` entries.
    ///
    /// # Errors
    /// When a document cannot be read or has other bytes than its digest says.
    pub fn index_of(&self, images: &[NamedImage], more: Vec<Value>) -> Result<Vec<u8>, StoreError> {
        let mut entries = more;
        for image in images {
            entries.extend(self.entry_of(image)?);
        }
        sort(&mut entries);
        document(&entries)
    }

    /// An image's entry, when its document is here.
    fn entry_of(&self, image: &NamedImage) -> Result<Option<Value>, StoreError> {
        let Some(blob) = self.blob(image.top) else { return Ok(None) };
        Ok(Some(json!({
            "mediaType": media_type(&blob.read()?),
            "digest": image.top.digest.to_string(),
            "size": image.top.size,
            "annotations": { REF_NAME: image.reference },
        })))
    }

    /// Takes every name from `index.json` that none of these images has, and those whose document is gone.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn keep_names(&self, images: &[NamedImage], reporter: &dyn Reporter) -> Result<(), StoreError> {
        self.write_index(reporter, |mut entries| {
            entries.retain(|entry| is_known(entry, images) && self.is_there(entry));
            Ok(entries)
        })
    }

    /// The references in `index.json` that none of these images has, or whose document is gone.
    pub(super) fn unknown_names(&self, images: &[NamedImage]) -> Result<Vec<String>, StoreError> {
        let index = faults::read(&self.root.join("index.json"))?.unwrap_or_default();
        let unknown = entries(&index).into_iter().filter(|entry| !is_known(entry, images) || !self.is_there(entry));
        Ok(unknown.map(|entry| name(&entry).to_owned()).collect())
    }

    fn write_index(
        &self,
        reporter: &dyn Reporter,
        change: impl FnOnce(Vec<Value>) -> Result<Vec<Value>, StoreError>,
    ) -> Result<(), StoreError> {
        let _lock = self.lock("index", reporter)?;
        let path = self.root.join("index.json");
        let before = faults::read(&path)?.unwrap_or_default();
        let mut entries = change(entries(&before))?;
        sort(&mut entries);
        let after = document(&entries)?;
        if after != before {
            file::write_atomically(&path, &after)?;
        }
        Ok(())
    }

    fn is_there(&self, entry: &Value) -> bool {
        let digest = entry["digest"].as_str().and_then(|text| text.parse::<Digest>().ok());
        digest.and_then(|digest| self.stamp(&digest)).is_some_and(|stamp| Some(stamp.size) == entry["size"].as_u64())
    }
}

fn sort(entries: &mut [Value]) {
    entries.sort_by_key(|entry| (name(entry).to_owned(), entry["digest"].to_string()));
}

fn is_known(entry: &Value, images: &[NamedImage]) -> bool {
    let is = |image: &NamedImage| {
        image.reference == name(entry) && entry["digest"].as_str() == Some(&image.top.digest.to_string())
    };
    images.iter().any(is)
}

/// The one spelling of an index with these entries. It carries the digest of its own entries, so that a changed
/// name is noticed as well: nothing else in the store says what an image is called.
pub(super) fn document(entries: &[Value]) -> Result<Vec<u8>, StoreError> {
    let check = Digest::of(&serde_json::to_vec(entries).map_err(io::Error::from)?).to_string();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
        "annotations": { CHECK: check },
    });
    Ok(serde_json::to_vec(&index).map_err(io::Error::from)?)
}

/// What is wrong with these bytes of an `index.json`.
pub(super) fn problems(store: &Store, bytes: &[u8]) -> Result<Vec<String>, StoreError> {
    let entries = entries(bytes);
    if document(&entries)? != bytes {
        return Ok(vec!["not as ztlab wrote it: damaged, or changed by another tool".to_owned()]);
    }
    let absent = entries.iter().filter(|entry| !store.is_there(entry));
    Ok(absent.map(|entry| format!("names {}, and its document {} is not here", name(entry), entry["digest"])).collect())
}

/// An index.json that is not JSON names nothing; the blobs are what counts, and it is written anew.
fn entries(index: &[u8]) -> Vec<Value> {
    let index: Value = serde_json::from_slice(index).unwrap_or_default();
    index["manifests"].as_array().cloned().unwrap_or_default()
}

fn name(entry: &Value) -> &str {
    entry["annotations"][REF_NAME].as_str().unwrap_or_default()
}

/// A document's own media type, or the OCI one that its fields imply (the field is optional in OCI 1.0).
pub fn media_type(document: &[u8]) -> String {
    let document: Value = serde_json::from_slice(document).unwrap_or_default();
    match (document["mediaType"].as_str(), document["manifests"].is_array()) {
        (Some(media_type), _) => media_type.to_owned(),
        (None, true) => "application/vnd.oci.image.index.v1+json".to_owned(),
        (None, false) => "application/vnd.oci.image.manifest.v1+json".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::report::Silent;

    fn named(store: &Store, reference: &str, document: &[u8]) -> NamedImage {
        NamedImage { reference: reference.to_owned(), top: store.put(document, &Silent).unwrap().descriptor() }
    }

    #[test]
    fn names_are_replaced_and_other_labs_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let other = named(&store, "docker.io/other/lab:1", br#"{"layers":[]}"#);
        let old = named(&store, "docker.io/calico/node:v1", br#"{"manifests":[]}"#);
        let docker_list = r#"{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#;
        let new = named(&store, "docker.io/calico/node:v1", docker_list.as_bytes());
        store.name_images(&[other.clone(), old], &Silent).unwrap();
        store.name_images(std::slice::from_ref(&new), &Silent).unwrap();
        let index: Value = serde_json::from_slice(&fs_err::read(store.root().join("index.json")).unwrap()).unwrap();
        let entries: Vec<(&str, &str, String)> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                (name(entry), entry["mediaType"].as_str().unwrap(), entry["digest"].as_str().unwrap().to_owned())
            })
            .collect();
        assert_eq!(
            entries,
            [
                (
                    "docker.io/calico/node:v1",
                    "application/vnd.docker.distribution.manifest.list.v2+json",
                    new.top.digest.to_string()
                ),
                ("docker.io/other/lab:1", "application/vnd.oci.image.manifest.v1+json", other.top.digest.to_string()),
            ]
        );
    }
}

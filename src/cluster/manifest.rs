//! YAML text into Kubernetes objects, and the images that they ask for. Pure: no file, no socket.
//!
//! YAML is read as kubectl reads it. A bare `0400` is octal there (256); most parsers make it the text "0400" or the
//! number 400, and a Secret is then mounted with a mode that nobody wrote down.

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde_json::Value;

use crate::base::reference::{normalize_reference, tag_of};

/// Text that is not a list of Kubernetes objects.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ManifestError {
    /// Not YAML.
    #[error("{file}:{line} is not YAML as kubectl reads it: {reason}")]
    #[diagnostic(code(manifest::yaml), help("mend the line, then type `ztlab plan`"))]
    Yaml {
        /// The file's name, for people.
        file: String,
        /// The line, 0 when the parser knows none.
        line: u64,
        /// What the parser says.
        reason: String,
    },
    /// YAML, but not an object with `apiVersion`, `kind` and a name.
    #[error("{file}: document {document} is not a Kubernetes object: expected {expected}, found {found}")]
    #[diagnostic(code(manifest::object), help("mend the document, then type `ztlab plan`"))]
    Object {
        /// The file's name, for people.
        file: String,
        /// Which document, counted from 1 without the empty ones.
        document: usize,
        /// What is missing.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

/// One container of a pod template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerImage {
    /// The container's name.
    pub container: String,
    /// Where it stands in its object: `spec.template.spec.initContainers[0]`.
    pub path: String,
    /// The image as the manifest writes it.
    pub written: String,
    /// The image's full reference.
    pub image: String,
    /// When the kubelet pulls it, after Kubernetes' defaulting: without a tag, or with `latest`, always.
    pub pull_policy: String,
}

/// Reads every object of a text; empty documents are skipped, `List`s are opened.
///
/// # Errors
/// When the text is not YAML or a document is not an object with a name.
pub fn parse(file: &str, text: &str) -> Result<Vec<DynamicObject>, ManifestError> {
    let mut options = serde_saphyr::Options::default();
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    let documents: Vec<Value> =
        serde_saphyr::from_str_multiple_with_options(text, options).map_err(|error| ManifestError::Yaml {
            file: file.to_owned(),
            line: error.location().map_or(0, |location| location.line()),
            reason: error.to_string(),
        })?;
    let mut objects = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match document {
            Value::Null => {}
            Value::Object(mut list) if is_list && list.contains_key("items") => {
                if let Some(Value::Array(items)) = list.remove("items") {
                    for item in items {
                        objects.push(object(file, index + 1, item)?);
                    }
                }
            }
            document => objects.push(object(file, index + 1, document)?),
        }
    }
    Ok(objects)
}

fn object(file: &str, document: usize, value: Value) -> Result<DynamicObject, ManifestError> {
    let bad = |expected, found: String| ManifestError::Object { file: file.to_owned(), document, expected, found };
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    if text("/apiVersion").is_none() || text("/kind").is_none() {
        let found: String = value.to_string().chars().take(100).collect();
        return Err(bad("apiVersion and kind", found));
    }
    if text("/metadata/name").is_none() {
        return Err(bad("metadata.name", format!("a {} without one", text("/kind").unwrap_or_default())));
    }
    serde_json::from_value(value).map_err(|error| bad("the fields of an object", error.to_string()))
}

/// Kind and name of an object, for people: `Deployment webapp/frontend`.
pub fn describe(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| types.kind.as_str());
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match object.metadata.namespace.as_deref() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// The images of an object's pod template, init containers first; none for kinds that start no pods.
pub fn containers_of(object: &DynamicObject) -> Vec<ContainerImage> {
    let Some(pod) = pod_pointer(object).and_then(|pointer| object.data.pointer(pointer)) else { return Vec::new() };
    let above = pod_pointer(object).unwrap_or_default().trim_start_matches('/').replace('/', ".");
    let lists = ["initContainers", "containers"].into_iter();
    let containers =
        lists.flat_map(|list| pod[list].as_array().into_iter().flatten().enumerate().map(move |one| (list, one)));
    containers
        .filter_map(|(list, (number, container))| {
            let image = container["image"].as_str()?;
            let pull_policy = container["imagePullPolicy"].as_str().unwrap_or_else(|| default_pull_policy(image));
            Some(ContainerImage {
                container: container["name"].as_str().unwrap_or_default().to_owned(),
                path: format!("{above}.{list}[{number}]"),
                written: image.to_owned(),
                image: normalize_reference(image),
                pull_policy: pull_policy.to_owned(),
            })
        })
        .collect()
}

/// Sets the pull policy of every container of an object's pod template; tells whether that changed anything.
///
/// Upstream files stay as they are: this happens to the object on its way to the API server.
pub fn set_pull_policy(object: &mut DynamicObject, policy: &str) -> bool {
    let Some(pod) = pod_pointer(object).and_then(|pointer| object.data.pointer_mut(pointer)) else { return false };
    let mut changed = false;
    for list in ["initContainers", "containers"] {
        for container in pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                let before = container.insert("imagePullPolicy".to_owned(), Value::from(policy));
                changed |= before.as_ref().and_then(Value::as_str) != Some(policy);
            }
        }
    }
    changed
}

/// Kubernetes' defaulting: what has a fixed tag or a digest is pulled only when absent.
fn default_pull_policy(image: &str) -> &'static str {
    match (image.contains('@'), tag_of(image)) {
        (true, _) => "IfNotPresent",
        (false, None | Some("latest")) => "Always",
        (false, Some(_)) => "IfNotPresent",
    }
}

/// Labels, annotations and specification of the pod that an object starts; `None` for kinds that start none.
pub fn pod_of(object: &DynamicObject) -> Option<Pod<'_>> {
    let pointer = pod_pointer(object)?;
    let spec = object.data.pointer(pointer)?;
    let template = pointer.strip_suffix("/spec").filter(|parent| !parent.is_empty());
    let words = |name: &str| -> BTreeMap<String, String> {
        let of_object = match name {
            "labels" => &object.metadata.labels,
            _ => &object.metadata.annotations,
        };
        match template {
            None => of_object.clone().unwrap_or_default(),
            Some(template) => {
                let map = object.data.pointer(template).and_then(|pod| pod["metadata"][name].as_object());
                let pairs = map.into_iter().flatten();
                pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
            }
        }
    };
    Some(Pod { labels: words("labels"), annotations: words("annotations"), spec })
}

/// The pod that an object starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod<'object> {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its specification.
    pub spec: &'object Value,
}

/// Where a kind keeps the pod that it starts.
fn pod_pointer(object: &DynamicObject) -> Option<&'static str> {
    match object.types.as_ref()?.kind.as_str() {
        "Pod" => Some("/spec"),
        "Deployment" | "DaemonSet" | "StatefulSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            Some("/spec/template/spec")
        }
        "CronJob" => Some("/spec/jobTemplate/spec/template/spec"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> DynamicObject {
        parse("test.yaml", text).unwrap().remove(0)
    }

    #[test]
    fn a_bare_0400_is_octal_as_in_kubectl() {
        let text = include_str!("../../tests/fixtures/manifests/octal-mode.yaml");
        let modes: Vec<_> = parse("octal-mode.yaml", text)
            .unwrap()
            .iter()
            .map(|object| object.data.pointer("/spec/template/spec/volumes/0/secret/defaultMode").cloned())
            .collect();
        assert_eq!(modes, [Some(Value::from(256)), Some(Value::from(420))]);
    }

    #[test]
    fn empty_documents_are_skipped_and_dashes_inside_text_do_not_split() {
        let text = "---\n# only a comment\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  text: |\n    one\n    ---\n    two\n---\n";
        let objects = parse("test.yaml", text).unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0].data["data"]["text"], "one\n---\ntwo\n");
    }

    #[test]
    fn a_list_is_opened() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n- {apiVersion: v1, kind: Namespace, metadata: {name: b}}\n";
        let names: Vec<_> = parse("test.yaml", text).unwrap().iter().map(describe).collect();
        assert_eq!(names, ["Namespace a", "Namespace b"]);
    }

    #[test]
    fn an_error_names_the_line_or_the_document() {
        let error = parse("bad.yaml", "apiVersion: v1\nkind: [\n").unwrap_err();
        assert!(matches!(&error, ManifestError::Yaml { line, .. } if *line >= 2), "{error}");
        let error = parse("bad.yaml", "kind: Pod\nmetadata: {name: a}\n").unwrap_err();
        assert!(error.to_string().starts_with("bad.yaml: document 1 is not"), "{error}");
        let error = parse("bad.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a}\n").unwrap_err();
        assert!(error.to_string().contains("metadata.name"), "{error}");
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        assert!(parse("bad.yaml", "apiVersion: v1\nkind: A\nkind: B\nmetadata: {name: a}\n").is_err());
    }

    #[test]
    fn the_pull_policy_defaults_as_in_kubernetes() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("127.0.0.1:5000/nginx", "Always"),
            ("nginx:1.30", "IfNotPresent"),
            ("nginx@sha256:0", "IfNotPresent"),
        ] {
            let pod = one(&format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{name: c, image: '{image}'}}]}}"
            ));
            assert_eq!(containers_of(&pod)[0].pull_policy, policy, "{image}");
        }
    }

    #[test]
    fn every_kind_that_starts_pods_shows_its_images() {
        let pod = "{initContainers: [{name: i, image: 'a:1'}], containers: [{name: c, image: 'b/c:2', imagePullPolicy: Always}]}";
        for kind in ["Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job"] {
            let text =
                format!("apiVersion: x/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{template: {{spec: {pod}}}}}");
            let mut object = one(&text);
            let images: Vec<_> =
                containers_of(&object).into_iter().map(|found| (found.image, found.pull_policy)).collect();
            let expected = [("docker.io/library/a:1", "IfNotPresent"), ("docker.io/b/c:2", "Always")];
            assert_eq!(images, expected.map(|(image, policy)| (image.to_owned(), policy.to_owned())), "{kind}");
            assert!(set_pull_policy(&mut object, "IfNotPresent"));
            assert!(containers_of(&object).iter().all(|found| found.pull_policy == "IfNotPresent"));
            assert!(!set_pull_policy(&mut object, "IfNotPresent"), "a second time changes nothing");
        }
        let cron = one(&format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: a}}\nspec: {{jobTemplate: {{spec: {{template: {{spec: {pod}}}}}}}}}"
        ));
        let places: Vec<_> = containers_of(&cron).into_iter().map(|found| (found.path, found.written)).collect();
        let template = "spec.jobTemplate.spec.template.spec";
        let expected =
            [(format!("{template}.initContainers[0]"), "a:1"), (format!("{template}.containers[0]"), "b/c:2")];
        assert_eq!(places, expected.map(|(path, written)| (path, written.to_owned())));
        let service = one("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: []}");
        assert_eq!(containers_of(&service), []);
    }
}

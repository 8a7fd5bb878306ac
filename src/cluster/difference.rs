//! What an apply would change in an object, field by field. Pure. Secrets are never shown.

use kube::api::DynamicObject;
use serde::Serialize;
use serde_json::Value;

/// Fields that a server keeps for itself.
const SERVERS_OWN: [&str; 6] =
    ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];
/// A longer value is cut off: a whole file in a ConfigMap is no line.
const SHOWN: usize = 120;

/// One field that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where it is: `spec.template.spec.containers[0].image`.
    pub field: String,
    /// What is there now; absent when nothing is.
    pub was: Option<String>,
    /// What would be there; absent when nothing would.
    pub would_be: Option<String>,
}

/// The fields in which two versions of an object differ, in the order of the first.
pub fn differences(before: &DynamicObject, after: &DynamicObject) -> Vec<Difference> {
    let content = |object: &DynamicObject| {
        let mut value = serde_json::to_value(object).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| !SERVERS_OWN.contains(&field.as_str()));
        }
        value
    };
    let secret = after.types.as_ref().is_some_and(|types| types.kind == "Secret");
    let mut found = Vec::new();
    compare(String::new(), Some(&content(before)), Some(&content(after)), secret, &mut found);
    found
}

fn compare(field: String, before: Option<&Value>, after: Option<&Value>, secret: bool, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Some(Value::Object(was)), Some(Value::Object(would_be))) => {
            let added = would_be.keys().filter(|key| !was.contains_key(*key));
            for key in was.keys().chain(added) {
                compare(join(&field, key), was.get(key), would_be.get(key), secret, found);
            }
        }
        (Some(Value::Array(was)), Some(Value::Array(would_be))) => {
            for number in 0..was.len().max(would_be.len()) {
                compare(format!("{field}[{number}]"), was.get(number), would_be.get(number), secret, found);
            }
        }
        _ => {
            let hidden = secret && (field.starts_with("data") || field.starts_with("stringData"));
            found.push(Difference { was: shown(before, hidden), would_be: shown(after, hidden), field });
        }
    }
}

fn join(field: &str, key: &str) -> String {
    match (field.is_empty(), key.contains(['.', '/'])) {
        (true, _) => key.to_owned(),
        (false, true) => format!("{field}[{key:?}]"),
        (false, false) => format!("{field}.{key}"),
    }
}

fn shown(value: Option<&Value>, hidden: bool) -> Option<String> {
    let value = value?;
    if hidden {
        return Some("(not shown)".to_owned());
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned).replace('\n', "\\n");
    let short: String = text.chars().take(SHOWN).collect();
    Some(if short.len() == text.len() { short } else { format!("{short}…") })
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn lines(before: Value, after: Value) -> Vec<(String, Option<String>, Option<String>)> {
        let found = differences(&from_value(before).unwrap(), &from_value(after).unwrap());
        found.into_iter().map(|one| (one.field, one.was, one.would_be)).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn only_what_a_person_means_is_a_difference() {
        let object = |version: &str, replicas: u32, image: &str| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "a", "resourceVersion": version, "generation": replicas, "annotations": {"ztlab.dev/x": image}},
                "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
                "status": {"replicas": version}})
        };
        assert_eq!(lines(object("1", 1, "a:1"), object("2", 1, "a:1")), []);
        let expected = [
            ("metadata.annotations[\"ztlab.dev/x\"]".to_owned(), some("a:1"), some("a:2")),
            ("spec.replicas".to_owned(), some("1"), some("2")),
            ("spec.template.spec.containers[0].image".to_owned(), some("a:1"), some("a:2")),
        ];
        assert_eq!(lines(object("1", 1, "a:1"), object("1", 2, "a:2")), expected);
    }

    #[test]
    fn what_is_new_or_gone_has_one_side() {
        let with =
            |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
        let expected = [("data.one".to_owned(), some("1"), None), ("data.two".to_owned(), None, some("2\\n3"))];
        assert_eq!(lines(with(json!({"one": "1"})), with(json!({"two": "2\n3"}))), expected);
        let long = lines(with(json!({})), with(json!({"file": "x".repeat(500)})));
        assert!(long[0].2.as_ref().unwrap().ends_with("x…"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = |key: &str, value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "labels": {"l": value}}, key: {"password": value}});
        for key in ["data", "stringData"] {
            let found = lines(secret(key, "aHVudGVyMg=="), secret(key, "cGFzc3dvcmQ="));
            assert_eq!(found[1], (format!("{key}.password"), some("(not shown)"), some("(not shown)")));
        }
        // Where the whole map is new.
        let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "labels": {"l": "x"}}});
        let found = lines(empty, secret("data", "x"));
        assert_eq!(found, [("data".to_owned(), None, some("(not shown)"))]);
    }
}

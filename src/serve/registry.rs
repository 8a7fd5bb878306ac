//! The reading half of the OCI distribution API (distribution-spec v1.1): what crane, skopeo, oras, containerd and
//! dockerd ask for.
//!
//! `/v2/`, `/v2/_catalog`, `/v2/NAME/tags/list`, `/v2/NAME/manifests/REFERENCE`, `/v2/NAME/blobs/DIGEST` and
//! `/v2/NAME/referrers/DIGEST`. NAME is the full name (`docker.io/calico/node`) or the short one that a mirror is asked
//! for, with containerd's `?ns=docker.io` or without.

use http::StatusCode;
use serde_json::json;
use url::form_urlencoded;

use crate::base::Digest;

use super::{
    catalog::{Catalog, Repository},
    request::Request,
    response::{JSON, Response},
};

/// Lists are no longer than this, however many a client asks for.
const MOST: usize = 1000;

/// What a path below `/v2/` asks for.
pub(super) enum Asked {
    /// This answer.
    Answer(Response),
    /// A blob or manifest, with the headers that go with it.
    Blob { digest: Digest, media_type: String },
}

/// Answers a path below `/v2/`; `rest` is what follows.
pub(super) fn answer(catalog: &Catalog, rest: &str, request: &Request) -> Asked {
    let query = Query::of(&request.query);
    if rest.is_empty() {
        return Asked::Answer(json_answer(&json!({})));
    }
    if rest == "_catalog" {
        let names: Vec<&str> = catalog.repositories.keys().map(String::as_str).collect();
        return Asked::Answer(listed("/v2/_catalog", "repositories", json!({}), &names, &query));
    }
    let Some((name, what, reference)) = split(rest) else {
        return failure(StatusCode::NOT_FOUND, "UNSUPPORTED", "this registry has no such address");
    };
    let Some((full, repository)) = catalog.repository(name, query.ns.as_deref()) else {
        return failure(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "this lab has no image of that name");
    };
    match what {
        "tags" => {
            let tags: Vec<&str> = repository.tags.keys().map(String::as_str).collect();
            let path = format!("/v2/{full}/tags/list");
            Asked::Answer(listed(&path, "tags", json!({ "name": name }), &tags, &query))
        }
        "manifests" => manifest(repository, reference),
        "referrers" => Asked::Answer(Response::new(
            StatusCode::OK,
            "application/vnd.oci.image.index.v1+json",
            json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [] })
                .to_string(),
        )),
        _ => match reference.parse::<Digest>() {
            Ok(digest) if catalog.blob(&digest).is_some() => {
                Asked::Blob { digest, media_type: "application/octet-stream".to_owned() }
            }
            Ok(_) => failure(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "this lab has no such blob"),
            Err(_) => failure(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "expected sha256: and 64 digits"),
        },
    }
}

fn manifest(repository: &Repository, reference: &str) -> Asked {
    let digest = match reference.parse::<Digest>() {
        Ok(digest) => Some(digest),
        Err(_) => repository.tags.get(reference).copied(),
    };
    match digest.and_then(|digest| repository.manifests.get(&digest)) {
        Some((descriptor, media_type)) => Asked::Blob { digest: descriptor.digest, media_type: media_type.clone() },
        None => {
            failure(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "this lab does not have it under this tag or digest")
        }
    }
}

/// NAME, kind and REFERENCE. A name may have any number of parts, and one of them may be called `blobs`.
fn split(rest: &str) -> Option<(&str, &str, &str)> {
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Some((name, "tags", ""));
    }
    let (head, reference) = rest.rsplit_once('/')?;
    let (name, what) = head.rsplit_once('/')?;
    matches!(what, "manifests" | "blobs" | "referrers").then_some((name, what, reference))
}

/// An error as the specification writes it.
pub(super) fn failure(status: StatusCode, code: &str, message: &str) -> Asked {
    let body = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    Asked::Answer(Response::new(status, JSON, body).with("Cache-Control", "no-store"))
}

fn json_answer(value: &serde_json::Value) -> Response {
    Response::new(StatusCode::OK, JSON, value.to_string()).with("Cache-Control", "no-store")
}

/// A part of a sorted list, with the link to the next (distribution-spec, "Listing Tags").
fn listed(path: &str, key: &str, mut value: serde_json::Value, names: &[&str], query: &Query) -> Response {
    let after = query.last.as_deref();
    let most = query.n.unwrap_or(MOST).min(MOST);
    let rest: Vec<&str> = names.iter().copied().filter(|name| after.is_none_or(|last| *name > last)).collect();
    let page: Vec<&str> = rest.iter().copied().take(most).collect();
    let more = rest.len() > page.len();
    let next = page.last().filter(|_| more).map(|last| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("n", &most.to_string())
            .append_pair("last", last)
            .finish();
        format!("<{path}?{query}>; rel=\"next\"")
    });
    value[key] = json!(page);
    let answer = json_answer(&value);
    match next {
        Some(next) => answer.with("Link", next),
        None => answer,
    }
}

/// What of a query is looked at.
#[derive(Debug, Default)]
struct Query {
    /// Whose repository is meant.
    ns: Option<String>,
    /// How many entries.
    n: Option<usize>,
    /// The last entry of the part before.
    last: Option<String>,
}

impl Query {
    fn of(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                "ns" => query.ns = Some(value.into_owned()),
                "n" => query.n = value.parse().ok(),
                "last" => query.last = Some(value.into_owned()),
                _ => {}
            }
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_from_its_end() {
        assert_eq!(split("calico/node/tags/list"), Some(("calico/node", "tags", "")));
        assert_eq!(split("a/blobs/manifests/v1"), Some(("a/blobs", "manifests", "v1")));
        assert_eq!(split("a/blobs/uploads/"), None);
        assert_eq!(split("a/manifests"), None);
    }

    #[test]
    fn a_list_comes_in_parts_with_links() {
        let list = |query: &str| {
            let answer = listed("/v2/_catalog", "repositories", json!({}), &["a", "b", "c"], &Query::of(query));
            let super::super::response::Body::Bytes(body) = answer.body else { panic!("a list is in memory") };
            let link = answer.headers.into_iter().find(|(name, _)| *name == "Link").map(|(_, value)| value);
            (serde_json::from_slice::<serde_json::Value>(&body).unwrap()["repositories"].clone(), link)
        };
        assert_eq!(list(""), (json!(["a", "b", "c"]), None));
        let link = Some("</v2/_catalog?n=2&last=b>; rel=\"next\"".to_owned());
        assert_eq!(list("n=2"), (json!(["a", "b"]), link));
        assert_eq!(list("n=2&last=b"), (json!(["c"]), None));
        assert_eq!(list("n=99999&last=zzz"), (json!([]), None));
        assert_eq!(list("n=0").0, json!([]));
    }
}

//! From a request to its answer.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::StatusCode;
use tokio::sync::Mutex;

use crate::{
    base::{Digest, Event, Reporter},
    fetch::{blocking, share::PEERS},
    store::{OpenBlob, Opened},
};

use super::{
    admission::Admission,
    catalog::Catalog,
    page, peers,
    peers::Peers,
    range, registry,
    request::{Method, Request},
    response::{Body, JSON, Response, TEXT},
    room::{Room, RoomDocument},
    roster::{Refusal, Roster, SeatDocument},
};

/// Where blobs are.
const BLOBS: &str = "/blobs/sha256/";
/// Where seats report.
pub(super) const ROSTER: &str = "/roster";

/// What every connection works with.
pub(super) struct Service {
    pub(super) catalog: Catalog,
    pub(super) room: Room,
    roster: Roster,
    peers: Peers,
    pub(super) admission: Arc<Admission>,
    pub(super) reporter: Arc<dyn Reporter>,
    /// One blob is hashed at a time; who waits for it finds it hashed. Holds those that were told to be damaged.
    touched: Mutex<BTreeSet<Digest>>,
}

impl Service {
    pub(super) fn new(catalog: Catalog, admission: Arc<Admission>, reporter: Arc<dyn Reporter>) -> Self {
        let roster = Roster::new(catalog.lab.lab_id);
        let peers = Peers::new(catalog.lab.lab_id, catalog.sizes());
        Self { catalog, room: Room::default(), roster, peers, admission, reporter, touched: Mutex::default() }
    }

    /// How far the room is.
    pub(super) fn now(&self) -> (RoomDocument, Vec<SeatDocument>) {
        let (addresses, sharing) = self.peers.sharing();
        (RoomDocument { sharing, ..self.room.document() }, self.roster.documents(&addresses))
    }

    /// Whether this request may bring a body.
    pub(super) fn takes_body(&self, request: &Request) -> bool {
        let is_known = matches!(request.path.as_str(), ROSTER | PEERS);
        self.catalog.is_whole && request.method == Method::Post && is_known
    }

    /// Answers a request with its body. `client` is who asks, `local` where it has reached this server.
    pub(super) async fn answer(&self, request: &Request, body: &[u8], client: IpAddr, local: SocketAddr) -> Response {
        match request.method {
            Method::Get | Method::Head => self.read(request, local).await,
            Method::Post if self.takes_body(request) && request.path == ROSTER => self.note(request, body, client),
            Method::Post if self.takes_body(request) => self.peers(request, body, client),
            Method::Post | Method::Other => {
                Response::text(StatusCode::METHOD_NOT_ALLOWED, "this server is read-only").with("Allow", "GET, HEAD")
            }
        }
    }

    async fn read(&self, request: &Request, local: SocketAddr) -> Response {
        let catalog = &self.catalog;
        if !catalog.is_whole && !request.path.starts_with(BLOBS) {
            return Response::text(StatusCode::NOT_FOUND, "a laptop shares its blobs of a lab here, and nothing else");
        }
        match request.path.as_str() {
            "/" => {
                let (room, seats) = self.now();
                page::whole(catalog, &room, &seats, local)
            }
            "/room" => {
                let (room, seats) = self.now();
                page::room(&room, &seats)
            }
            "/room.json" => document(&self.now().0),
            "/lab.json" => document(&catalog.lab),
            "/ztlab.lock" => {
                let answer = Response::new(StatusCode::OK, TEXT, catalog.lock.clone());
                answer.with("ETag", format!("\"{}\"", catalog.lab.lab_id)).with("Cache-Control", "no-cache")
            }
            "/ztlab.lock.minisig" => match &catalog.signature {
                Some(signature) => {
                    Response::new(StatusCode::OK, TEXT, signature.clone()).with("Cache-Control", "no-cache")
                }
                None => Response::text(StatusCode::NOT_FOUND, "the lock of this lab is not signed"),
            },
            path => {
                if let Some(hex) = path.strip_prefix(BLOBS) {
                    return match Digest::from_hex(hex).ok().filter(|digest| catalog.blob(digest).is_some()) {
                        Some(digest) => self.blob(request, digest, "application/octet-stream").await,
                        None => Response::text(StatusCode::NOT_FOUND, "this lab has no such blob"),
                    };
                }
                match path.strip_prefix("/v2/").or((path == "/v2").then_some("")) {
                    Some(rest) => self.registry(request, rest).await,
                    None => Response::text(StatusCode::NOT_FOUND, "there is nothing here; / says what is served"),
                }
            }
        }
    }

    /// Takes a report for the roster.
    fn note(&self, request: &Request, body: &[u8], client: IpAddr) -> Response {
        if !self.roster.may_report(client) {
            return Response::text(StatusCode::TOO_MANY_REQUESTS, "too many reports").with("Retry-After", "2");
        }
        // A page of another site cannot send this type without asking first, and nobody answers that question.
        if request.content_type.as_deref() != Some(JSON) {
            return Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a report is application/json");
        }
        match self.roster.take(client, body) {
            Ok((seat, said)) => {
                self.reporter.report(Event::SeatReported { seat, said });
                Response::text(StatusCode::OK, "noted")
            }
            Err(Refusal::Nonsense(why)) => Response::text(StatusCode::UNPROCESSABLE_ENTITY, why),
            Err(Refusal::Full) => Response::text(StatusCode::INSUFFICIENT_STORAGE, "the roster is full"),
        }
    }

    /// Answers a laptop that shares.
    fn peers(&self, request: &Request, body: &[u8], client: IpAddr) -> Response {
        if request.content_type.as_deref() != Some(JSON) {
            return Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a question is application/json");
        }
        match self.peers.answer(client, body) {
            Ok(answer) => document(&answer),
            Err(peers::Refusal::Nonsense(why)) => Response::text(StatusCode::UNPROCESSABLE_ENTITY, why),
            Err(peers::Refusal::OtherLab) => Response::text(StatusCode::CONFLICT, "another lab is served here"),
            Err(peers::Refusal::Full) => Response::text(StatusCode::INSUFFICIENT_STORAGE, "so many are not listed"),
        }
    }

    async fn registry(&self, request: &Request, rest: &str) -> Response {
        let answer = match registry::answer(&self.catalog, rest, request) {
            registry::Asked::Answer(answer) => answer,
            registry::Asked::Blob { digest, media_type } => {
                let answer = self.blob(request, digest, &media_type).await;
                answer.with("Docker-Content-Digest", digest.to_string())
            }
        };
        // Docker's clients look for it to tell a registry from a web server.
        answer.with("Docker-Distribution-Api-Version", "registry/2.0")
    }

    /// A blob, whole or in part (RFC 9110, sections 13 and 14).
    async fn blob(&self, request: &Request, digest: Digest, media_type: &str) -> Response {
        let tag = format!("\"{digest}\"");
        let headers = |response: Response| {
            let response = response.with("ETag", tag.clone()).with("Accept-Ranges", "bytes");
            // The digest is in the address or in the tag: what it names never changes.
            response.with("Cache-Control", "no-cache")
        };
        let Some(blob) = self.open(digest).await else {
            let why = match self.catalog.is_whole {
                true => "the server's copy of this blob is damaged and is not served",
                false => "this laptop does not have this blob yet",
            };
            return Response::text(StatusCode::NOT_FOUND, why);
        };
        let same = |list: &String| {
            list.split(',').any(|one| matches!(one.trim().trim_start_matches("W/"), one if one == tag || one == "*"))
        };
        if request.if_none_match.as_ref().is_some_and(same) {
            return headers(Response::new(StatusCode::NOT_MODIFIED, media_type, ""));
        }
        let length = blob.descriptor().size;
        // A range of something else than the client has the first half of would be no help to it.
        let of_this = request.if_range.as_ref().is_none_or(|wanted| *wanted == tag);
        let wanted = request.range.as_deref().filter(|_| of_this && request.method == Method::Get);
        let (status, range, described) = match range::asked(wanted, length) {
            range::Asked::Outside => {
                let text = Response::text(StatusCode::RANGE_NOT_SATISFIABLE, "the blob does not have these bytes");
                return headers(text).with("Content-Range", format!("bytes */{length}"));
            }
            range::Asked::Whole => (StatusCode::OK, 0..length, None),
            range::Asked::Part(part) => {
                let described = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                (StatusCode::PARTIAL_CONTENT, part, Some(described))
            }
        };
        let mut answer = headers(Response::new(status, media_type, ""));
        answer.body = Body::Blob(blob, range);
        match described {
            Some(described) => answer.with("Content-Range", described),
            None => answer,
        }
    }

    /// The blob's file, when its bytes are its own. One that was touched is hashed first.
    async fn open(&self, digest: Digest) -> Option<OpenBlob> {
        let descriptor = self.catalog.blob(&digest)?;
        let store = &self.catalog.store;
        match store.open_blob(descriptor) {
            Opened::Right(blob) => return Some(blob),
            Opened::Absent if !self.catalog.is_whole => return None,
            Opened::Touched | Opened::Absent => {}
        }
        let mut told = self.touched.lock().await;
        let store = store.clone();
        let blob = blocking(move || store.open_touched(descriptor)).await;
        if blob.is_none() && told.insert(digest) {
            let text = format!(
                "{digest} of {} is not what it was, and is not served: `ztlab store repair` brings it anew",
                self.catalog.artifact_of(&digest)
            );
            self.reporter.report(Event::Warning { text });
        }
        blob
    }
}

fn document(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => Response::new(StatusCode::OK, JSON, bytes).with("Cache-Control", "no-store"),
        Err(_) => Response::text(StatusCode::INTERNAL_SERVER_ERROR, "the document cannot be written"),
    }
}

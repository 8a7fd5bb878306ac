//! One blob or manifest into a repository (distribution-spec v1.1, "Pushing blobs", "Mounting a blob from another
//! repository", "Pushing Manifests"). The retry wraps the whole attempt, and each new one asks first what is there.

use bytes::Bytes;
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION},
};
use url::Url;

use crate::{
    base::{Descriptor, Digest},
    fetch::{
        Client, FetchError,
        client::Demand,
        retry::Backoff,
        source::{Access, Location, Part, is_loopback, shown},
    },
};

use super::{
    Outgoing, Parcel, RegistryAddress,
    answer::{content_digest, kept, length},
};

/// A storage that hands on to another storage: more is a loop.
const MOST_REDIRECTS: usize = 5;

/// How a blob came into a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The registry took it from another of its repositories: no bytes were sent.
    Mounted,
    /// Its bytes were sent.
    Sent,
    /// It was there when the registry was asked again.
    Present,
}

/// How an upload begins.
enum Begun {
    /// The blob is there.
    Mounted,
    /// The bytes go here.
    Open(Box<Location>),
}

impl Client {
    /// Whether a repository has a blob: one HEAD, after retries.
    ///
    /// # Errors
    /// Everything but "no such blob".
    pub async fn has_blob(
        &self,
        registry: &RegistryAddress,
        repository: &str,
        blob: Descriptor,
    ) -> Result<bool, FetchError> {
        let digest = blob.digest.to_string();
        let location = registry.part(repository.to_owned(), Part::Blob(&digest), push(None))?;
        match self.look(&location).await {
            // Another length is another blob, whatever it is called. None, or 0, is what a proxy leaves of an answer
            // without a body.
            Ok(headers) => Ok(matches!(length(&headers), None | Some(0)) || length(&headers) == Some(blob.size)),
            Err(FetchError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The digest of what a repository has under a tag or digest; `None` when that is nothing, or is not said.
    ///
    /// # Errors
    /// Everything but "no such manifest".
    pub async fn manifest_digest(
        &self,
        registry: &RegistryAddress,
        repository: &str,
        name: &str,
    ) -> Result<Option<Digest>, FetchError> {
        let location = registry.part(repository.to_owned(), Part::Manifest(name), push(None))?;
        match self.look(&location).await {
            Ok(headers) => Ok(content_digest(&headers).and_then(|digest| digest.parse().ok())),
            Err(FetchError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Brings a blob into a repository that was asked and lacks it: from the repository `from` of the same registry if
    /// it lets us, else by sending its bytes. What a registry says of its repositories is not believed for the lab's
    /// sake: whoever fetches from it hashes.
    ///
    /// # Errors
    /// [`FetchError::Damaged`] when our own bytes are wrong; the last attempt's failure, after retries.
    pub async fn push_blob(
        &self,
        registry: &RegistryAddress,
        repository: &str,
        blob: &Outgoing,
        from: Option<&str>,
    ) -> Result<Pushed, FetchError> {
        let mut backoff = Backoff::new(&self.network().retry);
        let mut parcel = None;
        loop {
            let error = match self.push_once(registry, repository, blob, from, &mut parcel).await {
                Ok(pushed) => {
                    if let Some(parcel) = &parcel {
                        parcel.finished();
                    }
                    return Ok(pushed);
                }
                Err(error) => error,
            };
            let pause = backoff.next(&error, parcel.as_ref().map_or(0, Parcel::sent));
            if let Some(parcel) = &parcel {
                parcel.failed(&error, pause.is_some());
            }
            let Some(pause) = pause else { return Err(error) };
            tokio::time::sleep(pause).await;
            // The line may have broken after the last byte.
            if self.has_blob(registry, repository, blob.descriptor).await? {
                if let Some(parcel) = &parcel {
                    parcel.finished();
                }
                return Ok(Pushed::Present);
            }
        }
    }

    /// Puts a manifest or index under a tag or digest.
    ///
    /// # Errors
    /// When the registry does not take it, or says that it keeps something else.
    pub async fn push_manifest(
        &self,
        registry: &RegistryAddress,
        repository: &str,
        name: &str,
        media_type: &str,
        bytes: &Bytes,
    ) -> Result<(), FetchError> {
        let location = registry.part(repository.to_owned(), Part::Manifest(name), push(None))?;
        let kind = HeaderValue::from_str(media_type).map_err(|_| FetchError::Address {
            text: media_type.escape_debug().to_string(),
            problem: "it is no media type".to_owned(),
        })?;
        let expected = Digest::of(bytes);
        let mut backoff = Backoff::new(&self.network().retry);
        loop {
            let parcel = Parcel::quiet(self, bytes, &kind);
            let demand =
                Demand { method: Method::PUT, location: &location, headers: &HeaderMap::new(), parcel: Some(&parcel) };
            let result = match self.exchange(&demand).await {
                Ok((response, _place)) => self.judge(&location, response).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(response) => return kept(&location, response.headers(), expected),
                Err(error) => match backoff.next(&error, 0) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
            }
        }
    }

    async fn push_once(
        &self,
        registry: &RegistryAddress,
        repository: &str,
        blob: &Outgoing,
        from: Option<&str>,
        parcel: &mut Option<Parcel>,
    ) -> Result<Pushed, FetchError> {
        let begun = match from {
            Some(from) => self.mount(registry, repository, blob, from).await?,
            None => None,
        };
        let begun = match begun {
            Some(begun) => begun,
            None => self.begin(registry, repository, &[], push(None)).await?,
        };
        let Begun::Open(mut location) = begun else { return Ok(Pushed::Mounted) };
        location.url.query_pairs_mut().append_pair("digest", &blob.descriptor.digest.to_string());
        let parcel = parcel.get_or_insert_with(|| Parcel::new(self, blob));
        for _ in 0..MOST_REDIRECTS {
            let headers = HeaderMap::new();
            let demand = Demand { method: Method::PUT, location: &location, headers: &headers, parcel: Some(parcel) };
            let (response, _place) = self.exchange(&demand).await?;
            if matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                *location = self.next_place(registry, &location, response.headers())?;
                continue;
            }
            let response = self.judge(&location, response).await?;
            kept(&location, response.headers(), blob.descriptor.digest)?;
            return Ok(Pushed::Sent);
        }
        let (url, place) = (location.shown(), "one place after the other".to_owned());
        Err(FetchError::Elsewhere { url, place, why: "without an end" })
    }

    /// Asks for a blob of another repository; `None` when the registry does not do that, or not for us.
    async fn mount(
        &self,
        registry: &RegistryAddress,
        repository: &str,
        blob: &Outgoing,
        from: &str,
    ) -> Result<Option<Begun>, FetchError> {
        let digest = blob.descriptor.digest.to_string();
        let access = push(Some(from.to_owned()));
        match self.begin(registry, repository, &[("mount", &digest), ("from", from)], access).await {
            Ok(begun) => Ok(Some(begun)),
            // A token that does not allow it, an address that it does not know: sending always works.
            Err(FetchError::Refused { .. } | FetchError::Token { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens an upload.
    async fn begin(
        &self,
        registry: &RegistryAddress,
        repository: &str,
        query: &[(&str, &str)],
        access: Access,
    ) -> Result<Begun, FetchError> {
        let mut location = registry.part(repository.to_owned(), Part::Uploads, access)?;
        if !query.is_empty() {
            location.url.query_pairs_mut().extend_pairs(query);
        }
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))]);
        let demand = Demand { method: Method::POST, location: &location, headers: &headers, parcel: None };
        let (response, _place) = self.exchange(&demand).await?;
        let response = self.judge(&location, response).await?;
        if response.status() == StatusCode::CREATED && !query.is_empty() {
            return Ok(Begun::Mounted);
        }
        Ok(Begun::Open(Box::new(self.next_place(registry, &location, response.headers())?)))
    }

    /// Where a registry wants the bytes: an address of its own, or another storage's, which gets no credentials.
    fn next_place(
        &self,
        registry: &RegistryAddress,
        asked: &Location,
        headers: &HeaderMap,
    ) -> Result<Location, FetchError> {
        let text = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let url = asked.url.join(text).ok().filter(|_| !text.is_empty());
        let elsewhere = |place: String, why| FetchError::Elsewhere { url: asked.shown(), place, why };
        let Some(url) = url else { return Err(elsewhere("no address".to_owned(), "and says no more")) };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(elsewhere(shown(&url), "which is no address of the web"));
        }
        if url.origin() == registry.base().origin() {
            // The scheme and host are those that somebody named; so is what they may see.
            return Ok(Location { url, accept: None, ..asked.clone() });
        }
        if is_loopback(&url) && !is_loopback(registry.base()) {
            return Err(elsewhere(shown(&url), "which is this machine and not the registry"));
        }
        if is_downgrade(registry.base(), &url) || !self.allows(&url) {
            return Err(elsewhere(shown(&url), "which is plain HTTP"));
        }
        Ok(Location::plain(url))
    }
}

fn push(from: Option<String>) -> Access {
    Access::Push { from }
}

fn is_downgrade(registry: &Url, place: &Url) -> bool {
    registry.scheme() == "https" && place.scheme() == "http"
}

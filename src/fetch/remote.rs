//! Another store behind a web server as a source: `URL/blobs/sha256/<hex>`, which is what any server of files makes of
//! an OCI image layout.

use std::cmp::Reverse;

use futures::{StreamExt, stream};
use url::Url;

use crate::{
    base::Event,
    plan::PlannedBlob,
    store::{Store, StoreError},
};

use super::{Client, FetchError, blob::Wanted, source::Location};

/// Takes what the other store has and returns what is still missing, and whether it was passed over as a whole.
///
/// It is asked for names and lengths first (HEAD): a machine that is switched off costs one time-out and not one for
/// each blob, and what is not there is no failure.
pub(super) async fn take(
    base: &Url,
    client: &Client,
    store: &Store,
    missing: Vec<PlannedBlob>,
    jobs: usize,
) -> Result<(Vec<PlannedBlob>, bool), StoreError> {
    let name = super::source::shown(base);
    let warn = |text: String| client.reporter().report(Event::Warning { text });
    let mut there = vec![false; missing.len()];
    let mut answers = stream::iter(0..missing.len())
        .map(|index| {
            let blob = &missing[index];
            async move { (index, has(base, client, blob).await) }
        })
        .buffer_unordered(jobs.max(1))
        .boxed();
    while let Some((index, answer)) = answers.next().await {
        match answer {
            Ok(has) => there[index] = has,
            Err(error) => {
                drop(answers);
                warn(format!("{name} is passed over: {}", chain(&error)));
                return Ok((missing, true));
            }
        }
    }
    drop(answers);
    let (mut offered, mut left) = (Vec::new(), Vec::new());
    for (blob, there) in missing.into_iter().zip(there) {
        if there { offered.push(blob) } else { left.push(blob) }
    }
    let taken: Vec<(PlannedBlob, Result<(), FetchError>)> = stream::iter(offered)
        .map(|blob| async move {
            let wanted = Wanted { expected: blob.descriptor.into(), label: blob.label.clone() };
            let result = client.blob(store, &wanted, &[location(base, &blob)]).await;
            (blob, result.map(|_| ()))
        })
        .buffer_unordered(jobs.max(1))
        .collect()
        .await;
    for (blob, result) in taken {
        match result {
            Ok(()) => {}
            Err(FetchError::Store(error)) if error.is_local() => return Err(error),
            // The transfer's own event has told about it, with the address.
            Err(_) => left.push(blob),
        }
    }
    left.sort_by_key(|blob| (Reverse(blob.descriptor.size), blob.descriptor.digest));
    Ok((left, false))
}

/// Whether the other store has something under the blob's name. Its length is not looked at here: the GET that
/// follows names what is wrong with it.
async fn has(base: &Url, client: &Client, blob: &PlannedBlob) -> Result<bool, FetchError> {
    match client.look(&location(base, blob)).await {
        Ok(_) => Ok(true),
        Err(FetchError::Status { status, .. }) if matches!(status.as_u16(), 403 | 404 | 410) => Ok(false),
        // A server that knows no HEAD.
        Err(FetchError::Status { status, .. }) if matches!(status.as_u16(), 405 | 501) => Ok(true),
        Err(error) => Err(error),
    }
}

fn location(base: &Url, blob: &PlannedBlob) -> Location {
    let mut url = base.clone();
    url.set_path(&format!("{}/blobs/sha256/{}", base.path().trim_end_matches('/'), blob.descriptor.digest.hex()));
    Location::plain(url)
}

/// The error and what is at the bottom of it: `reqwest` wraps "connection refused" four times.
fn chain(error: &FetchError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    match causes.last() {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    }
}

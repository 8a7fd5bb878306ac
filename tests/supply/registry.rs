//! Registries that want to know who asks: tokens, credentials, quotas, and where secrets must not go.

use std::{collections::BTreeMap, sync::Arc};

use ztlab::{
    base::{Descriptor, Event, report::Recording},
    fetch::{Client, DockerConfig, FetchError, Network, Wanted},
    store::{Store, StoredBlob},
};

use crate::{
    lies::network,
    origin::{Fault, LOGIN, Origin, TOKEN},
};

/// A registry, a client, and what the client's user has in Docker's `config.json`.
struct Desk {
    registry: Origin,
    client: Client,
    reporter: Arc<Recording>,
    store: Store,
    folder: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let (registry, folder) = (Origin::start().await, tempfile::tempdir().unwrap());
        let store = Store::open(folder.path().join("store")).unwrap();
        let reporter = Arc::new(Recording::default());
        let client = Client::new(network(), Arc::<Recording>::clone(&reporter) as _).unwrap();
        Self { registry, client, reporter, store, folder }
    }

    /// The user runs `docker login`; `HOST` in the text is the registry's name.
    async fn with_config(text: &str) -> Self {
        let mut desk = Self::new().await;
        fs_err::write(desk.folder.path().join("config.json"), text.replace("HOST", desk.host())).unwrap();
        let folder = desk.folder.path().display().to_string();
        let credentials = DockerConfig::read(&BTreeMap::from([("DOCKER_CONFIG".to_owned(), folder)]));
        let network = Network { credentials, ..network() };
        desk.client = Client::new(network, Arc::<Recording>::clone(&desk.reporter) as _).unwrap();
        desk
    }

    fn host(&self) -> &str {
        self.registry.address().trim_start_matches("http://")
    }

    /// Publishes a blob that needs a token.
    fn publish(&self, bytes: &'static [u8]) -> Descriptor {
        let blob = Descriptor::of(bytes);
        self.registry.serve(&path(&blob), bytes);
        self.registry.want_token(&path(&blob));
        blob
    }

    async fn get(&self, blob: Descriptor) -> Result<StoredBlob, FetchError> {
        self.get_of("lab/app", blob).await
    }

    async fn get_of(&self, repository: &str, blob: Descriptor) -> Result<StoredBlob, FetchError> {
        let reference = format!("{}/{repository}:1", self.host());
        let locations = self.client.blob_locations(&reference, &blob.digest.to_string()).unwrap();
        let wanted = Wanted { expected: blob.into(), label: "layer".to_owned() };
        self.client.blob(&self.store, &wanted, &locations).await
    }

    fn warnings(&self) -> Vec<String> {
        let warning = |event| if let Event::Warning { text } = event { Some(text) } else { None };
        self.reporter.events().into_iter().filter_map(warning).collect()
    }
}

fn path(blob: &Descriptor) -> String {
    format!("/v2/lab/app/blobs/{}", blob.digest)
}

fn password_login() -> String {
    format!(r#"{{"auths":{{"HOST":{{"username":"{}","password":"{}"}}}}}}"#, LOGIN.0, LOGIN.1)
}

#[tokio::test]
async fn one_token_serves_a_repository_and_a_redirect_does_not_carry_it_away() {
    let desk = Desk::new().await;
    let elsewhere = Origin::start().await;
    elsewhere.serve("/cdn/one", "one");
    let (one, two) = (desk.publish(b"one"), desk.publish(b"two"));
    desk.registry.redirect(&path(&one), elsewhere.url("/cdn/one"));
    for blob in [one, two] {
        desk.get(blob).await.unwrap();
    }
    let asked = desk.registry.asked("/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].query, "scope=repository%3Alab%2Fapp%3Apull&service=lab");
    assert_eq!(asked[0].authorization, None, "nothing is configured, so it is asked anonymously");
    let sent: Vec<bool> = desk.registry.asked(&path(&two)).iter().map(|seen| seen.authorization.is_some()).collect();
    assert_eq!(sent, [true], "the token is reused");
    assert_eq!(elsewhere.seen()[0].authorization, None);
}

#[tokio::test]
async fn repositories_keep_their_tokens_side_by_side() {
    let desk = Desk::new().await;
    let (one, two, three) = (desk.publish(b"one"), desk.publish(b"two"), desk.publish(b"three"));
    let other = format!("/v2/lab/other/blobs/{}", two.digest);
    desk.registry.serve(&other, b"two");
    desk.registry.want_token(&other);
    desk.get(one).await.unwrap();
    desk.get_of("lab/other", two).await.unwrap();
    desk.get(three).await.unwrap();
    let scopes: Vec<String> = desk.registry.asked("/token").into_iter().map(|seen| seen.query).collect();
    assert_eq!(scopes.len(), 2, "the second repository's token does not replace the first's: {scopes:?}");
}

#[tokio::test]
async fn r2_survives_an_expired_token_in_the_middle_of_a_blob_and_once_more() {
    let desk = Desk::new().await;
    let blob = desk.publish(b"a layer that takes longer than its token lives");
    desk.registry.faults(&path(&blob), &[Fault::Cut(20), Fault::ExpireToken, Fault::Cut(10), Fault::ExpireToken]);
    desk.get(blob).await.unwrap();
    assert_eq!(desk.registry.asked("/token").len(), 3);
    let asked = desk.registry.asked(&path(&blob));
    let last = asked.last().unwrap();
    assert_eq!(last.authorization.as_deref(), Some(format!("Bearer {TOKEN}-3").as_str()));
    assert_eq!(last.range.as_deref(), Some("bytes=30-45"), "what came with the old tokens is kept");
}

#[tokio::test]
async fn r2_many_tasks_that_meet_one_expired_token_ask_for_one_new() {
    let desk = Desk::new().await;
    let first = desk.publish(b"first");
    desk.get(first).await.unwrap();
    let bodies: [&'static [u8]; 5] = [b"1", b"22", b"333", b"4444", b"55555"];
    let blobs = bodies.map(|body| desk.publish(body));
    desk.registry.faults(&path(&blobs[0]), &[Fault::ExpireToken]);
    desk.get(blobs[0]).await.unwrap();
    for result in futures::future::join_all(blobs.map(|blob| desk.get(blob))).await {
        result.unwrap();
    }
    assert_eq!(desk.registry.asked("/token").len(), 2);
}

#[tokio::test]
async fn a_registry_that_refuses_every_token_is_an_error_and_no_loop() {
    let desk = Desk::new().await;
    let blob = desk.publish(b"private");
    desk.registry.faults(&path(&blob), &vec![Fault::ExpireToken; 9]);
    let error = desk.get(blob).await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status, .. } if status == 401), "{error}");
    assert_eq!(desk.registry.asked(&path(&blob)).len(), 2);
}

#[tokio::test]
async fn credentials_go_to_the_token_service_and_nowhere_else() {
    let desk = Desk::with_config(&password_login()).await;
    desk.registry.want_login();
    let cdn = Origin::start().await;
    cdn.serve("/cdn", "one");
    let one = desk.publish(b"one");
    desk.registry.redirect(&path(&one), cdn.url("/cdn"));
    desk.get(one).await.unwrap();
    let authorization = |path: &str| -> Vec<Option<String>> {
        desk.registry.asked(path).into_iter().map(|seen| seen.authorization).collect()
    };
    assert!(authorization("/token")[0].as_ref().unwrap().starts_with("Basic "));
    assert_eq!(authorization(&path(&one)), [None, Some(format!("Bearer {TOKEN}-1"))]);
    assert_eq!(cdn.seen()[0].authorization, None);
    assert_eq!(desk.warnings(), [""; 0]);
}

#[tokio::test]
async fn a_token_service_that_redirects_is_not_followed() {
    let desk = Desk::with_config(&password_login()).await;
    let elsewhere = Origin::start().await;
    elsewhere.serve("/token", r#"{"token":"stolen"}"#);
    desk.registry.redirect("/token", elsewhere.url("/token"));
    let blob = desk.publish(b"one");
    let error = desk.get(blob).await.unwrap_err();
    assert!(matches!(&error, FetchError::Token { reason, .. } if reason.contains("307")), "{error}");
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn a_cdn_has_no_say_in_where_credentials_go() {
    let desk = Desk::with_config(&password_login()).await;
    let cdn = Origin::start().await;
    cdn.serve("/cdn", "one");
    cdn.want_token("/cdn");
    let one = desk.publish(b"one");
    desk.registry.redirect(&path(&one), cdn.url("/cdn"));
    assert!(matches!(desk.get(one).await.unwrap_err(), FetchError::Status { status, .. } if status == 401));
    assert_eq!(cdn.asked("/token").len(), 0, "its challenge was taken for the registry's");
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_by_post() {
    let desk = Desk::with_config(r#"{"auths":{"HOST":{"identitytoken":"refresh-me"}}}"#).await;
    desk.registry.want_refresh_token("refresh-me");
    desk.get(desk.publish(b"one")).await.unwrap();
    let asked = desk.registry.asked("/token");
    assert_eq!((asked.len(), asked[0].method.as_str(), asked[0].query.as_str()), (1, "POST", ""));
    assert!(asked[0].body.contains("grant_type=refresh_token"), "{}", asked[0].body);
}

#[tokio::test]
async fn a_registry_without_a_token_service_gets_the_password_itself() {
    let desk = Desk::with_config(&password_login()).await;
    let blob = desk.publish(b"one");
    desk.registry.want_password(&path(&blob));
    desk.get(blob).await.unwrap();
    assert_eq!(desk.registry.asked("/token").len(), 0);

    let anonymous = Desk::new().await;
    let blob = anonymous.publish(b"one");
    anonymous.registry.want_password(&path(&blob));
    let error = anonymous.get(blob).await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status, .. } if status == 401), "{error}");
}

#[tokio::test]
async fn an_outdated_login_does_not_keep_public_images_away() {
    let desk = Desk::with_config(r#"{"auths":{"HOST":{"username":"teacher","password":"last-year"}}}"#).await;
    desk.registry.faults("/token", &[Fault::Status(401, None)]);
    desk.registry.serve("/token", format!(r#"{{"token":"{TOKEN}-0"}}"#));
    let blob = Descriptor::of(b"public");
    desk.registry.serve(&path(&blob), "public");
    desk.registry.want_this_token(&path(&blob), &format!("{TOKEN}-0"));
    desk.get(blob).await.unwrap();
    let told = desk.warnings().join("\n");
    assert!(told.contains("does not take the credentials") && !told.contains("last-year"), "{told}");
}

#[tokio::test]
async fn a_quota_is_told_apart_from_a_busy_server_and_not_asked_for_ever() {
    const USED_UP: Fault = Fault::Refuse(
        429,
        &[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")],
        r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#,
    );
    let desk = Desk::new().await;
    let blob = desk.publish(b"one");
    desk.registry.faults(&path(&blob), &vec![USED_UP; 20]);
    let error = desk.get(blob).await.unwrap_err();
    assert!(error.to_string().contains("(limit: 100 pulls in 6 h)"), "{error}");
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    for way in ["--mirror", "--from", "docker login"] {
        assert!(help.contains(way), "{help}");
    }
    assert_eq!(desk.registry.asked(&path(&blob)).len(), 4, "401, and then three 429s");

    desk.registry.faults(&path(&blob), &[USED_UP]);
    desk.get(blob).await.unwrap();
}

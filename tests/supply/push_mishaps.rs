//! A push into a registry that falls silent, refuses, lies or sends elsewhere, and a store that was damaged.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::http::Method;
use ztlab::{
    base::{Descriptor, Digest, report::Recording},
    fetch::{Client, Network, Outgoing, OutgoingBytes, Pushed, RegistryAddress},
    store::Store,
    verb::{Context, push},
};

use crate::{
    bench::code,
    distribution::{Distribution, Door, LOGIN, Mishap, Uploads},
    lies::network,
    push::{CALICO, PAUSE, School},
};

#[tokio::test]
async fn a_registry_that_falls_silent_is_asked_again() {
    let registry = Distribution::start().await;
    registry.mishaps(Method::POST, "/uploads/", &[Mishap::Silence]);
    registry.mishaps(Method::PUT, "/uploads/", &[Mishap::Silence]);
    let network = Network { idle_timeout: Duration::from_millis(200), ..network() };
    let client = Client::new(network, Arc::new(Recording::default())).unwrap();
    let address: RegistryAddress = format!("oci://{}/lab:v1", registry.host()).parse().unwrap();
    let bytes = OutgoingBytes::Memory("layer".into());
    let blob = Outgoing { descriptor: Descriptor::of(b"layer"), label: "layer".to_owned(), bytes };
    let pushed = client.push_blob(&address, "lab/a", &blob, None).await.unwrap();
    assert_eq!(pushed, Pushed::Sent);
    assert!(registry.has("lab/a", blob.descriptor.digest));
}

#[tokio::test]
async fn a_blob_of_another_length_is_another_blob() {
    let school = School::new().await;
    let pushed = school.push().await.unwrap();
    school.registry.mishaps(Method::HEAD, &Digest::of(b"layer of pause").to_string(), &[Mishap::OtherLength]);
    let again = school.push().await.unwrap();
    assert_eq!((again.sent_blobs, again.sent_bytes, again.digest), (1, 14, pushed.digest));
}

#[tokio::test]
async fn a_failure_names_the_part_and_no_tag_promises_what_is_not_there() {
    let school = School::new().await;
    school.registry.mishaps(Method::PUT, &format!("{PAUSE}/blobs/uploads"), &[Mishap::Status(403, None); 9]);
    let error = school.push().await.unwrap_err();
    assert_eq!(code(&error), "push::incomplete");
    let text = format!("{error:?} {}", error.help().unwrap());
    assert!(text.contains(PAUSE) && text.contains("not today (DENIED)") && text.contains("docker login"), "{text}");
    assert_eq!(school.registry.tags(), BTreeSet::new());
    school.registry.mishaps(Method::PUT, "nothing", &[]);
    let school = School { registry: Distribution::start().await, ..school };
    school.registry.mishaps(Method::PUT, &format!("{CALICO}/manifests"), &[Mishap::Status(400, None)]);
    assert_eq!(code(&school.push().await.unwrap_err()), "push::incomplete");
    assert!(!school.registry.tags().contains("lab:v1"), "the lab's own tag comes last");
    school.push().await.unwrap();
}

#[tokio::test]
async fn a_registry_that_says_it_keeps_something_else_is_named() {
    let school = School::new().await;
    school.registry.mishaps(Method::PUT, &format!("{PAUSE}/manifests"), &[Mishap::OtherDigest]);
    let error = school.push().await.unwrap_err();
    assert_eq!(code(&error), "integrity::registry", "{error}");
    let school = School { registry: Distribution::start().await, ..school };
    school.registry.mishaps(Method::PUT, "/blobs/uploads/", &[Mishap::OtherDigest]);
    assert_eq!(code(&school.push().await.unwrap_err()), "integrity::registry");
}

#[tokio::test]
async fn uploads_go_where_the_registry_says_and_credentials_only_to_the_registry() {
    for relative in [false, true] {
        let school = School::new().await;
        school.registry.door(Door::Password);
        school.registry.uploads(if relative { Uploads::Relative } else { Uploads::Here });
        school.push_as(&school.signed_in(LOGIN.1)).await.unwrap();
    }
    for redirected in [false, true] {
        let school = School::new().await;
        let storage = school.registry.storage().await;
        school.registry.door(Door::Password);
        let place = storage.address();
        school.registry.uploads(if redirected { Uploads::Redirected(place) } else { Uploads::At(place) });
        let pushed = school.push_as(&school.signed_in(LOGIN.1)).await.unwrap();
        let asked = storage.asked();
        assert_eq!(asked.len(), pushed.blobs);
        assert!(asked.iter().all(|asked| asked.authorization.is_none()), "another host saw the password");
        assert!(school.registry.tags().contains("lab:v1"));
    }
    let school = School::new().await;
    school.registry.uploads(Uploads::At("http://registry.example".to_owned()));
    let error = school.push().await.unwrap_err();
    let text = format!("{error:?}");
    assert!(code(&error) == "push::incomplete" && text.contains("plain HTTP"), "{text}");
}

#[tokio::test]
async fn tokens_are_asked_for_with_the_right_to_push_and_to_mount() {
    let school = School::new().await;
    school.registry.door(Door::Token);
    let signed_in = school.signed_in(LOGIN.1);
    let pushed = school.push_as(&signed_in).await.unwrap();
    assert_eq!(pushed.mounted_blobs, 1);
    let tokens: Vec<String> =
        school.registry.asked().into_iter().filter(|asked| asked.path == "/token").map(|asked| asked.query).collect();
    assert_eq!(tokens.len(), 5, "one for each of four repositories, and one to mount: {tokens:#?}");
    assert!(tokens.iter().all(|query| query.contains("pull%2Cpush")), "{tokens:#?}");
    assert_eq!(tokens.iter().filter(|query| query.matches("scope=").count() == 2).count(), 1, "{tokens:#?}");

    // A student who may read.
    let laptop = Context { environment: signed_in.environment.clone(), ..school.laptop("signed-in") };
    school.pull(&laptop, &pushed.reference, None).await.unwrap();
    school.complete(&laptop);

    for (context, why) in [(school.bench.context.clone(), "nobody"), (school.signed_in("last-year"), "an old password")]
    {
        let error = school.push_as(&context).await.unwrap_err();
        assert_eq!(code(&error), "push::incomplete", "{why}: {error}");
        let text = format!("{error:?} {}", error.help().unwrap());
        assert!(text.contains("docker login") && !text.contains("last-year"), "{text}");
    }
}

#[tokio::test]
async fn a_damaged_blob_is_named_and_does_not_arrive() {
    let school = School::new().await;
    let layer = Descriptor::of(b"layer of calico");
    let path = Store::open(&school.bench.context.store).unwrap().path_of(&layer.digest);
    for (bytes, found) in
        [(&b"layer of cAlico"[..], Digest::of(b"layer of cAlico").to_string()), (b"layer of c", "10 bytes".to_owned())]
    {
        // While it is being pushed: before that, opening the lab would have found it.
        let request = push::Request {
            destination: school.destination().parse().unwrap(),
            jobs: 1,
            max_rate: None,
            programs: Vec::new(),
        };
        school.registry.forget();
        let (right, watched) = (fs_err::read(&path).unwrap(), school.bench.context.clone());
        let reporter = Arc::new(Spoiler { path: path.clone(), bytes: bytes.to_vec() });
        let error = push::run(&Context { reporter, ..watched }, request).await.unwrap_err();
        assert_eq!(code(&error), "integrity::push", "{error:?}");
        let text = error.to_string();
        assert!(text.contains("image.calico linux-arm64 layer 1") && text.contains(&found), "{text}");
        assert!(!school.registry.has(CALICO, layer.digest));
        fs_err::write(&path, right).unwrap();
    }
    school.push().await.unwrap();
    assert!(school.registry.has(CALICO, layer.digest));
}

/// Spoils a file as soon as the push has begun.
struct Spoiler {
    path: std::path::PathBuf,
    bytes: Vec<u8>,
}

impl ztlab::base::Reporter for Spoiler {
    fn report(&self, event: ztlab::base::Event) {
        if matches!(&event, ztlab::base::Event::Note { text } if text.starts_with("asking ")) {
            fs_err::write(&self.path, &self.bytes).unwrap();
        }
    }
}

#[tokio::test]
async fn a_registry_that_claims_a_blob_is_found_out_by_those_who_fetch() {
    let school = School::new().await;
    let (claimed, spoilt) = (Digest::of(b"layer of pause"), Digest::of(b"layer of calico"));
    school.registry.claim(claimed);
    school.push().await.unwrap();
    assert!(!school.registry.has(PAUSE, claimed));
    school.registry.spoil(spoilt, b"layer of cAlico");
    let laptop = school.laptop("cheated");
    let pulled = school.pull(&laptop, &school.destination(), None).await.unwrap();
    school.complete(&laptop);
    let registry = &pulled.fetched.sources[0];
    let dropped = registry.dropped.as_ref().unwrap();
    assert!(dropped.lied && dropped.what.contains("image.calico"), "{dropped:?}");
    let seen: Vec<String> = school.bench.origin.seen().into_iter().map(|seen| seen.path).collect();
    assert!(seen.iter().any(|path| path.ends_with(&claimed.to_string())), "upstream has what the registry lacks");
}

#[tokio::test]
async fn offline_asks_nothing_and_a_place_without_tls_has_to_be_written_down() {
    let school = School::new().await;
    let offline = Context { offline: true, ..school.bench.context.clone() };
    assert_eq!(code(&school.push_as(&offline).await.unwrap_err()), "fetch::offline");
    let laptop = Context { offline: true, ..school.laptop("offline") };
    assert_eq!(code(&school.pull(&laptop, &school.destination(), None).await.unwrap_err()), "fetch::offline");
    assert_eq!(school.registry.asked().len(), 0);
    let digest = format!("{}@{}", school.destination(), Digest::of(b"a"));
    let request = push::Request { destination: digest.parse().unwrap(), jobs: 4, max_rate: None, programs: Vec::new() };
    assert_eq!(code(&push::run(&school.bench.context, request).await.unwrap_err()), "usage::registry");
}

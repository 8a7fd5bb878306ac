//! From one profile to another.

use serde_json::json;
use ztlab::{base::Descriptor, lockfile, step::journal::Journal, store::Store, verb};

use crate::machine::Machine;

const EVERYTHING: [&str; 5] = [
    "ConfigMap kube-system/ztlab-receipt",
    "Deployment istio-system/grafana",
    "Deployment somebody/elses",
    "Deployment webapp/backend",
    "Deployment webapp/loadtest",
];

#[tokio::test]
async fn going_to_the_small_lab_takes_away_what_is_ours_and_not_in_it() {
    let machine = Machine::new("full").await;
    assert_eq!(machine.pruned(None).await.unwrap(), "full");
    assert_eq!(machine.cluster.names(), EVERYTHING, "an install of what is there takes nothing away");
    assert_eq!(machine.pruned(Some("small")).await.unwrap(), "small");
    assert_eq!(
        machine.cluster.names(),
        ["ConfigMap kube-system/ztlab-receipt", "Deployment somebody/elses", "Deployment webapp/backend"]
    );
}

#[tokio::test]
async fn a_profile_stays_until_another_one_is_named() {
    let machine = Machine::new("small").await;
    let planned = async |profile| {
        let planned = verb::plan::run(&machine.context, Machine::target(), Machine::options(profile)).await.unwrap();
        let images: Vec<String> = planned.images.iter().map(|image| image.reference.clone()).collect();
        (planned.profile.name, images.len(), images.contains(&"docker.io/grafana/grafana:9.5.5".to_owned()))
    };
    assert_eq!(planned(None).await, ("small".to_owned(), 4, false), "as the receipt says");
    assert_eq!(planned(Some("full")).await, ("full".to_owned(), 5, true));
    // What was set out for last counts, once there is no receipt to ask.
    machine.pruned(Some("small")).await.unwrap();
    fs_err::remove_file(machine.folder.path().join("kubeconfig")).unwrap();
    assert_eq!(planned(None).await.0, "small", "as the journal says");
}

#[tokio::test]
async fn what_was_begun_in_an_earlier_cluster_of_the_same_name_says_nothing_of_the_new_one() {
    let machine = Machine::new("small").await;
    let is = |uid: &str| {
        let metadata = json!({"name": "kube-system", "uid": uid});
        machine.cluster.put("Namespace", "", "kube-system", false, json!({"metadata": metadata}));
    };
    let planned = async || {
        verb::plan::run(&machine.context, Machine::target(), Machine::options(None)).await.unwrap().profile.name
    };
    is("first");
    machine.pruned(Some("small")).await.unwrap();
    assert_eq!(planned().await, "small");
    // The cluster is wiped: no receipt, and another identity behind the same context.
    machine.cluster.remove("/api/v1/namespaces/kube-system/configmaps/ztlab-receipt");
    assert_eq!(planned().await, "small", "the same cluster, and this was last installed there");
    is("second");
    assert_eq!(planned().await, "full");
    let key = format!("--context lab of {}", machine.folder.path().join("kubeconfig").display());
    let journal = Journal::open(&machine.context.journals, &key, &machine.lock().lab_id().to_string()).unwrap();
    journal.begin(None).unwrap();
    drop(journal);
    assert_eq!(planned().await, "full", "an install that was killed there is not gone on with here");
    is("first");
    assert_eq!(planned().await, "small", "in the old cluster it is");
}

#[tokio::test]
async fn the_small_lab_needs_no_blob_of_what_it_leaves_out() {
    let machine = Machine::new("small").await;
    let store = Store::open(&machine.context.store).unwrap();
    fs_err::remove_file(store.path_of(&Descriptor::of(b"layer of grafana").digest)).unwrap();
    assert_eq!(machine.pruned(None).await.unwrap(), "small");
    let error = machine.pruned(Some("full")).await.unwrap_err();
    assert!(error.to_string().contains("image.grafana"), "{error}");
    let mut pending = machine.lock();
    pending.image.get_mut("grafana").unwrap().platforms.clear();
    lockfile::save(&machine.context.lock_path(), &pending).unwrap();
    assert_eq!(machine.pruned(Some("small")).await.unwrap(), "small", "nor that it is pinned");
}

#[tokio::test]
async fn a_dashboard_that_was_left_out_is_not_looked_for() {
    let machine = Machine::new("small").await;
    let open = async |dashboard| {
        verb::open::run(&machine.context, &Machine::target(), dashboard, Some(0)).await.err().unwrap().to_string()
    };
    let told = open(verb::open::Dashboard::Grafana).await;
    assert_eq!(told, "there is no grafana: the lab was installed in its profile small, which leaves it out");
    assert!(!open(verb::open::Dashboard::App).await.contains("profile"), "the app is in every profile");
}

#[tokio::test]
async fn a_profile_that_the_lab_does_not_have_is_refused_with_the_other_option() {
    let machine = Machine::new("full").await;
    let error = machine.pruned(Some("ztlab2")).await.unwrap_err();
    assert_eq!(error.to_string(), "this lab has no profile `ztlab2`: expected one of full, small");
    assert!(error.help().unwrap().to_string().contains("`--cluster ztlab2`"));
}

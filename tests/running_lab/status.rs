//! What `status` says of a lab that runs, and of one in which one thing is wrong.

use serde_json::{Value, json};
use ztlab::{
    base::Descriptor,
    step::journal::Journal,
    verb::status::{self, Standing, Status},
};

use crate::machine::Machine;

fn pod(app: &str, ready: bool, image_id: &str) -> Value {
    let state = if ready {
        json!({"running": {}})
    } else {
        json!({"waiting": {"reason": "ImagePullBackOff", "message": "not here"}})
    };
    let image = if app == "backend" { "docker.io/library/backend:1" } else { "docker.io/curlimages/curl:8.5.0" };
    json!({
        "metadata": {"name": format!("{app}-1"), "namespace": "webapp", "labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": image}]},
        "status": {
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "containerStatuses": [{"name": "c", "image": image, "imageID": image_id, "ready": ready, "restartCount": 0, "state": state}]
        }
    })
}

/// The lab as it should be.
async fn running() -> Machine {
    let machine = Machine::new("full").await;
    let cluster = &machine.cluster;
    let condition = json!({"type": "Ready", "status": "True"});
    cluster.put("Node", "", "n", false, json!({"metadata": {"name": "n"}, "status": {"conditions": [condition]}}));
    for (app, image, locked) in
        [("backend", "docker.io/library/backend:1", "backend"), ("loadtest", "docker.io/curlimages/curl:8.5.0", "curl")]
    {
        let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": app}},
            "template": {"spec": {"containers": [{"name": "c", "image": image}]}}});
        cluster.put("Deployment", "webapp", app, true, json!({"spec": spec}));
        let id = Descriptor::of(format!("config of {locked}").as_bytes()).digest;
        cluster.put("Pod", "webapp", &format!("{app}-1"), false, pod(app, true, &format!("docker://{id}")));
    }
    machine
}

async fn look(machine: &Machine, profile: Option<&str>) -> Status {
    status::run(&machine.context, &Machine::target(), profile).await.unwrap()
}

/// The one part that is wrong; panics when another number is.
fn wrong(status: &Status) -> (&'static str, &str) {
    let wrong: Vec<_> = status.parts.iter().filter(|part| part.standing == Standing::Wrong).collect();
    let [part] = wrong.as_slice() else { panic!("{status:#?}") };
    assert!(part.fix.as_ref().is_some_and(|fix| fix.contains('`')), "no command to type: {part:?}");
    (part.part, &part.found)
}

fn code(status: &Status) -> String {
    status.verdict().err().and_then(|error| error.code().map(|code| code.to_string())).unwrap_or_default()
}

#[tokio::test]
async fn a_lab_as_it_should_be_is_called_so_and_nothing_is_changed() {
    let machine = running().await;
    let before = machine.cluster.names();
    let status = look(&machine, None).await;
    assert_eq!(code(&status), "", "{status:#?}");
    let parts: Vec<_> = status.parts.iter().map(|part| (part.part, part.standing)).collect();
    let good = ["cluster", "lab", "install", "nodes", "pods", "drift"].map(|part| (part, Standing::Good));
    assert_eq!(parts[..6], good);
    assert_eq!(parts[6], ("proof", Standing::Unknown), "nobody has proved it yet");
    assert!(status.parts[0].found.contains("v1.28.3") && status.parts[4].found == "2 ready", "{status:#?}");
    assert_eq!((status.profile.as_str(), machine.cluster.names()), ("full", before));
    assert!(!machine.context.journals.exists(), "a look leaves no journal");
}

#[tokio::test]
async fn each_thing_that_is_wrong_is_told_alone() {
    let machine = running().await;
    machine.cluster.put("Node", "", "n", false, json!({"metadata": {"name": "n"}, "status": {"conditions": []}}));
    assert_eq!(wrong(&look(&machine, None).await), ("nodes", "n is not ready"));

    let machine = running().await;
    let id = Descriptor::of(b"config of curl").digest;
    let waiting = pod("loadtest", false, &format!("docker://{id}"));
    machine.cluster.put("Pod", "webapp", "loadtest-1", false, waiting);
    let status = look(&machine, None).await;
    let (part, found) = wrong(&status);
    assert!(part == "pods" && found.starts_with("1 of 2 ready; webapp/loadtest-1: the node has no image"), "{found}");
    assert_eq!(code(&status), "status::differs");

    let machine = running().await;
    let other = Descriptor::of(b"somebody's own").digest;
    machine.cluster.put("Pod", "webapp", "backend-1", false, pod("backend", true, &format!("docker://{other}")));
    let status = look(&machine, None).await;
    let (part, found) = wrong(&status);
    assert!(part == "drift" && found.contains("cluster → running"), "{found}");

    let machine = running().await;
    assert_eq!(wrong(&look(&machine, Some("small")).await).0, "lab", "another profile was asked for than is there");
}

#[tokio::test]
async fn another_lab_a_missing_receipt_and_a_failed_proof_are_told() {
    let machine = running().await;
    let receipt = |lab_id: &str| {
        json!({"lab": "two", "lab_id": lab_id, "profile": "full", "version": {}, "images": {}}).to_string()
    };
    let own = machine.lock().lab_id().to_string();
    let probes = json!({"lab_id": own, "profile": "full", "probes": {"gateway": "passed", "plaintext": "failed"}});
    let data = |data: Value| json!({"data": data});
    let put = |value: Value| machine.cluster.put("ConfigMap", "kube-system", "ztlab-receipt", true, value);
    put(data(json!({"receipt.json": receipt(&own), "probes.json": probes.to_string()})));
    assert_eq!(wrong(&look(&machine, None).await), ("proof", "the last `ztlab verify` failed in plaintext"));
    put(data(json!({"receipt.json": receipt("sha256:0123456789abcdef")})));
    let status = look(&machine, None).await;
    assert!(wrong(&status).0 == "lab" && wrong(&status).1.contains("the lock here is lab"), "{status:#?}");
    put(data(json!({})));
    assert_eq!(wrong(&look(&machine, None).await), ("lab", "there is no receipt: no install came to its end"));
}

#[tokio::test]
async fn an_install_that_was_broken_off_and_a_cluster_that_is_silent_are_told() {
    let machine = running().await;
    let kubeconfig = machine.folder.path().join("kubeconfig");
    let key = format!("--context lab of {}", kubeconfig.display());
    let journal = Journal::open(&machine.context.journals, &key, &machine.lock().lab_id().to_string()).unwrap();
    journal.begin(None).unwrap();
    let broken = look(&machine, None).await;
    assert_eq!(wrong(&broken), ("install", "the last run from here is under way, or was broken off"));
    journal.end().unwrap();

    let text = fs_err::read_to_string(&kubeconfig).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = text.split("server: '").nth(1).unwrap().split('\'').next().unwrap();
    fs_err::write(&kubeconfig, text.replace(server, &format!("http://{port}"))).unwrap();
    let status = look(&machine, None).await;
    assert_eq!(wrong(&status).0, "cluster");
    assert_eq!((code(&status).as_str(), status.parts.len()), ("status::unreachable", 2));
}

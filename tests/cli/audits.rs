//! `lock audit`: each difference between what is asked for and what is locked, as a maintainer sees it.

use crate::home::{Home, Ran};

const LOCK: &str = "lab/lock/ztlab.lock";

/// The shipped lab, manifests included.
fn home() -> Home {
    let home = Home::with_shipped_lab();
    home.copy_of_project(&["manifests", "istio"]);
    home
}

fn audit(home: &Home) -> Ran {
    home.run(&["lock", "audit"])
}

/// What stands above the summary, whose lab id changes with every byte of the shipped lock.
fn found(ran: &Ran) -> String {
    let lines: Vec<&str> = ran.stdout.lines().take_while(|line| !line.starts_with("lab ")).collect();
    lines.into_iter().filter(|line| !line.starts_with("not in the store, known")).collect::<Vec<_>>().join("\n")
}

/// Replaces the block of an entry in the lock.
fn replace_block(home: &Home, entry: &str, with: &str) {
    let text = fs_err::read_to_string(home.path(LOCK)).unwrap();
    let start = text.find(&format!("[{entry}]\n")).unwrap();
    let end = text[start..].find("\n\n").map_or(text.len(), |length| start + length + 2);
    home.write(LOCK, &format!("{}{with}{}", &text[..start], &text[end..]));
}

#[test]
fn the_shipped_lock_is_what_the_shipped_lab_asks_for() {
    let ran = audit(&home());
    assert_eq!((ran.exit, ran.stderr.as_str(), found(&ran).as_str()), (0, "", ""), "{}", ran.stdout);
    let askers: Vec<&str> = ran.stdout.lines().skip_while(|line| !line.starts_with("lab ")).skip(1).collect();
    insta::assert_snapshot!(askers.join("\n"), @"
      Calico's operator 1.32.3               7
      Istio 1.20.0's charts                  3
      Istio 1.20.0's injection               6
      Minikube 1.32.0                        12
      file.istio member grafana              1
      file.istio member kiali                1
      file.istio member prometheus           2
      manifest.tigera-operator               1
      manifests/02-backend-deployment.yaml   1
      manifests/04-frontend-deployment.yaml  1
      manifests/06-loadtest.yaml             1
      ztlab install                          1
      ztlab verify                           1
    profile full: 28 images, closed: what is asked for, and nothing else
    profile no-addons: 24 images, closed: what is asked for, and nothing else
    profile small: 21 images, closed: what is asked for, and nothing else
    ");
}

/// Each list is closed: what such a lab asks for is in it, and nothing else is.
#[test]
fn each_profile_of_the_shipped_lab_is_closed() {
    let home = home();
    let ran = home.run(&["--json", "lock", "audit"]);
    let line: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let profiles = line["outcome"]["profiles"].as_array().unwrap();
    let told: Vec<_> =
        profiles.iter().map(|one| (one["profile"].as_str().unwrap(), one["closed"].as_bool().unwrap())).collect();
    assert_eq!(told, [("full", true), ("no-addons", true), ("small", true)]);
}

#[test]
fn what_a_profile_forgets_to_leave_out_and_what_it_must_not_are_found() {
    let home = home();
    let small = |from: &str, to: &str| {
        let text = fs_err::read_to_string(home.path(LOCK)).unwrap();
        let (before, after) = text.split_at(text.find("[profile.small]").unwrap());
        assert!(after.contains(from), "{from}");
        home.write(LOCK, &format!("{before}{}", after.replacen(from, to, 1)));
    };
    small("\"image.kiali\", ", "");
    small("\"image.calico-csi\"", "\"image.calico-cni\", \"image.calico-csi\"");
    let ran = audit(&home);
    assert_eq!(ran.exit, 11);
    insta::assert_snapshot!(found(&ran), @r#"
    entry                         rule      found                                                        allowed
    docker.io/calico/cni:v3.27.0  unlocked  in the profile small: asked for by Calico's operator 1.32.3  what [profile.small] does not leave out
        where: DaemonSet calico-system/calico-node, init container install-cni (tigera/operator v1.32.3, pkg/components/calico.go and pkg/render/node.go:1141)
        fix: take the image out of `without` of [profile.small] in lock/ztlab.toml, or leave out what asks for it too
    image.kiali                   unasked   in the profile small: locked, and nobody asks for it         what the profile small asks for
        fix: add "image.kiali" to `without` of [profile.small] in lock/ztlab.toml, then `ztlab lock`
    "#);
    small("\"file.istio.grafana\"", "\"deployment.webapp.stress\", \"file.istio.grafana\"");
    let ran = audit(&home);
    assert_eq!(ran.exit, 2);
    insta::assert_snapshot!(ran.stderr, @r"
    error: the profile small leaves out deployment.webapp.stress, and no file of manifests/ has it
      next: correct [profile.small] in lock/ztlab.toml (`deployment.NAMESPACE.NAME`), then `ztlab lock`
      more: ztlab explain lab::profile
    ");
}

#[test]
fn an_image_that_the_operator_makes_is_missed() {
    let home = home();
    replace_block(&home, "image.calico-typha", "");
    let ran = audit(&home);
    assert_eq!(ran.exit, 11);
    insta::assert_snapshot!(found(&ran), @r#"
    entry                           rule      found                                  allowed
    docker.io/calico/typha:v3.27.0  unlocked  asked for by Calico's operator 1.32.3  locked is no tag of it
        where: Deployment calico-system/calico-typha, container calico-typha (tigera/operator v1.32.3, pkg/components/calico.go and pkg/render/typha.go:515)
        fix: add [image.typha] with ref = "docker.io/calico/typha:v3.27.0" to lock/ztlab.toml, then `ztlab lock`
    "#);
    insta::assert_snapshot!(ran.stderr, @"
    error: what is asked for and what is locked differ: 1 finding
      next: mend each as the table says, then `ztlab lock audit` again
      more: ztlab explain lock::audit
    ");
}

#[test]
fn an_image_that_is_injected_is_missed() {
    let home = home();
    replace_block(&home, "image.istio-proxyv2", "");
    let ran = audit(&home);
    assert_eq!(ran.exit, 11);
    insta::assert_snapshot!(found(&ran), @r#"
    entry                           rule      found                                           allowed
    docker.io/istio/proxyv2:1.20.0  unlocked  asked for by Istio 1.20.0's charts, and 7 more  locked is no tag of it
        where: Deployment istio-system/istio-egressgateway, container istio-proxy (istio/istio 1.20.0, manifests/charts/gateways/istio-egress/templates/deployment.yaml:92, profile demo)
        fix: add [image.proxyv2] with ref = "docker.io/istio/proxyv2:1.20.0" to lock/ztlab.toml, then `ztlab lock`
    "#);
}

#[test]
fn a_manifest_that_moved_on_alone_is_found_both_ways() {
    let home = home();
    home.edit("lab/manifests/04-frontend-deployment.yaml", "simple-frontend:v2", "simple-frontend:v3");
    let ran = audit(&home);
    assert_eq!(ran.exit, 11);
    insta::assert_snapshot!(found(&ran), @"
    entry                                 rule      found                                               allowed
    docker.io/library/simple-frontend:v3  unlocked  asked for by manifests/04-frontend-deployment.yaml  locked is docker.io/library/simple-frontend:v2
        where: Deployment webapp/frontend, container frontend (spec.template.spec.containers[0])
        fix: make both name the same tag: the version in lock/ztlab.toml, or what asks; then `ztlab lock`
    app.frontend                          unasked   locked, and nobody asks for it                      what something asks for
        fix: remove [app.frontend] from lock/ztlab.toml, then `ztlab lock`; or add what was to use it
    ");
}

#[test]
fn what_nobody_asks_for_is_found() {
    let home = home();
    let block = "[image.busybox]\nwant = \"docker.io/library/busybox:1.36\"\npending = [\"linux-arm64 manifest\"]\n\n[image.calico-cni]\n";
    home.edit(LOCK, "[image.calico-cni]\n", block);
    let ran = audit(&home);
    assert_eq!(ran.exit, 11);
    insta::assert_snapshot!(found(&ran), @"
    entry          rule     found                           allowed
    image.busybox  unasked  locked, and nobody asks for it  what something asks for
        fix: remove [image.busybox] from lock/ztlab.toml, then `ztlab lock`; or add what was to use it
    ");
}

#[test]
fn a_program_of_another_kubernetes_is_found() {
    let home = home();
    let text = fs_err::read_to_string(home.path(LOCK)).unwrap();
    home.write(
        LOCK,
        &text
            .replace("v1.28.3/bin/linux/arm64/kubelet", "v1.28.2/bin/linux/arm64/kubelet")
            .replace("v1.28.3/bin/{os}/{arch}/kubelet", "v1.28.2/bin/{os}/{arch}/kubelet"),
    );
    let ran = audit(&home);
    assert_eq!(ran.exit, 11);
    insta::assert_snapshot!(found(&ran), @"
    entry           rule      found                           allowed
    kubelet 1.28.3  unlocked  asked for by Minikube 1.32.0    locked is https://dl.k8s.io/release/v1.28.2/bin/{os}/{arch}/kubelet
        where: kubelet in the node (kubernetes/minikube v1.32.0, pkg/minikube/constants/constants.go:200)
        fix: give [tool.kubelet] in lock/ztlab.toml the address of version 1.28.3, then `ztlab lock`
    tool.kubelet    unasked   locked, and nobody asks for it  what something asks for
        fix: remove [tool.kubelet] from lock/ztlab.toml, then `ztlab lock`; or add what was to use it
    ");
}

#[test]
fn a_version_that_nobody_has_read_is_not_passed() {
    let home = home();
    home.edit(LOCK, "\nistio = \"1.20.0\"\n", "\nistio = \"1.99.0\"\n");
    home.edit(LOCK, "\nkubernetes = \"1.28.3\"\n", "\nkubernetes = \"1.31.0\"\n");
    let ran = audit(&home);
    assert_eq!(ran.exit, 11);
    insta::assert_snapshot!(found(&ran), @"
    entry                                    rule     found                             allowed
    Kubernetes 1.31.0 under Minikube 1.32.0  unknown  nobody has read what it asks for  1.28.3, 1.28.2, 1.28.1, 1.28.0
        fix: take a version that is known, or add a row with its source to src/demand; `ztlab install --record FILE` shows what a cluster really asked for
    Istio 1.99.0                             unknown  nobody has read what it asks for  1.20.0, 1.20.1, 1.20.2, 1.20.3, 1.20.4, 1.20.5, 1.20.6, 1.20.7, 1.20.8
        fix: take a version that is known, or add a row with its source to src/demand; `ztlab install --record FILE` shows what a cluster really asked for
    asked for by nobody who was looked at: tool.kubeadm, tool.kubectl-node, tool.kubelet, tool.minikube, image.coredns, image.etcd, image.istio-pilot, image.istio-proxyv2, image.kicbase, image.kube-apiserver, image.kube-controller-manager, image.kube-proxy, image.kube-scheduler, image.pause, image.storage-provisioner
    ");
}

#[test]
fn yaml_that_nobody_has_seen_is_said_not_to_be_looked_at() {
    let home = home();
    // Other bytes than those that are known: somebody has to read them.
    home.edit(LOCK, "87dfa1a3f329ccbc", "00dfa1a3f329ccbc");
    let ran = audit(&home);
    assert_eq!(ran.exit, 20);
    insta::assert_snapshot!(found(&ran), @"
    not in the store, so not looked at: file.istio member prometheus
    asked for by nobody who was looked at: image.configmap-reload, image.prometheus
    ");
    insta::assert_snapshot!(ran.stderr, @"
    error: not everything could be looked at: the store has no file.istio member prometheus
      next: `ztlab fetch` brings it (`ztlab fetch --only NAME` just that); then `ztlab lock audit` again
      more: ztlab explain lock::unseen
    ");
}

#[test]
fn machines_are_told_who_asks_and_where_that_is_written() {
    let ran = home().run(&["lock", "audit", "--json"]);
    let line: serde_json::Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    let answered = line["outcome"]["answered"].as_array().unwrap();
    let typha = answered.iter().find(|one| one["entries"][0] == "image.calico-typha").unwrap();
    insta::assert_json_snapshot!(typha, @r#"
    {
      "wanted": "docker.io/calico/typha:v3.27.0",
      "entries": [
        "image.calico-typha"
      ],
      "asks": [
        {
          "wanted": {
            "image": "docker.io/calico/typha:v3.27.0"
          },
          "who": "Calico's operator 1.32.3",
          "place": "Deployment calico-system/calico-typha, container calico-typha",
          "source": "tigera/operator v1.32.3, pkg/components/calico.go and pkg/render/typha.go:515",
          "step": "calico",
          "shows": "pod"
        }
      ]
    }
    "#);
}

/// A record of the shipped lab in a cluster that was there before: what the pods of `webapp` asked for.
fn record(home: &Home, lab_id: &str) {
    let container = |name: &str, image: &str| serde_json::json!({"namespace": "webapp", "owner": "Deployment backend", "container": format!("container {name}"), "image": image});
    let record = serde_json::json!({
        "schema": 1, "lab": "zero-trust-2pod", "lab_id": lab_id, "own_cluster": false, "node_images": {},
        "containers": [
            container("backend", "docker.io/library/simple-backend:v1"),
            container("miner", "docker.io/evil/miner:1"),
        ],
    });
    home.write("record.json", &record.to_string());
}

#[test]
fn a_recorded_cluster_is_compared_both_ways() {
    let home = home();
    let audited = home.run(&["lock", "audit", "--json"]).stdout;
    let line: serde_json::Value = serde_json::from_str(audited.lines().next().unwrap()).unwrap();
    record(&home, line["outcome"]["lab_id"].as_str().unwrap());
    let ran = home.run(&["lock", "audit", "--recorded", "../record.json"]);
    assert_eq!(ran.exit, 11);
    let found = found(&ran);
    let of_miner: Vec<&str> = found.lines().skip_while(|line| !line.contains("miner")).take(6).collect();
    insta::assert_snapshot!(of_miner.join("\n"), @"
    docker.io/evil/miner:1                          recorded-unlocked  the cluster asked for it                      what is locked
        where: Deployment backend in webapp, container miner
        fix: add it to lock/ztlab.toml, then `ztlab lock`; or take away what asked for it
    docker.io/evil/miner:1                          unforeseen         the cluster asked for it                      what somebody is known to ask for
        where: Deployment backend in webapp, container miner
        fix: find out who made the pod; what an upstream program makes belongs into src/demand with its source
    ");
    assert!(found.contains("docker.io/calico/typha:v3.27.0") && found.contains("not-recorded"), "{found}");
    assert!(!found.contains("simple-backend"), "asked for and foreseen: {found}");
}

#[test]
fn a_record_of_another_lock_is_refused() {
    let home = home();
    record(&home, &format!("sha256:{}", "0".repeat(64)));
    let ran = home.run(&["lock", "audit", "--recorded", "../record.json"]);
    assert_eq!(ran.exit, 2);
    assert!(
        ran.stderr.starts_with("error: the record is of lab 000000000000, and this lock is lab "),
        "{}",
        ran.stderr
    );
    home.write("record.json", "{\"schema\": 1, \"pods\": []}");
    let other = home.run(&["lock", "audit", "--recorded", "../record.json"]);
    assert!(other.stderr.contains("is no record of this ztlab: unknown field `pods`"), "{}", other.stderr);
    assert_eq!(home.run(&["lock", "audit", "--recorded", "nowhere.json"]).exit, 2);
}

#[test]
fn why_an_image_is_there() {
    let home = home();
    let ran = home.run(&["lock", "why", "calico-typha"]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    let intent = fs_err::read_to_string(home.path("lab/lock/ztlab.toml")).unwrap();
    let line = intent.lines().position(|line| line == "[image.calico-typha]").unwrap() + 1;
    assert!(ran.stdout.contains(&format!("\n  intent    lock/ztlab.toml:{line}:8\n")), "{}", ran.stdout);
    // The line moves with the shipped intent, and bytes become known with the lock.
    let stays = |line: &&str| !line.starts_with("  costs") && !line.starts_with("  intent");
    let lines: Vec<&str> = ran.stdout.lines().filter(stays).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    image.calico-typha  docker.io/calico/typha:v3.27.0
      asked by  Calico's operator 1.32.3: Deployment calico-system/calico-typha, container calico-typha (tigera/operator v1.32.3, pkg/components/calico.go and pkg/render/typha.go:515)
      used by   preload: into the node's runtime, and read back by digest
      from      docker.io/calico/typha:v3.27.0
    ");
    let by_reference = home.run(&["lock", "why", "calico/typha:v3.27.0"]);
    assert_eq!(by_reference.stdout, ran.stdout);
}

#[test]
fn why_a_base_image_and_a_wheel_are_there() {
    let home = home();
    let python = home.run(&["lock", "why", "image.python"]).stdout;
    assert!(python.contains("used by  fetch: app.backend is built on it"), "{python}");
    let wheel = home.run(&["lock", "why", "werkzeug"]).stdout;
    assert!(wheel.contains("used by  fetch: app.backend is built with it"), "{wheel}");
    assert!(
        wheel.contains("what these require is not known, because they are not in the store: wheel.blinker"),
        "{wheel}"
    );
}

#[test]
fn why_knows_an_entry_by_a_digest_of_it() {
    let home = Home::with_small_lab();
    let ran = home.run(&["lock", "why", "6dcd4ce23d88"]);
    insta::assert_snapshot!(ran.stdout, @"
    manifest.operator  https://upstream.invalid/v3.27.0/operator.yaml
      intent   lock/ztlab.toml:9:11
      used by  calico: applied as it is
      from     https://upstream.invalid/v3.27.0/operator.yaml
      costs    12 B: 12 B alone

    may ask as well, and was not looked at: manifest.operator
    ");
    let unknown = home.run(&["lock", "why", "00d4ce23d88e"]);
    assert_eq!(unknown.exit, 2);
    assert!(unknown.stderr.contains("`00d4ce23d88e` is no entry of this lab"), "{}", unknown.stderr);
}

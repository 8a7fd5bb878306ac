//! Planted faults: a machine that is fit, with one thing wrong at a time. Each has to be found by its own check, with
//! the fix to type, and nothing else may be called a fault for it.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{
    Container, Docker, DockerInfo, Facts, Finding, Grade, Kubeconfig, MinikubeHome, Needs, Profile, Route, Smaller,
    gather::{container, ignored_variables},
    judge,
};

/// Docker Desktop 4.5x on an Apple silicon Mac, by the field names of moby v28.5.2; what is not read is cut.
const DESKTOP: &str = r#"{"ID":"7f1c","Containers":1,"Images":12,"Driver":"overlayfs",
"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]],"MemTotal":8321794048,"NCPU":8,"KernelVersion":"6.10.14-linuxkit",
"OperatingSystem":"Docker Desktop","OSType":"linux","Architecture":"aarch64","ServerVersion":"28.5.2","DockerRootDir":"/var/lib/docker",
"SystemTime":"2026-11-28T18:00:00.5Z","SecurityOptions":["name=seccomp,profile=unconfined","name=cgroupns"],"ServerErrors":null,"Warnings":null}"#;

fn needs() -> Needs {
    Needs {
        cluster: "ztlab".to_owned(),
        profile: "full".to_owned(),
        memory: 6144 << 20,
        smaller: vec![Smaller { profile: "small".to_owned(), memory: 3072 << 20 }],
        cpus: 4,
        architecture: "arm64".to_owned(),
        kubernetes: Some("v1.28.3".to_owned()),
        pod_cidr: "10.244.0.0/16".to_owned(),
        store_bytes: 1 << 30,
        node_bytes: 1500 << 20,
    }
}

fn fit() -> Facts {
    Facts {
        system: "macos".to_owned(),
        translated: Some(false),
        docker: DockerInfo::read(DESKTOP),
        endpoint: Some("unix:///Users/a/.docker/run/docker.sock".to_owned()),
        clock_offset: Some(0),
        docker_free: Some(40 << 30),
        store_free: Some(100 << 30),
        minikube: MinikubeHome { path: "/Users/a/.minikube".into(), ..MinikubeHome::default() },
        volume: Some(false),
        kubeconfig: Kubeconfig::Read { path: "/Users/a/.kube/config".into(), locked: None, server: None },
        routes: vec![Route { network: Ipv4Addr::new(192, 168, 1, 0), length: 24, interface: "en0".to_owned() }],
        ..Facts::default()
    }
}

/// The same machine with something else in Docker's answer.
fn docker(facts: &mut Facts, change: impl FnOnce(&mut DockerInfo)) {
    let Docker::Answered(info) = &mut facts.docker else { panic!("Docker answers") };
    change(info);
}

fn route(facts: &mut Facts, network: [u8; 4], length: u32, interface: &str) {
    facts.routes.push(Route { network: network.into(), length, interface: interface.to_owned() });
}

fn present(driver: &str, kubernetes: &str, runtime: &str) -> Profile {
    let [driver, kubernetes, runtime] = [driver, kubernetes, runtime].map(str::to_owned);
    Profile::Present { driver, kubernetes, runtime, memory: Some(6144) }
}

fn kubeconfig(locked: Option<&str>, server: Option<&str>) -> Kubeconfig {
    let path = "/Users/a/.kube/config".into();
    Kubeconfig::Read { path, locked: locked.map(Into::into), server: server.map(str::to_owned) }
}

type Plant = fn(&mut Facts);

/// What is planted, the check that finds it, how much it matters, a part of the fix.
const PLANTED: &[(Plant, &str, Grade, &str)] = &[
    (|facts| facts.translated = Some(true), "rosetta", Grade::Fault, "stable-aarch64-apple-darwin"),
    (|facts| facts.docker = Docker::Absent, "docker", Grade::Fault, "brew install --cask docker"),
    (
        |facts| {
            facts.docker = DockerInfo::read(
                r#"{"ServerErrors":["Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"]}"#,
            )
        },
        "docker",
        Grade::Fault,
        "open -a Docker",
    ),
    (
        |facts| {
            facts.docker =
                Docker::Silent("permission denied while trying to connect to the Docker daemon socket".to_owned())
        },
        "docker",
        Grade::Fault,
        "usermod -aG docker",
    ),
    (|facts| facts.docker = DockerInfo::read("<html>"), "docker", Grade::Fault, "open -a Docker"),
    (
        |facts| facts.endpoint = Some("ssh://me@build.example".to_owned()),
        "docker-context",
        Grade::Fault,
        "docker context use",
    ),
    (
        |facts| docker(facts, |info| info.os_type = "windows".to_owned()),
        "docker-kind",
        Grade::Fault,
        "Switch to Linux containers",
    ),
    (
        |facts| docker(facts, |info| info.security_options = Some(vec!["name=rootless".to_owned()])),
        "docker-kind",
        Grade::Fault,
        "docker context use default",
    ),
    (|facts| docker(facts, |info| info.server_version = "29.1.3".to_owned()), "docker-version", Grade::Warning, "29.3"),
    (
        |facts| docker(facts, |info| info.server_version = "19.03.12".to_owned()),
        "docker-version",
        Grade::Fault,
        "update Docker",
    ),
    (|facts| docker(facts, |info| info.driver = "vfs".to_owned()), "image-store", Grade::Warning, "overlay2"),
    (
        |facts| docker(facts, |info| info.architecture = "x86_64".to_owned()),
        "architecture",
        Grade::Fault,
        "\"linux-amd64\"",
    ),
    (|facts| docker(facts, |info| info.mem_total = 3 << 30), "memory", Grade::Fault, "--profile full --memory 2560"),
    (
        |facts| {
            facts.profile = present("docker", "v1.28.3", "docker");
            let Profile::Present { memory, .. } = &mut facts.profile else { panic!("it is there") };
            *memory = Some(3072);
        },
        "cluster",
        Grade::Warning,
        "ztlab uninstall --cluster ztlab, then: ztlab install --cluster ztlab --profile full",
    ),
    (|facts| docker(facts, |info| info.mem_total = 4 << 30), "memory", Grade::Fault, "ztlab install --profile small"),
    // Docker Desktop set to 6 GB says less than that: Minikube would refuse a node of 6144 MiB.
    (|facts| docker(facts, |info| info.mem_total = 6_208_290_816), "memory", Grade::Fault, "Memory: 8 GB"),
    (|facts| docker(facts, |info| info.cpus = 2), "cpus", Grade::Fault, "ztlab install --cpus 2"),
    (|facts| docker(facts, |info| info.cpus = 1), "cpus", Grade::Fault, "CPU limit: 4"),
    (|facts| facts.clock_offset = Some(-7200), "clock", Grade::Fault, "open -a Docker"),
    (|facts| facts.clock_offset = Some(45), "clock", Grade::Fault, "open -a Docker"),
    (|facts| facts.docker_free = Some(3 << 30), "docker-disk", Grade::Fault, "docker system prune"),
    (|facts| facts.store_free = Some(100 << 20), "store-disk", Grade::Fault, "ztlab store gc"),
    (|facts| facts.store_free = Some(3 << 29), "store-disk", Grade::Warning, "ztlab store gc"),
    (
        |facts| facts.minikube.unwritable = Some("Permission denied".to_owned()),
        "minikube-home",
        Grade::Fault,
        "sudo chown -R",
    ),
    (
        |facts| facts.minikube.foreign = Some("/Users/a/.minikube/profiles".into()),
        "minikube-home",
        Grade::Fault,
        "sudo chown -R",
    ),
    (
        |facts| facts.minikube.spelled = Some("/Users/A/.minikube".into()),
        "minikube-home",
        Grade::Warning,
        "export MINIKUBE_HOME",
    ),
    (
        |facts| facts.profile = Profile::Broken("/h/profiles/ztlab/config.json".into()),
        "cluster",
        Grade::Fault,
        "rm -r \"/h/profiles/ztlab\"",
    ),
    (|facts| facts.profile = present("qemu2", "v1.28.3", "docker"), "cluster", Grade::Fault, "--cluster ztlab-lab"),
    (
        |facts| facts.profile = present("docker", "v1.31.0", "docker"),
        "cluster",
        Grade::Fault,
        "ztlab uninstall --cluster ztlab",
    ),
    (
        |facts| facts.profile = present("docker", "v1.28.3", "containerd"),
        "cluster",
        Grade::Fault,
        "ztlab uninstall --cluster ztlab",
    ),
    (
        |facts| facts.container = container(r#"{"Names":"ztlab","State":"running","Labels":"maintainer=me"}"#),
        "cluster",
        Grade::Fault,
        "docker rename ztlab",
    ),
    (
        |facts| {
            facts.container = container(r#"{"State":"exited","Labels":"created_by.minikube.sigs.k8s.io=true,role="}"#)
        },
        "cluster",
        Grade::Warning,
        "docker rm --force --volumes ztlab",
    ),
    (|facts| facts.volume = Some(true), "cluster", Grade::Fault, "docker volume rm ztlab"),
    (
        |facts| facts.kubeconfig = Kubeconfig::Unreadable { path: "/k/config".into(), reason: "no YAML".to_owned() },
        "kubeconfig",
        Grade::Fault,
        "mv \"/k/config\"",
    ),
    (
        |facts| facts.kubeconfig = kubeconfig(Some("/k/config.lock"), None),
        "kubeconfig",
        Grade::Fault,
        "rm \"/k/config.lock\"",
    ),
    (
        |facts| facts.kubeconfig = kubeconfig(None, Some("https://prod.example:6443")),
        "kubeconfig",
        Grade::Fault,
        "rename-context ztlab",
    ),
    (|facts| route(facts, [10, 244, 3, 0], 24, "utun4"), "routes", Grade::Warning, "utun4"),
    (|facts| route(facts, [10, 0, 0, 0], 8, "utun5"), "routes", Grade::Warning, "utun5"),
    (|facts| route(facts, [10, 100, 0, 0], 16, "wg0"), "routes", Grade::Warning, "wg0"),
    (|facts| route(facts, [192, 168, 49, 0], 24, "en0"), "routes", Grade::Warning, "en0"),
    (|facts| facts.taken_ports = vec![8080], "ports", Grade::Warning, "ztlab open app --port 18080"),
    (|facts| facts.taken_ports = vec![3000], "ports", Grade::Warning, "ztlab open grafana --port 13000"),
    (
        |facts| facts.ignored_variables = vec!["MINIKUBE_DRIVER".to_owned()],
        "variables",
        Grade::Warning,
        "unset MINIKUBE_DRIVER",
    ),
];

fn wrong(facts: &Facts) -> Vec<Finding> {
    judge(facts, &needs()).into_iter().filter(|finding| finding.grade > Grade::Fit).collect()
}

#[test]
fn a_fit_machine_has_no_finding() {
    assert_eq!(wrong(&fit()), []);
    // Nor has one on which the lab already runs.
    let mut running = fit();
    running.profile = present("docker", "v1.28.3", "docker");
    running.container = Some(Container { state: "running".to_owned(), minikubes: true });
    running.volume = Some(true);
    running.kubeconfig = kubeconfig(None, Some("https://127.0.0.1:55001"));
    running.docker_free = Some(5 << 30);
    route(&mut running, [192, 168, 49, 0], 24, "br-0a1b");
    assert_eq!(wrong(&running), []);
}

#[test]
fn each_planted_fault_is_found_with_its_fix_and_alone() {
    assert!(PLANTED.len() >= 20);
    for (number, (plant, check, grade, fix)) in PLANTED.iter().enumerate() {
        let mut facts = fit();
        plant(&mut facts);
        let found = wrong(&facts);
        let [finding] = found.as_slice() else { panic!("planted {number} ({check}): {found:#?}") };
        assert_eq!((finding.check, finding.grade), (*check, *grade), "planted {number}: {finding:?}");
        assert!(finding.fix.as_ref().is_some_and(|found| found.contains(fix)), "planted {number}: {finding:?}");
    }
}

#[test]
fn what_cannot_be_seen_is_no_fault() {
    let mut blind = fit();
    (blind.endpoint, blind.clock_offset, blind.docker_free, blind.store_free) = (None, None, None, None);
    blind.translated = None;
    let grades: Vec<Grade> = wrong(&blind).iter().map(|finding| finding.grade).collect();
    assert_eq!(grades, [Grade::Unknown; 4]);
}

#[test]
fn variables_that_steer_are_named_and_minikubes_home_is_not_one() {
    let variables = [
        ("MINIKUBE_HOME", "/m"),
        ("MINIKUBE_MEMORY", "9"),
        ("DOCKER_HOST", "tcp://10.0.0.1:2375"),
        ("DOCKER_CONTEXT", ""),
        ("PATH", "/bin"),
    ];
    let variables: BTreeMap<_, _> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(ignored_variables(&variables), ["DOCKER_HOST", "MINIKUBE_MEMORY"]);
    let local = BTreeMap::from([("DOCKER_HOST".to_owned(), "unix:///run/docker.sock".to_owned())]);
    assert_eq!(ignored_variables(&local), [""; 0]);
}

/// Docker Desktop with 4 GB tells a little less: its virtual machine's kernel keeps some.
#[test]
fn four_gigabytes_are_enough_for_the_small_lab_and_the_doctor_says_so() {
    let mut facts = fit();
    docker(&mut facts, |info| (info.mem_total, info.cpus) = (4_109_926_400, 4));
    let small = Needs { profile: "small".to_owned(), memory: 3072 << 20, cpus: 2, smaller: Vec::new(), ..needs() };
    let faults = |needs: &Needs| {
        let findings = judge(&facts, needs).into_iter().filter(|finding| finding.grade == Grade::Fault);
        findings.map(|finding| finding.check).collect::<Vec<_>>()
    };
    assert_eq!(faults(&small), [""; 0]);
    assert_eq!(faults(&needs()), ["memory"]);
}

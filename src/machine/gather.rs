//! Looks at the machine. Asks `docker` and reads files; changes nothing and judges nothing. What cannot be seen stays
//! absent.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use super::{Container, Docker, DockerInfo, Facts, Kubeconfig, MinikubeHome, Profile, Route, network};
use crate::cluster::process::{Child, Environment, ProcessError};

/// A daemon that is still starting answers after some seconds; one that hangs never does.
const DEADLINE: Duration = Duration::from_secs(30);
/// What `ztlab open` opens, and on which loopback port.
pub(super) const PORTS: [(&str, u16); 4] = [("app", 8080), ("kiali", 20_001), ("grafana", 3000), ("prometheus", 9090)];
/// Names that steer Minikube or Docker past their arguments; children do not get them.
const STEERING: [&str; 3] = ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_DEFAULT_PLATFORM"];

/// Where to look.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    /// What children see.
    pub environment: &'a Environment,
    /// The name of Minikube's profile, of the node's container and of the context.
    pub cluster: &'a str,
    /// Minikube's folder.
    pub minikube_home: &'a Path,
    /// The store's folder.
    pub store: &'a Path,
    /// The kubeconfig; `~/.kube/config` when absent.
    pub kubeconfig: Option<&'a Path>,
}

/// Looks.
pub async fn gather(places: &Places<'_>) -> Facts {
    let ask = |program: &'static str, arguments: Vec<String>| {
        let child = Child::new(program, places.environment, DEADLINE).arguments(arguments).accept(1);
        async move { child.run().await.map(|output| output.text()) }
    };
    let words = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
    let name = places.cluster;
    let (info, endpoint, containers, volumes, translated, routes) = tokio::join!(
        ask("docker", words("info|--format|{{json .}}")),
        ask("docker", words("context|inspect|--format|{{.Endpoints.docker.Host}}")),
        ask("docker", words(&format!("ps|--all|--filter|name=^/?{name}$|--format|{{{{json .}}}}"))),
        ask("docker", words(&format!("volume|ls|--filter|name=^{name}$|--format|{{{{.Name}}}}"))),
        translated(places),
        routes(places),
    );
    let docker = match info {
        Ok(text) => DockerInfo::read(&text),
        Err(ProcessError::NotFound { .. }) => Docker::Absent,
        Err(error) => Docker::Silent(error.to_string()),
    };
    let answered = docker.info().is_some();
    let endpoint = endpoint.ok().map(|text| text.trim().to_owned()).filter(|text| text.contains("://"));
    let system = std::env::consts::OS.to_owned();
    Facts {
        translated,
        // A variable comes before the context.
        endpoint: places.environment.get("DOCKER_HOST").map(str::to_owned).or(endpoint),
        clock_offset: docker.info().and_then(|info| offset(&info.system_time)),
        docker_free: docker.info().and_then(|info| docker_free(info, places)),
        store_free: free(places.store),
        minikube: minikube_home(places.minikube_home),
        profile: profile(places),
        container: containers.ok().filter(|_| answered).and_then(|text| container(&text)),
        volume: volumes.ok().filter(|_| answered).map(|text| text.lines().any(|line| line.trim() == name)),
        kubeconfig: kubeconfig(places),
        routes,
        taken_ports: taken_ports(),
        ignored_variables: Vec::new(),
        docker,
        system,
    }
}

async fn translated(places: &Places<'_>) -> Option<bool> {
    if std::env::consts::OS != "macos" {
        return None;
    }
    // The name exists where Rosetta does.
    let child = Child::new("sysctl", places.environment, DEADLINE).arguments(["-in", "sysctl.proc_translated"]);
    Some(child.run().await.ok()?.text().trim() == "1")
}

async fn routes(places: &Places<'_>) -> Vec<Route> {
    if let Ok(text) = fs_err::read_to_string("/proc/net/route") {
        return network::of_proc(&text);
    }
    let child = Child::new("netstat", places.environment, DEADLINE).arguments(["-rn", "-f", "inet"]);
    child.run().await.map(|output| network::of_netstat(&output.text())).unwrap_or_default()
}

/// Docker's clock minus ours.
fn offset(time: &str) -> Option<i64> {
    let theirs: jiff::Timestamp = time.parse().ok()?;
    Some(theirs.as_second() - jiff::Timestamp::now().as_second())
}

/// Docker Desktop keeps its machine's disk in one sparse file: its length is the limit, its blocks what is used. That
/// much may still be written, as long as the Mac's own disk has it. Elsewhere Docker's folder is on this machine.
fn docker_free(info: &DockerInfo, places: &Places<'_>) -> Option<u64> {
    if !info.is_desktop() {
        return free(Path::new(&info.docker_root_dir));
    }
    let home = places.environment.get("HOME")?;
    let disk = Path::new(home).join("Library/Containers/com.docker.docker/Data/vms/0/data/Docker.raw");
    let file = fs_err::metadata(&disk).ok()?;
    Some(file.len().saturating_sub(file.blocks() * 512).min(free(&disk)?))
}

/// Bytes that this user may still write where a path is, or would be.
fn free(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|path| path.exists())?;
    let system = rustix::fs::statvfs(there).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

fn minikube_home(path: &Path) -> MinikubeHome {
    let mut home = MinikubeHome { path: path.to_owned(), ..MinikubeHome::default() };
    let Some(there) = path.ancestors().find(|path| path.exists()) else { return home };
    let mine = match tempfile::tempfile_in(there) {
        Ok(file) => file.metadata().ok().map(|file| file.uid()),
        Err(reason) => {
            home.unwritable = Some(reason.to_string());
            return home;
        }
    };
    let parts = ["", "cache", "config", "machines", "profiles", "files", "certs", "logs"];
    let foreign = |path: &PathBuf| path.metadata().is_ok_and(|file| Some(file.uid()) != mine);
    home.foreign = parts.iter().map(|part| path.join(part)).filter(|path| path.exists()).find(foreign);
    home.spelled = fs_err::canonicalize(path)
        .ok()
        .filter(|spelled| spelled != path && spelled.to_string_lossy().eq_ignore_ascii_case(&path.to_string_lossy()));
    home
}

fn profile(places: &Places<'_>) -> Profile {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        driver: String,
        memory: Option<u64>,
        kubernetes_config: KubernetesConfig,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct KubernetesConfig {
        kubernetes_version: String,
        container_runtime: String,
    }
    let path = places.minikube_home.join("profiles").join(places.cluster).join("config.json");
    let Ok(text) = fs_err::read_to_string(&path) else { return Profile::Absent };
    match serde_json::from_str::<Config>(&text) {
        Ok(config) => Profile::Present {
            driver: config.driver,
            kubernetes: config.kubernetes_config.kubernetes_version,
            runtime: config.kubernetes_config.container_runtime,
            memory: config.memory,
        },
        Err(_) => Profile::Broken(path),
    }
}

/// The first line of `docker ps --format '{{json .}}'`. Minikube labels what it makes (kubernetes/minikube v1.32.0,
/// `pkg/drivers/kic/oci/types.go`, `CreatedByLabelKey`).
pub(super) fn container(text: &str) -> Option<Container> {
    let line: Value = serde_json::from_str(text.lines().next()?).ok()?;
    let labels = line["Labels"].as_str().unwrap_or_default();
    Some(Container {
        state: line["State"].as_str().unwrap_or("there").to_owned(),
        minikubes: labels.contains("created_by.minikube.sigs.k8s.io=true"),
    })
}

fn kubeconfig(places: &Places<'_>) -> Kubeconfig {
    let default = || Some(Path::new(places.environment.get("HOME")?).join(".kube/config"));
    let Some(path) = places.kubeconfig.map(Path::to_owned).or_else(default) else { return Kubeconfig::Absent };
    let lock = PathBuf::from(format!("{}.lock", path.display()));
    let locked = lock.exists().then_some(lock);
    if !path.exists() && locked.is_none() {
        return Kubeconfig::Absent;
    }
    let config = match kube::config::Kubeconfig::read_from(&path) {
        Ok(config) => config,
        Err(_) if !path.exists() => kube::config::Kubeconfig::default(),
        Err(error) => return Kubeconfig::Unreadable { path, reason: error.to_string() },
    };
    let context = config.contexts.iter().find(|context| context.name == places.cluster);
    let cluster = context.and_then(|context| context.context.as_ref()).map(|context| context.cluster.clone());
    let named = config.clusters.into_iter().find(|named| Some(&named.name) == cluster.as_ref());
    let server = named.and_then(|named| named.cluster?.server);
    Kubeconfig::Read { path, locked, server }
}

fn taken_ports() -> Vec<u16> {
    let taken = |port: &u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, *port))
            .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    PORTS.iter().map(|(_, port)| *port).filter(taken).collect()
}

/// Those of this process' variables that children do not get.
pub fn ignored_variables(variables: &BTreeMap<String, String>) -> Vec<String> {
    let ignored = |(name, value): &(&String, &String)| {
        let steers = STEERING.contains(&name.as_str()) && !value.starts_with("unix://");
        !value.is_empty() && (steers || (name.starts_with("MINIKUBE_") && *name != "MINIKUBE_HOME"))
    };
    variables.iter().filter(ignored).map(|(name, _)| name.clone()).collect()
}

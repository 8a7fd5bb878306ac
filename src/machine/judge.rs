//! From what was seen to findings. Pure.

use super::{Docker, DockerInfo, Facts, Finding, Grade, Needs, leftover, network};
use crate::base::human_bytes;

/// Unpacked layers beside their compressed ones: images of this kind grow by a factor of two to three.
const UNPACKED: u64 = 3;
/// What the node takes beside its images: its own system, logs and etcd.
const NODE_ROOM: u64 = 4 << 30;
/// Free bytes that a disk should keep.
const DISK_MARGIN: u64 = 1 << 30;
/// Certificates and tokens bear a little; a laptop that woke up without its virtual machine's clock is off by more.
const CLOCK_SECONDS: u64 = 30;

/// Every finding, in the order in which they should be mended.
pub fn judge(facts: &Facts, needs: &Needs) -> Vec<Finding> {
    let mut findings = vec![architecture_of_program(facts), docker(facts)];
    if let Docker::Answered(info) = &facts.docker {
        findings.extend([
            endpoint(facts),
            kind(info),
            version(info),
            storage(info),
            architecture(info, needs),
            memory(info, needs),
            cpus(info, needs),
            clock(facts, info),
            docker_disk(facts, needs),
        ]);
    }
    findings.extend([
        store_disk(facts, needs),
        leftover::minikube_home(facts),
        leftover::cluster(facts, needs),
        leftover::kubeconfig(facts, needs),
        network::routes(facts, needs),
        network::ports(facts),
        variables(facts),
    ]);
    findings
}

fn architecture_of_program(facts: &Facts) -> Finding {
    match facts.translated {
        Some(true) => Finding::fault(
            "rosetta",
            "this ztlab is an Intel program that Rosetta translates: it would look for Intel tools and images",
            "rustup default stable-aarch64-apple-darwin && cargo install --path . --locked --force",
        ),
        _ => Finding::fit("rosetta", "this ztlab runs untranslated"),
    }
}

fn docker(facts: &Facts) -> Finding {
    let mac = facts.system == "macos";
    match &facts.docker {
        Docker::Answered(info) => {
            Finding::fit("docker", format!("Docker {} answers ({})", info.server_version, info.operating_system))
        }
        Docker::Absent => Finding::fault(
            "docker",
            "there is no `docker` program",
            if mac { "brew install --cask docker && open -a Docker" } else { "sudo apt-get install docker.io" },
        ),
        Docker::Silent(words) if words.contains("permission denied") => Finding::fault(
            "docker",
            format!("this user may not ask Docker: {words}"),
            "sudo usermod -aG docker \"$USER\", then log in again",
        ),
        Docker::Silent(words) => Finding::fault(
            "docker",
            format!("Docker does not answer: {words}"),
            if mac { "open -a Docker, and wait until its whale stands still" } else { "sudo systemctl start docker" },
        ),
    }
}

fn endpoint(facts: &Facts) -> Finding {
    match facts.endpoint.as_deref() {
        Some(endpoint) if endpoint.starts_with("unix://") || endpoint.starts_with("npipe://") => {
            Finding::fit("docker-context", format!("Docker is on this machine ({endpoint})"))
        }
        Some(endpoint) => Finding::fault(
            "docker-context",
            format!("Docker's context leads to another machine: {endpoint}"),
            if facts.system == "macos" { "docker context use desktop-linux" } else { "docker context use default" },
        ),
        None => Finding::unknown("docker-context", "Docker did not say where its daemon is"),
    }
}

fn kind(info: &DockerInfo) -> Finding {
    if info.os_type != "linux" && !info.os_type.is_empty() {
        return Finding::fault(
            "docker-kind",
            format!("Docker runs {} containers, and the lab's are Linux ones", info.os_type),
            "choose `Switch to Linux containers` in Docker's menu",
        );
    }
    if info.security_options.iter().flatten().any(|option| option.contains("rootless")) {
        return Finding::fault(
            "docker-kind",
            "Docker runs rootless: Calico's programs in the node need rights that it cannot give",
            "docker context use default",
        );
    }
    Finding::fit("docker-kind", "Linux containers")
}

/// Engine 29.0 to 29.2 refuse clients of an API older than 1.44; Minikube 1.32's built-in one speaks 1.43 at most.
/// ztlab loads the node's image by the `docker` program, so an install works; `minikube docker-env` does not.
fn version(info: &DockerInfo) -> Finding {
    match info.version() {
        Some((29, minor @ 0..=2)) => Finding::warning(
            "docker-version",
            format!(
                "Docker 29.{minor} refuses the API that Minikube's own client speaks: `minikube docker-env` will fail"
            ),
            "update Docker Desktop until `docker version` shows 29.3 or newer",
        ),
        Some((major, minor)) if (major, minor) < (20, 10) => Finding::fault(
            "docker-version",
            format!("Docker {major}.{minor} is older than 20.10: its seccomp profile stops system calls of the node"),
            "update Docker",
        ),
        Some(_) => Finding::fit("docker-version", info.server_version.clone()),
        None => Finding::unknown("docker-version", format!("`{}` is no version", info.server_version)),
    }
}

fn storage(info: &DockerInfo) -> Finding {
    match info.driver.as_str() {
        "overlay2" => Finding::fit("image-store", "the classic one (overlay2)"),
        "overlayfs" => Finding::fit("image-store", "containerd's (overlayfs)"),
        "" => Finding::unknown("image-store", "Docker did not name its storage driver"),
        other => Finding::warning(
            "image-store",
            format!(
                "the storage driver {other} copies whole layers: the node will be slow, and take several times the space"
            ),
            "set \"storage-driver\": \"overlay2\" in Docker's daemon.json, and start Docker again",
        ),
    }
}

fn architecture(info: &DockerInfo, needs: &Needs) -> Finding {
    let found = info.go_architecture();
    if found == needs.architecture {
        return Finding::fit("architecture", format!("Docker runs on {found}, as the lab's images"));
    }
    Finding::fault(
        "architecture",
        format!("Docker runs on {found}, and the lab's images are for {}", needs.architecture),
        format!(
            "use the lab for this machine, or add \"linux-{found}\" to `node` in lock/ztlab.toml and run `ztlab lock`"
        ),
    )
}

fn memory(info: &DockerInfo, needs: &Needs) -> Finding {
    let found = format!(
        "Docker has {} of memory, and the node is to have {}",
        human_bytes(info.mem_total),
        human_bytes(needs.memory)
    );
    if info.mem_total >= needs.memory {
        return Finding::fit("memory", found);
    }
    // Minikube refuses a node as large as Docker's whole memory is said to be; half a GiB stays for Docker itself.
    let possible = (info.mem_total >> 20).saturating_sub(512);
    let less = match needs.smaller.iter().find(|smaller| smaller.memory >> 20 <= possible) {
        Some(smaller) => format!(
            "ztlab install --profile {} (it takes {} and leaves out a part of the lab)",
            smaller.profile,
            human_bytes(smaller.memory)
        ),
        None => format!("ztlab install --profile {} --memory {possible}", needs.profile),
    };
    let fix = if info.is_desktop() {
        format!("{less}; or: Docker Desktop, Settings, Resources, Memory: {} GB", (needs.memory >> 30) + 2)
    } else {
        less
    };
    Finding::fault("memory", found, fix)
}

fn cpus(info: &DockerInfo, needs: &Needs) -> Finding {
    let found = format!("Docker has {} CPUs, and the node is to have {}", info.cpus, needs.cpus);
    if info.cpus >= needs.cpus {
        return Finding::fit("cpus", found);
    }
    if info.cpus < 2 {
        return Finding::fault(
            "cpus",
            format!("{found}; Kubernetes needs two"),
            "Docker Desktop: Settings, Resources, CPU limit: 4",
        );
    }
    Finding::fault("cpus", found, format!("ztlab install --cpus {}", info.cpus))
}

fn clock(facts: &Facts, info: &DockerInfo) -> Finding {
    match facts.clock_offset {
        None => Finding::unknown("clock", "Docker did not tell its time"),
        Some(offset) if offset.unsigned_abs() > CLOCK_SECONDS => Finding::fault(
            "clock",
            format!(
                "Docker's clock is {} s {}: certificates would not be valid",
                offset.unsigned_abs(),
                if offset > 0 { "ahead" } else { "behind" }
            ),
            if info.is_desktop() {
                "quit Docker Desktop, and: open -a Docker"
            } else {
                "sudo timedatectl set-ntp true"
            },
        ),
        Some(_) => Finding::fit("clock", "Docker's clock is this machine's"),
    }
}

fn docker_disk(facts: &Facts, needs: &Needs) -> Finding {
    // A node that is there has most of it already.
    let needed = if facts.container.is_some() { DISK_MARGIN } else { needs.node_bytes * UNPACKED + NODE_ROOM };
    match facts.docker_free {
        None => Finding::unknown(
            "docker-disk",
            format!("nothing tells how much Docker has left; the lab takes {}", human_bytes(needed)),
        ),
        Some(free) if free < needed => Finding::fault(
            "docker-disk",
            format!("Docker has {} left for images, and the lab takes {}", human_bytes(free), human_bytes(needed)),
            "docker system prune, or: Docker Desktop, Settings, Resources, Disk usage limit",
        ),
        Some(free) => Finding::fit(
            "docker-disk",
            format!("Docker has {} left, the lab takes {}", human_bytes(free), human_bytes(needed)),
        ),
    }
}

fn store_disk(facts: &Facts, needs: &Needs) -> Finding {
    let needed = needs.store_bytes + DISK_MARGIN;
    match facts.store_free {
        None => Finding::unknown("store-disk", "nothing tells how much room the store has"),
        Some(free) if free < needed => Finding::new(
            "store-disk",
            if free < needs.store_bytes { Grade::Fault } else { Grade::Warning },
            format!(
                "{} are free where the store is, and {} are still to be fetched",
                human_bytes(free),
                human_bytes(needs.store_bytes)
            ),
            Some("ztlab store gc; or: ztlab --store DIR fetch, on a larger disk".to_owned()),
        ),
        Some(free) => Finding::fit(
            "store-disk",
            format!("{} are free, {} are to be fetched", human_bytes(free), human_bytes(needs.store_bytes)),
        ),
    }
}

fn variables(facts: &Facts) -> Finding {
    if facts.ignored_variables.is_empty() {
        return Finding::fit("variables", "none that would steer Minikube or Docker elsewhere");
    }
    let names = facts.ignored_variables.join(" ");
    Finding::warning(
        "variables",
        format!("ztlab keeps these from Minikube and Docker, and your own commands obey them: {names}"),
        format!("unset {names}"),
    )
}

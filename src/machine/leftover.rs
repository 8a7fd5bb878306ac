//! What an earlier cluster of Minikube left: on disk, in Docker, in the kubeconfig.

use super::{Facts, Finding, Kubeconfig, Needs, Profile};
use crate::base::human_bytes;

pub(super) fn minikube_home(facts: &Facts) -> Finding {
    let home = &facts.minikube;
    let path = home.path.display();
    if let Some(reason) = &home.unwritable {
        return Finding::fault(
            "minikube-home",
            format!("nothing can be written to {path}: {reason}"),
            format!("sudo chown -R \"$USER\" {path:?}", path = home.path),
        );
    }
    if let Some(foreign) = &home.foreign {
        return Finding::fault(
            "minikube-home",
            format!("{} belongs to another user: a `sudo minikube` once ran here", foreign.display()),
            format!("sudo chown -R \"$USER\" {:?}", home.path),
        );
    }
    if let Some(spelled) = &home.spelled {
        return Finding::warning(
            "minikube-home",
            format!("{path} is {} on disk: Minikube compares paths letter by letter", spelled.display()),
            format!("export MINIKUBE_HOME={spelled:?}"),
        );
    }
    Finding::fit("minikube-home", format!("{path} can be written to"))
}

pub(super) fn cluster(facts: &Facts, needs: &Needs) -> Finding {
    let name = &needs.cluster;
    let away = format!("ztlab uninstall --cluster {name}");
    match &facts.profile {
        Profile::Broken(path) => Finding::fault(
            "cluster",
            format!("{} is no whole document: an earlier start was cut off", path.display()),
            format!("rm -r {:?}", path.parent().unwrap_or(path)),
        ),
        Profile::Present { driver, .. } if driver != "docker" => Finding::fault(
            "cluster",
            format!("there is a cluster {name} of Minikube's driver {driver}, and the lab needs docker"),
            format!("ztlab install --cluster {name}-lab, or: {away}"),
        ),
        Profile::Present { runtime, .. } if runtime != "docker" => Finding::fault(
            "cluster",
            format!("there is a cluster {name} with the runtime {runtime}, and the lab needs docker"),
            away,
        ),
        Profile::Present { kubernetes, .. } if needs.kubernetes.as_ref().is_some_and(|wanted| wanted != kubernetes) => {
            let wanted = needs.kubernetes.as_deref().unwrap_or_default();
            Finding::fault(
                "cluster",
                format!("there is a cluster {name} of Kubernetes {kubernetes}, not {wanted}"),
                away,
            )
        }
        Profile::Present { memory: Some(memory), .. } if memory << 20 < needs.memory => Finding::warning(
            "cluster",
            format!(
                "the cluster {name} was made with {} of memory, and the profile {} asks for {}: a node does not grow",
                human_bytes(memory << 20),
                needs.profile,
                human_bytes(needs.memory)
            ),
            format!("{away}, then: ztlab install --cluster {name} --profile {}", needs.profile),
        ),
        Profile::Present { kubernetes, .. } => {
            Finding::fit("cluster", format!("the cluster {name} is there, with Kubernetes {kubernetes}"))
        }
        Profile::Absent => leftovers_without_profile(facts, name),
    }
}

fn leftovers_without_profile(facts: &Facts, name: &str) -> Finding {
    match &facts.container {
        Some(container) if !container.minikubes => {
            return Finding::fault(
                "cluster",
                format!("a container {name} is {}, and Minikube did not make it", container.state),
                format!("docker rename {name} {name}-old, or: ztlab install --cluster {name}-lab"),
            );
        }
        Some(container) => {
            return Finding::warning(
                "cluster",
                format!("a former node's container {name} is {}, and its Minikube profile is gone", container.state),
                format!("docker rm --force --volumes {name}"),
            );
        }
        None => {}
    }
    if facts.volume == Some(true) {
        return Finding::fault(
            "cluster",
            format!(
                "a former node's volume {name} is there without its Minikube profile: a new node would find its old cluster"
            ),
            format!("docker volume rm {name}"),
        );
    }
    Finding::fit("cluster", format!("nothing is left of a former cluster {name}"))
}

pub(super) fn kubeconfig(facts: &Facts, needs: &Needs) -> Finding {
    let name = &needs.cluster;
    match &facts.kubeconfig {
        Kubeconfig::Absent => Finding::fit("kubeconfig", "there is none yet"),
        Kubeconfig::Unreadable { path, reason } => Finding::fault(
            "kubeconfig",
            format!("{} cannot be read: {reason}", path.display()),
            format!("mv {path:?} {:?}", path.with_extension("broken")),
        ),
        Kubeconfig::Read { locked: Some(lock), .. } => Finding::fault(
            "kubeconfig",
            format!("{} is there: whoever writes the kubeconfig waits for it", lock.display()),
            format!("rm {lock:?}"),
        ),
        Kubeconfig::Read { server: Some(server), .. } if !is_own(server) && facts.profile == Profile::Absent => {
            Finding::fault(
                "kubeconfig",
                format!("the context {name} is another cluster's, at {server}: an install would replace it"),
                format!("kubectl config rename-context {name} {name}-old, or: ztlab install --cluster {name}-lab"),
            )
        }
        Kubeconfig::Read { path, .. } => Finding::fit("kubeconfig", format!("{} has no other {name}", path.display())),
    }
}

/// A server of Minikube's docker driver: a loopback port, or the node's own address on Linux.
fn is_own(server: &str) -> bool {
    let host = server.split("://").last().unwrap_or(server);
    ["127.0.0.1", "localhost", "192.168."].iter().any(|prefix| host.starts_with(prefix))
}

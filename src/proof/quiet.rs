//! Does anything in the lab call out? The settings of the live objects, and a look at the sockets themselves.
//!
//! Settings tell what is meant, sockets what happens: in each pod that has a `cat`, the kernel's own list of connections is
//! read, and a public or link-local address in it (the cloud's metadata service is one) is a call out. A cluster's own
//! addresses are private.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde_json::Value;

use super::{Findings, ProofContext, mesh::ISTIO_NAMESPACE, prober::PROBE_LABEL};
use crate::{
    base::{
        normalize_reference,
        quiet::{QUIET_SIDECAR, quiet_environment},
    },
    cluster::exec::exec,
};

const DEADLINE: std::time::Duration = std::time::Duration::from_secs(15);
/// Commands in pods at once.
const PARALLEL: usize = 6;
/// States of the kernel's list that mean a connection that was begun: ESTABLISHED, SYN_SENT (`net/tcp_states.h`).
const BEGUN: [&str; 2] = ["01", "02"];

/// Nothing in the lab is set to call out, and no pod does.
pub async fn quiet(context: &ProofContext<'_>) -> Findings {
    let looked = async {
        let felix = felix(context).await?;
        let maps = Api::<ConfigMap>::namespaced(context.client.clone(), ISTIO_NAMESPACE);
        let prometheus = maps.get_opt("prometheus").await?;
        let pods = Api::<Pod>::all(context.client.clone()).list(&ListParams::default()).await?;
        Ok::<_, kube::Error>((felix, prometheus, pods.items))
    };
    let (felix, prometheus, pods) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return Findings::could_not("read the settings", &error),
    };
    let pods: Vec<Pod> = pods.into_iter().filter(|pod| ours(context, pod)).collect();
    let (mut evidence, mut wrong) = (Vec::new(), Vec::new());
    let judged = [judge_felix(felix.as_ref()), judge_prometheus(prometheus.as_ref()), judge_environment(&pods)];
    for one in judged {
        match one {
            Ok(line) => evidence.push(line),
            Err(what) => wrong.push(what),
        }
    }
    let looks: Vec<_> = pods.iter().map(|pod| sockets(context, pod)).collect();
    let looks = stream::iter(looks).buffer_unordered(PARALLEL);
    let (mut seen, mut unseen) = (0, 0);
    for look in looks.collect::<Vec<_>>().await {
        match look {
            Some(outside) => {
                seen += 1;
                wrong.extend(outside);
            }
            None => unseen += 1,
        }
    }
    evidence.push(format!("sockets of {seen} pods: none to the outside; {unseen} pods cannot be looked into"));
    match wrong.first().cloned() {
        None => Findings::passed(evidence, ""),
        Some(first) => Findings::failed(first, wrong, ""),
    }
}

/// Pods of the lab's own namespaces with a network of their own; a node's sockets are not a pod's.
fn ours(context: &ProofContext<'_>, pod: &Pod) -> bool {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let labels = pod.metadata.labels.as_ref();
    let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    running
        && pod.metadata.deletion_timestamp.is_none()
        && context.own_namespaces.iter().any(|own| own == namespace)
        && !labels.is_some_and(|labels| labels.contains_key(PROBE_LABEL))
        && pod.spec.as_ref().is_some_and(|spec| spec.host_network != Some(true))
}

async fn felix(context: &ProofContext<'_>) -> Result<Option<DynamicObject>, kube::Error> {
    let kind = GroupVersionKind::gvk("crd.projectcalico.org", "v1", "FelixConfiguration");
    let resource = ApiResource::from_gvk_with_plural(&kind, "felixconfigurations");
    match Api::<DynamicObject>::all_with(context.client.clone(), &resource).get_opt("default").await {
        // A cluster without Calico has no Felix that could report.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        other => other,
    }
}

fn judge_felix(felix: Option<&DynamicObject>) -> Result<String, String> {
    match felix.map(|felix| &felix.data["spec"]["usageReportingEnabled"]) {
        Some(Value::Bool(false)) => Ok("Felix reports no usage (usageReportingEnabled: false)".to_owned()),
        Some(_) => {
            Err("Felix reports usage to its makers: FelixConfiguration default wants usageReportingEnabled: false"
                .to_owned())
        }
        None => {
            Err("there is no FelixConfiguration default: Felix' own default is to report usage to its makers"
                .to_owned())
        }
    }
}

/// Upstream's configuration sends nothing on; an edited one may.
fn judge_prometheus(configuration: Option<&ConfigMap>) -> Result<String, String> {
    let texts = configuration.and_then(|map| map.data.as_ref()).into_iter().flatten();
    let sends = texts
        .into_iter()
        .find(|(_, text)| text.lines().any(|line| matches!(line.trim_end(), "remote_write:" | "remote_read:")));
    match (configuration, sends) {
        (_, Some((name, _))) => {
            Err(format!("Prometheus sends its figures on: {name} has a remote_write or remote_read"))
        }
        (Some(_), None) => Ok("Prometheus sends its figures nowhere".to_owned()),
        (None, None) => Ok("there is no Prometheus".to_owned()),
    }
}

/// Sidecars ask no cloud for metadata, and the add-ons that would ask for updates are told not to.
fn judge_environment(pods: &[Pod]) -> Result<String, String> {
    let (mut sidecars, mut addons) = (0, 0);
    for pod in pods {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        for container in
            pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
        {
            let variables = container.env.as_deref().unwrap_or_default();
            let value = |key: &str| variables.iter().rev().find(|one| one.name == key)?.value.clone();
            let mut wanted: Vec<(&str, &str)> =
                quiet_environment(&normalize_reference(container.image.as_deref().unwrap_or_default())).to_vec();
            addons += usize::from(!wanted.is_empty());
            if container.name == "istio-proxy" {
                sidecars += 1;
                wanted.push(QUIET_SIDECAR);
            }
            for (key, quiet) in wanted {
                let found = value(key);
                if found.as_deref() != Some(quiet) {
                    let found = found.unwrap_or_else(|| "nothing".to_owned());
                    return Err(format!("{name}, container {}: expected {key}={quiet}, found {found}", container.name));
                }
            }
        }
    }
    Ok(format!(
        "{sidecars} sidecars ask no cloud for metadata, {addons} add-ons ask for no updates and report no usage"
    ))
}

/// Connections of a pod to the outside; `None` where nothing in the pod can read the kernel's list.
async fn sockets(context: &ProofContext<'_>, pod: &Pod) -> Option<Vec<String>> {
    let (namespace, name) = (pod.metadata.namespace.as_deref()?, pod.metadata.name.as_deref()?);
    for container in &pod.spec.as_ref()?.containers {
        let command = ["cat", "/proc/net/tcp", "/proc/net/tcp6"];
        let output = exec(&context.client, namespace, name, &container.name, &command, DEADLINE).await;
        if let Ok(output) = output
            && output.stdout.contains("local_address")
        {
            let outside = remotes(&output.stdout).into_iter().filter(|address| is_outside(*address));
            return Some(outside.map(|address| format!("{namespace}/{name} calls {address}")).collect());
        }
    }
    None
}

/// The far ends of begun connections in the kernel's list.
fn remotes(list: &str) -> Vec<IpAddr> {
    let lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|fields| fields.get(3).is_some_and(|state| BEGUN.contains(state)))
        .filter_map(|fields| address(fields.get(2)?.split(':').next()?))
        .collect()
}

/// The kernel writes addresses as words of the machine's own order, which is little-endian on every platform of the lab.
fn address(hexadecimal: &str) -> Option<IpAddr> {
    let bytes = hex::decode(hexadecimal).ok()?;
    let mut ordered = Vec::with_capacity(bytes.len());
    for word in bytes.chunks(4) {
        ordered.extend(word.iter().rev());
    }
    match ordered.len() {
        4 => <[u8; 4]>::try_from(ordered).ok().map(|four| IpAddr::V4(Ipv4Addr::from(four))),
        16 => <[u8; 16]>::try_from(ordered).ok().map(|sixteen| IpAddr::V6(Ipv6Addr::from(sixteen)).to_canonical()),
        _ => None,
    }
}

/// Neither in the pod, nor in the cluster, nor in the school's own network.
fn is_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => !(four.is_loopback() || four.is_private() || four.is_unspecified() || is_shared(four)),
        IpAddr::V6(six) => !(six.is_loopback() || six.is_unspecified() || six.is_unique_local()),
    }
}

/// 100.64.0.0/10, which clusters and providers share (RFC 6598).
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && (64..128).contains(&second)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn the_kernels_list_is_read_and_the_outside_is_told_from_the_cluster() {
        let list = "  sl  local_address rem_address   st tx_queue\n\
            0: 00000000:3AA2 00000000:0000 0A 0\n\
            1: 0502F40A:A1B2 01010A0A:3AA4 01 0\n\
            2: 0502F40A:A1B2 FEA9FEA9:0050 02 0\n\
            3: 0502F40A:A1B2 08080808:01BB 06 0\n\
            4: 0000000000000000FFFF00000502F40A:0050 0000000000000000FFFF000008080808:01BB 01 0\n";
        let found: Vec<String> = remotes(list).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.10.1.1", "169.254.169.254", "8.8.8.8"], "listening and ended ones are left out");
        let outside: Vec<bool> = remotes(list).into_iter().map(is_outside).collect();
        assert_eq!(outside, [false, true, true]);
    }

    #[test]
    fn each_setting_that_calls_out_is_found() {
        let felix = |spec: Value| -> DynamicObject {
            from_value(json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "FelixConfiguration",
                "metadata": {"name": "default"}, "spec": spec}))
            .unwrap()
        };
        assert!(judge_felix(Some(&felix(json!({"usageReportingEnabled": false})))).is_ok());
        assert!(judge_felix(Some(&felix(json!({"usageReportingEnabled": true})))).is_err());
        assert!(judge_felix(Some(&felix(json!({})))).is_err() && judge_felix(None).is_err());

        let map = |text: &str| -> ConfigMap { from_value(json!({"data": {"prometheus.yml": text}})).unwrap() };
        assert!(judge_prometheus(Some(&map("global:\n  x: 1\n"))).is_ok() && judge_prometheus(None).is_ok());
        assert!(judge_prometheus(Some(&map("remote_write:\n- url: x\n"))).is_err());

        let pod = |name: &str, image: &str, env: Value| -> Pod {
            from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": name, "image": image, "env": env}]}})).unwrap()
        };
        let quiet = json!([{"name": "CLOUD_PLATFORM", "value": "none"}]);
        assert!(judge_environment(&[pod("istio-proxy", "x:1", quiet)]).is_ok());
        assert!(judge_environment(&[pod("istio-proxy", "x:1", json!([]))]).unwrap_err().contains("CLOUD_PLATFORM"));
        let grafana = pod("grafana", "grafana/grafana:9.5.5", json!([]));
        assert!(judge_environment(&[grafana]).unwrap_err().contains("GF_ANALYTICS_REPORTING_ENABLED"));
    }
}

//! The mesh: sidecars, the gateway, the identity that arrives, and what mutual TLS is set to.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde_json::Value;

use super::{Findings, ProofContext, chain, prober::PROBE_LABEL};
use crate::cluster::forward::{Forward, Target};

/// Where Istio's own parts live.
pub const ISTIO_NAMESPACE: &str = "istio-system";
const GATEWAY_SERVICE: &str = "istio-ingressgateway";
/// The gateway's HTTP port as a Service; Envoy listens on 8080 behind it.
const GATEWAY_PORT: u16 = 80;
/// The way through gateway and frontend to the backend.
const APP_PATH: &str = "/api/backend/";
/// istiod's port for its own state.
const ISTIOD_DEBUG_PORT: u16 = 15014;
/// Above Envoy's connect timeout of 10 s, so that its own answer arrives.
const HTTP_TIMEOUT: Duration = Duration::from_secs(15);
/// The first requests after an install may meet sidecars that are still being told where to go.
const TRIES: usize = 6;
const PAUSE: Duration = Duration::from_secs(2);
/// An identity that nobody has: a caller cannot make the backend believe it.
const FORGED: &str =
    "By=spiffe://cluster.local/ns/webapp/sa/backend;Hash=00;URI=spiffe://cluster.local/ns/forged/sa/nobody";

/// Every pod of the app has a sidecar and is ready.
pub async fn pods_meshed(context: &ProofContext<'_>) -> Findings {
    let pods =
        Api::<Pod>::namespaced(context.client.clone(), &context.app_namespace).list(&ListParams::default()).await;
    match pods {
        Ok(pods) => judge_meshed(&pods.items),
        Err(error) => Findings::could_not("list the app's pods", &error),
    }
}

/// The pods of the app: not those that a proof made, nor those on their way out or done.
pub(super) fn app_pods(pods: &[Pod]) -> impl Iterator<Item = &Pod> {
    pods.iter().filter(|pod| {
        let made_by_us = pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROBE_LABEL));
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        !made_by_us && pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
    })
}

fn judge_meshed(pods: &[Pod]) -> Findings {
    let mut evidence = Vec::new();
    let mut wrong = Vec::new();
    for pod in app_pods(pods) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let statuses: Vec<_> =
            pod.status.iter().filter_map(|status| status.container_statuses.as_ref()).flatten().collect();
        let ready = statuses.iter().filter(|status| status.ready).count();
        // Newer Istio runs the sidecar as an init container that stays.
        let spec = pod.spec.iter();
        let containers = spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let meshed = containers.into_iter().any(|container| container.name == "istio-proxy");
        let line = format!("{name} {ready}/{}", statuses.len());
        if !meshed {
            wrong.push(format!("{line}, without a sidecar"));
        } else if ready < statuses.len() || statuses.is_empty() {
            wrong.push(format!("{line}, not ready"));
        }
        evidence.push(line);
    }
    match wrong.first().cloned() {
        None if evidence.is_empty() => Findings::failed("the app has no pods", evidence, ""),
        None => Findings::passed(evidence, ""),
        Some(first) => Findings::failed(first, wrong, ""),
    }
}

/// The app answers through the gateway.
pub async fn gateway(context: &ProofContext<'_>) -> Findings {
    match ask_app(context, None).await {
        Ok((status, _, body)) => {
            let line = format!("GET {APP_PATH} through svc/{GATEWAY_SERVICE}: HTTP {status}");
            Findings::passed(vec![line, format!("answered by the pod {}", text(&body, "/pod"))], "")
        }
        Err(what) => Findings::failed(what, Vec::new(), ""),
    }
}

/// The backend saw the frontend's certificate, also when the caller sends a forged identity along.
pub async fn identity(context: &ProofContext<'_>) -> Findings {
    let expected = format!("spiffe://cluster.local/ns/{}/sa/frontend", context.app_namespace);
    let honest = match ask_app(context, None).await {
        Ok((_, _, body)) => body,
        Err(what) => return Findings::failed(what, Vec::new(), ""),
    };
    let forged = match ask_app(context, Some(FORGED)).await {
        Ok((_, _, body)) => body,
        Err(what) => return Findings::failed(what, Vec::new(), ""),
    };
    judge_identity(&expected, &honest, &forged)
}

fn judge_identity(expected: &str, honest: &Value, forged: &Value) -> Findings {
    let caller = text(honest, "/caller/spiffe_id");
    let evidence =
        vec![format!("the backend saw {caller}"), format!("it was called as {}", text(honest, "/called/spiffe_id"))];
    let with_forgery = text(forged, "/caller/spiffe_id");
    let control = format!("with a forged X-Forwarded-Client-Cert it still saw {with_forgery}");
    if honest["encrypted"] != true {
        return Findings::failed("the call to the backend was not encrypted", evidence, control);
    }
    if caller != expected {
        return Findings::failed(format!("expected {expected}, the backend saw {caller}"), evidence, control);
    }
    if with_forgery != expected {
        return Findings::failed(
            format!("the control failed: a forged header made the backend see {with_forgery}"),
            evidence,
            control,
        );
    }
    Findings::passed(evidence, control)
}

fn text(body: &Value, pointer: &str) -> String {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or("nobody").to_owned()
}

/// Asks the backend through gateway and frontend until it answers as the lab's backend does.
async fn ask_app(context: &ProofContext<'_>, forged: Option<&str>) -> Result<(u16, usize, Value), String> {
    let target =
        Target::Service { namespace: ISTIO_NAMESPACE.to_owned(), name: GATEWAY_SERVICE.to_owned(), port: GATEWAY_PORT };
    let forward = Forward::open(&context.client, target, 0).await.map_err(|error| chain(&error))?;
    let url = format!("http://{}{APP_PATH}", forward.address());
    let mut last = String::new();
    for attempt in 1..=TRIES {
        if attempt > 1 {
            tokio::time::sleep(PAUSE).await;
        }
        match get(&url, forged).await {
            Ok((200, body)) => match serde_json::from_str::<Value>(&body) {
                Ok(json) if json["service"] == "backend" => return Ok((200, attempt, json)),
                _ => last = format!("HTTP 200, but not the backend's answer: `{}`", beginning(&body)),
            },
            Ok((status, body)) => last = format!("HTTP {status}: `{}`", beginning(&body)),
            Err(error) => last = error,
        }
    }
    Err(format!("GET {APP_PATH} through svc/{GATEWAY_SERVICE}: expected HTTP 200 from the backend, found {last}"))
}

/// One request through the gateway, as an answer like any other.
pub(super) async fn through_gateway(context: &ProofContext<'_>, path: &str) -> Result<super::curl::Answer, String> {
    let target =
        Target::Service { namespace: ISTIO_NAMESPACE.to_owned(), name: GATEWAY_SERVICE.to_owned(), port: GATEWAY_PORT };
    let forward = Forward::open(&context.client, target, 0).await.map_err(|error| chain(&error))?;
    let (status, body) = get(&format!("http://{}{path}", forward.address()), None).await?;
    Ok(super::curl::Answer::Http { status, access_denied: body.contains("RBAC: access denied") })
}

fn beginning(body: &str) -> String {
    body.trim().chars().take(120).collect()
}

/// One GET to a forwarded port on loopback; a proxy must not come between.
pub(super) async fn get(url: &str, forged: Option<&str>) -> Result<(u16, String), String> {
    let client = reqwest::Client::builder().no_proxy().timeout(HTTP_TIMEOUT).build().map_err(|error| chain(&error))?;
    let request =
        forged.into_iter().fold(client.get(url), |request, value| request.header("x-forwarded-client-cert", value));
    let response = request.send().await.map_err(|error| chain(&error))?;
    let status = response.status().as_u16();
    Ok((status, response.text().await.map_err(|error| chain(&error))?))
}

/// Which object requires mutual TLS of the app, or which one weakens it.
///
/// # Errors
/// When the API server does not answer.
pub async fn mtls_mode(context: &ProofContext<'_>) -> Result<Result<String, String>, kube::Error> {
    let mesh = peer_authentications(context, ISTIO_NAMESPACE).await?;
    let app = peer_authentications(context, &context.app_namespace).await?;
    Ok(judge_modes(&mesh, &app))
}

/// Mutual TLS is required for the app's pods, and their sidecars have the newest rules.
pub async fn mtls_strict(context: &ProofContext<'_>) -> Findings {
    let mode = match mtls_mode(context).await {
        Ok(Ok(mode)) => mode,
        Ok(Err(what)) => return Findings::failed(what, Vec::new(), ""),
        Err(error) => return Findings::could_not("read the PeerAuthentications", &error),
    };
    let mut last = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match synced(context).await {
            Ok(mut evidence) => {
                evidence.insert(0, mode);
                return Findings::passed(evidence, "");
            }
            Err(what) => last = what,
        }
    }
    Findings::failed(last, vec![mode], "")
}

async fn peer_authentications(context: &ProofContext<'_>, namespace: &str) -> Result<Vec<DynamicObject>, kube::Error> {
    let kind = GroupVersionKind::gvk("security.istio.io", "v1beta1", "PeerAuthentication");
    let resource = ApiResource::from_gvk_with_plural(&kind, "peerauthentications");
    let api = Api::<DynamicObject>::namespaced_with(context.client.clone(), namespace, &resource);
    Ok(api.list(&ListParams::default()).await?.items)
}

/// What holds for the app: its namespace's own setting, else the mesh's; no pod or port may be excepted.
fn judge_modes(mesh: &[DynamicObject], app: &[DynamicObject]) -> Result<String, String> {
    let mode = |object: &DynamicObject| {
        object.data.pointer("/spec/mtls/mode").and_then(Value::as_str).unwrap_or("UNSET").to_owned()
    };
    let name = |object: &DynamicObject| object.metadata.name.clone().unwrap_or_default();
    let wide = |object: &&DynamicObject| object.data.pointer("/spec/selector/matchLabels").is_none();
    for object in app {
        let ports = object.data.pointer("/spec/portLevelMtls").and_then(Value::as_object);
        let port_modes = ports.into_iter().flatten().filter_map(|(_, port)| port["mode"].as_str().map(str::to_owned));
        let weak = port_modes.chain([mode(object)]).find(|mode| mode != "STRICT" && mode != "UNSET");
        if let Some(weak) = weak {
            return Err(format!(
                "PeerAuthentication {} of the app's namespace says {weak}: expected STRICT",
                name(object)
            ));
        }
    }
    let own = app.iter().filter(wide).find(|object| mode(object) == "STRICT").map(|object| (object, "namespace"));
    let setting = own.or_else(|| mesh.iter().find(wide).map(|object| (object, "mesh")));
    match setting {
        Some((object, place)) if mode(object) == "STRICT" => {
            Ok(format!("PeerAuthentication {} of the {place}: STRICT", name(object)))
        }
        Some((object, place)) => {
            Err(format!("PeerAuthentication {} of the {place} says {}: expected STRICT", name(object), mode(object)))
        }
        None => Err("no PeerAuthentication requires mutual TLS: Istio's default is PERMISSIVE".to_owned()),
    }
}

async fn synced(context: &ProofContext<'_>) -> Result<Vec<String>, String> {
    let api = |namespace: &str| Api::<Pod>::namespaced(context.client.clone(), namespace);
    let app = api(&context.app_namespace).list(&ListParams::default()).await.map_err(|error| chain(&error))?;
    let proxies: Vec<String> = app_pods(&app.items)
        .map(|pod| format!("{}.{}", pod.metadata.name.as_deref().unwrap_or_default(), context.app_namespace))
        .collect();
    let istiods =
        api(ISTIO_NAMESPACE).list(&ListParams::default().labels("app=istiod")).await.map_err(|error| chain(&error))?;
    let mut states = Vec::new();
    // With several istiods each knows only the proxies that are connected to it.
    for istiod in &istiods.items {
        let target = Target::Pod {
            namespace: ISTIO_NAMESPACE.to_owned(),
            name: istiod.metadata.name.clone().unwrap_or_default(),
            port: ISTIOD_DEBUG_PORT,
        };
        let forward = Forward::open(&context.client, target, 0).await.map_err(|error| chain(&error))?;
        let (status, body) = get(&format!("http://{}/debug/syncz", forward.address()), None).await?;
        let found: Vec<Value> = serde_json::from_str(&body)
            .map_err(|_| format!("istiod's /debug/syncz answered HTTP {status}: `{}`", beginning(&body)))?;
        states.extend(found);
    }
    judge_synced(&proxies, &states)
}

/// A section counts only when something was sent and just that was acknowledged. Clusters and listeners are what every
/// sidecar is sent; routes and endpoints may not have been needed.
fn judge_synced(proxies: &[String], states: &[Value]) -> Result<Vec<String>, String> {
    let mut evidence = Vec::new();
    for proxy in proxies {
        let state = states.iter().find(|state| state["proxy"] == proxy.as_str());
        let state = state.ok_or_else(|| format!("{proxy} is not connected to istiod"))?;
        for (section, needed) in [("cluster", true), ("listener", true), ("route", false), ("endpoint", false)] {
            let nonce = |what: &str| state[format!("{section}_{what}")].as_str().unwrap_or_default().to_owned();
            let (sent, acked) = (nonce("sent"), nonce("acked"));
            if sent.is_empty() && needed {
                return Err(format!("{proxy} was sent no {section}s by istiod"));
            }
            if sent != acked {
                return Err(format!("{proxy} has not acknowledged its newest {section}s"));
            }
        }
        evidence.push(format!("{proxy} has the newest rules"));
    }
    if evidence.is_empty() { Err("the app has no pods".to_owned()) } else { Ok(evidence) }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::proof::Outcome;

    const RECORDED: &str = include_str!("../../tests/fixtures/recorded/istiod-syncz.json");

    #[test]
    fn recorded_proxies_are_synced_and_others_are_not() {
        let mut states: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
        let proxies: Vec<String> =
            states.iter().take(2).map(|state| state["proxy"].as_str().unwrap().to_owned()).collect();
        assert_eq!(judge_synced(&proxies, &states).unwrap().len(), 2);
        assert!(judge_synced(&["gone-1.webapp".to_owned()], &states).unwrap_err().contains("not connected"));
        assert!(judge_synced(&[], &states).is_err());

        let sent = states[0]["listener_sent"].take();
        states[0]["listener_acked"] = Value::Null;
        assert!(judge_synced(&proxies, &states).unwrap_err().contains("sent no listeners"));
        states[0]["listener_sent"] = sent;
        assert!(judge_synced(&proxies, &states).unwrap_err().contains("not acknowledged"));
    }

    fn peer(name: &str, spec: Value) -> DynamicObject {
        from_value(json!({"apiVersion": "security.istio.io/v1beta1", "kind": "PeerAuthentication", "metadata": {"name": name}, "spec": spec})).unwrap()
    }

    #[test]
    fn every_way_to_weaken_mutual_tls_is_seen() {
        let mode = |mode: &str| json!({"mtls": {"mode": mode}});
        let strict = || vec![peer("default", mode("STRICT"))];
        assert_eq!(judge_modes(&strict(), &[]).unwrap(), "PeerAuthentication default of the mesh: STRICT");
        assert!(judge_modes(&[], &strict()).is_ok());
        assert!(judge_modes(&[], &[]).unwrap_err().contains("PERMISSIVE"));
        assert!(judge_modes(&[peer("default", mode("PERMISSIVE"))], &[]).is_err());
        for weakened in [
            mode("PERMISSIVE"),
            mode("DISABLE"),
            json!({"selector": {"matchLabels": {"app": "backend"}}, "mtls": {"mode": "DISABLE"}}),
            json!({"selector": {"matchLabels": {"app": "backend"}}, "portLevelMtls": {"5000": {"mode": "PERMISSIVE"}}}),
        ] {
            assert!(judge_modes(&strict(), &[peer("weak", weakened.clone())]).is_err(), "{weakened}");
        }
        // A setting for istio-system's own pods alone says nothing about the app.
        let selective =
            peer("own", json!({"selector": {"matchLabels": {"app": "istiod"}}, "mtls": {"mode": "STRICT"}}));
        assert!(judge_modes(&[selective], &[]).is_err());
    }

    #[test]
    fn the_identity_must_be_the_frontends_and_cannot_be_forged() {
        let answer = |encrypted: bool, caller: &str| json!({"encrypted": encrypted, "caller": {"spiffe_id": caller}});
        let frontend = "spiffe://cluster.local/ns/webapp/sa/frontend";
        for (honest, forged, passes) in [
            (answer(true, frontend), answer(true, frontend), true),
            (answer(true, frontend), answer(true, "spiffe://cluster.local/ns/forged/sa/nobody"), false),
            (answer(false, frontend), answer(true, frontend), false),
            (answer(true, "spiffe://cluster.local/ns/webapp/sa/loadtest"), answer(true, frontend), false),
            (json!({"encrypted": false, "caller": null}), answer(true, frontend), false),
        ] {
            let findings = judge_identity(frontend, &honest, &forged);
            assert_eq!(findings.outcome == Outcome::Passed, passes, "{honest} {forged}");
        }
    }

    #[test]
    fn a_pod_without_a_sidecar_or_not_ready_fails() {
        let pod = |containers: &[&str], ready: bool, labels: Value| -> Pod {
            from_value(json!({
                "metadata": {"name": "backend-1", "labels": labels},
                "spec": {"containers": containers.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()},
                "status": {"phase": "Running", "containerStatuses": containers.iter()
                    .map(|name| json!({"name": name, "ready": ready, "image": "", "imageID": "", "restartCount": 0})).collect::<Vec<_>>()}
            }))
            .unwrap()
        };
        let passed = |pods: &[Pod]| judge_meshed(pods).outcome == Outcome::Passed;
        let both = ["app", "istio-proxy"];
        assert!(passed(&[pod(&both, true, json!({}))]));
        assert_eq!(judge_meshed(&[pod(&both, true, json!({}))]).evidence, ["backend-1 2/2"]);
        assert!(!passed(&[pod(&both, false, json!({}))]));
        assert!(!passed(&[pod(&["app"], true, json!({}))]));
        assert!(!passed(&[]));
        let probing = pod(&["probe"], true, json!({PROBE_LABEL: "stranger"}));
        assert!(passed(&[pod(&both, true, json!({})), probing]), "a probing pod is not the app's");
    }
}

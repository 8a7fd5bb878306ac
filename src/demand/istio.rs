//! What Istio asks for: the charts that istioctl has compiled in, and the injection into pods.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Ask, Shows, Source, Unknown, Wanted};
use crate::{
    base::normalize_reference,
    cluster::manifest::{describe, pod_of},
};

/// Where the images are; `ztlab install` says it to istioctl.
pub const HUB: &str = "docker.io/istio";

/// Versions whose charts, injection template and profile `demo` were compared: they name the same images with the
/// version as tag.
const VERSIONS: [&str; 9] = ["1.20.0", "1.20.1", "1.20.2", "1.20.3", "1.20.4", "1.20.5", "1.20.6", "1.20.7", "1.20.8"];

const EGRESS: &str = "Deployment istio-system/istio-egressgateway, container istio-proxy";

/// What the profile `demo` starts: object and container, image, the line of istio/istio 1.20.0.
const CONTROL_PLANE: [(&str, &str, &str); 3] = [
    (
        "Deployment istio-system/istiod, container discovery",
        "pilot",
        "manifests/charts/istio-control/istio-discovery/templates/deployment.yaml:86",
    ),
    (
        "Deployment istio-system/istio-ingressgateway, container istio-proxy",
        "proxyv2",
        "manifests/charts/gateways/istio-ingress/templates/deployment.yaml:92",
    ),
    (EGRESS, "proxyv2", "manifests/charts/gateways/istio-egress/templates/deployment.yaml:92"),
];

/// What the injection adds: container, annotation that replaces its image, the line of istio/istio 1.20.0.
const TEMPLATE: &str = "manifests/charts/istio-control/istio-discovery/files/injection-template.yaml";
const INJECTED: [(&str, u32); 2] = [("init container istio-init", 79), ("container istio-proxy", 195)];
const PROXY_IMAGE: &str = "sidecar.istio.io/proxyImage";
const INJECT: &str = "sidecar.istio.io/inject";

/// What this Istio starts, and what it adds to the pods of these texts.
///
/// # Errors
/// When nobody has read what this version asks for.
pub fn asks(version: &str, sources: &[Source<'_>], no_egress_gateway: bool) -> Result<Vec<Ask>, Unknown> {
    if !VERSIONS.contains(&version) {
        return Err(Unknown { who: format!("Istio {version}"), known: VERSIONS.join(", ") });
    }
    let reference = |image: &str| Wanted::Image(format!("{HUB}/{image}:{version}"));
    let mut asks: Vec<Ask> = CONTROL_PLANE
        .iter()
        .filter(|(place, ..)| !(no_egress_gateway && *place == EGRESS))
        .map(|(place, image, line)| Ask {
            wanted: reference(image),
            who: format!("Istio {version}'s charts"),
            place: (*place).to_owned(),
            source: Some(format!("istio/istio {version}, {line}, profile demo")),
            step: "istio",
            shows: Shows::Pod,
        })
        .collect();
    let namespaces = injected_namespaces(sources);
    for source in sources {
        for object in source.objects {
            let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
            let Some(pod) = pod_of(object) else { continue };
            if !is_injected(namespaces.get(namespace).copied(), &pod.labels, &pod.annotations, pod.spec) {
                continue;
            }
            let own = pod.annotations.get(PROXY_IMAGE).filter(|image| image.contains('/'));
            for (container, line) in INJECTED {
                asks.push(Ask {
                    wanted: own.map_or_else(|| reference("proxyv2"), |image| Wanted::Image(normalize_reference(image))),
                    who: format!("Istio {version}'s injection"),
                    place: format!("{}: {}, {container}", source.name, describe(object)),
                    source: Some(format!("istio/istio {version}, {TEMPLATE}:{line}")),
                    step: source.step,
                    shows: Shows::Pod,
                });
            }
        }
    }
    Ok(asks)
}

/// Namespaces by whether their label asks for injection (`enabled`) or forbids it.
fn injected_namespaces<'lab>(sources: &[Source<'lab>]) -> BTreeMap<&'lab str, bool> {
    let objects = sources.iter().flat_map(|source| source.objects);
    let namespaces = objects.filter(|object| object.types.as_ref().is_some_and(|types| types.kind == "Namespace"));
    let labelled = namespaces.filter_map(|object| {
        let labels = object.metadata.labels.as_ref()?;
        let asks = match (labels.get("istio-injection"), labels.get("istio.io/rev")) {
            (Some(word), _) => word == "enabled",
            // istioctl without a revision serves the one called `default`.
            (None, Some(revision)) => revision == "default",
            (None, None) => return None,
        };
        Some((object.metadata.name.as_deref()?, asks))
    });
    labelled.collect()
}

/// Istio's rule (istio/istio 1.20.0, `pkg/kube/inject/inject.go:190-220`, behind the selectors of
/// `manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml:94-130`): never a pod in the host's
/// network; else the pod's own word, the label before the annotation; else the namespace's. In a namespace that says
/// nothing, only the label `true` is heard at all.
fn is_injected(
    namespace: Option<bool>,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    spec: &Value,
) -> bool {
    if spec["hostNetwork"].as_bool() == Some(true) {
        return false;
    }
    let label = labels.get(INJECT);
    match namespace {
        Some(true) => match label.or_else(|| annotations.get(INJECT)).map(|word| word.to_lowercase()) {
            Some(word) => matches!(word.as_str(), "" | "y" | "yes" | "true" | "on"),
            None => true,
        },
        Some(false) => false,
        None => label.is_some_and(|word| word == "true"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifest;

    const NAMESPACES: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: mesh, labels: {istio-injection: enabled}}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: plain}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: never, labels: {istio-injection: disabled}}\n---\n";

    fn injected(namespace: &str, metadata: &str, spec: &str) -> Vec<String> {
        let yaml = format!(
            "{NAMESPACES}apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a, namespace: {namespace}}}\nspec: {{template: {{metadata: {{{metadata}}}, spec: {{containers: [{{name: c, image: 'a:1'}}]{spec}}}}}}}\n"
        );
        let objects = manifest::parse("x.yaml", &yaml).unwrap();
        let asks = asks("1.20.0", &[Source { name: "x.yaml", step: "app", objects: &objects }], false).unwrap();
        let injected = asks.into_iter().filter(|ask| ask.who.ends_with("injection"));
        injected
            .map(|ask| match ask.wanted {
                Wanted::Image(image) => image,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn the_charts_are_istiod_and_two_gateways() {
        let places: Vec<_> =
            asks("1.20.0", &[], false).unwrap().into_iter().map(|ask| (ask.wanted, ask.place)).collect();
        assert_eq!(places.len(), 3);
        assert_eq!(places[0].0, Wanted::Image("docker.io/istio/pilot:1.20.0".to_owned()));
        assert_eq!(places[1].0, Wanted::Image("docker.io/istio/proxyv2:1.20.0".to_owned()));
        assert_eq!(asks("1.20.0", &[], true).unwrap().len(), 2, "the egress gateway can be left out");
        assert_eq!(asks("1.99.0", &[], false).unwrap_err().who, "Istio 1.99.0");
    }

    #[test]
    fn every_pod_of_a_labelled_namespace_gets_two_containers() {
        let two = ["docker.io/istio/proxyv2:1.20.0"; 2];
        assert_eq!(injected("mesh", "", ""), two);
        assert_eq!(injected("plain", "", ""), [""; 0]);
        assert_eq!(injected("never", "labels: {sidecar.istio.io/inject: 'true'}", ""), [""; 0]);
        assert_eq!(injected("mesh", "labels: {sidecar.istio.io/inject: 'false'}", ""), [""; 0]);
        assert_eq!(injected("mesh", "annotations: {sidecar.istio.io/inject: 'false'}", ""), [""; 0]);
        assert_eq!(injected("plain", "labels: {sidecar.istio.io/inject: 'true'}", ""), two);
        assert_eq!(injected("plain", "annotations: {sidecar.istio.io/inject: 'true'}", ""), [""; 0]);
        assert_eq!(injected("mesh", "", ", hostNetwork: true"), [""; 0]);
    }

    #[test]
    fn an_annotation_names_another_proxy() {
        let own = injected("mesh", "annotations: {sidecar.istio.io/proxyImage: 'quay.io/a/proxy:2'}", "");
        assert_eq!(own, ["quay.io/a/proxy:2"; 2]);
    }
}

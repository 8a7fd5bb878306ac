//! The add-ons as upstream has them, but for what would call out: patched as they are rendered, never in upstream's bytes.

use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::base::{normalize_reference, quiet::quiet_environment};

/// Gives each container the settings that keep it from calling out. What upstream's file says of the same variable is
/// replaced: the last of two would count.
pub(super) fn silence(object: &mut DynamicObject) {
    let Some(containers) = object.data.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut)
    else {
        return;
    };
    for container in containers {
        let image = normalize_reference(container["image"].as_str().unwrap_or_default());
        let wanted = quiet_environment(&image);
        if wanted.is_empty() {
            continue;
        }
        let mut variables = container["env"].as_array().cloned().unwrap_or_default();
        variables.retain(|variable| wanted.iter().all(|(name, _)| variable["name"] != *name));
        variables.extend(wanted.iter().map(|(name, value)| json!({"name": name, "value": value})));
        container["env"] = Value::Array(variables);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifest;

    #[test]
    fn grafana_is_told_to_be_quiet_and_the_rest_stays_upstreams() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: grafana, namespace: istio-system}\n\
            spec: {template: {spec: {containers: [\
            {name: grafana, image: 'grafana/grafana:9.5.5', env: [{name: GF_PATHS_DATA, value: /x}, {name: GF_ANALYTICS_CHECK_FOR_UPDATES, value: 'true'}]},\
            {name: other, image: 'quay.io/kiali/kiali:v1.76'}]}}}\n";
        let mut object = manifest::parse("test.yaml", text).unwrap().remove(0);
        silence(&mut object);
        let containers = &object.data["spec"]["template"]["spec"]["containers"];
        let of = |name: &str| {
            let all = containers[0]["env"].as_array().unwrap().iter().filter(|one| one["name"] == name);
            all.map(|one| one["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            (of("GF_PATHS_DATA"), of("GF_ANALYTICS_CHECK_FOR_UPDATES")),
            (vec!["/x".to_owned()], vec!["false".to_owned()])
        );
        assert_eq!(of("GF_ANALYTICS_REPORTING_ENABLED"), ["false"]);
        assert_eq!(containers[1]["env"], Value::Null);
    }
}

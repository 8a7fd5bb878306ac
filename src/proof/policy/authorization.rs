//! AuthorizationPolicies, as Istio's reference describes them: what is denied first, then what is allowed, and a
//! workload that an ALLOW policy selects refuses the rest.

use kube::api::DynamicObject;
use serde_json::Value;

use super::{End, Ruling, chooses, name, namespace};

/// A namespace whose policies hold for the whole mesh.
const ROOT_NAMESPACE: &str = "istio-system";

/// One HTTP request as the called sidecar sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'request> {
    /// The caller's identity without `spiffe://`; none when it showed no certificate.
    pub principal: Option<&'request str>,
    /// The method.
    pub method: &'request str,
    /// The path.
    pub path: &'request str,
    /// The port of the pod.
    pub port: u16,
}

/// May this request be answered?
pub fn judge(policies: &[DynamicObject], to: &End, request: &Request<'_>) -> Ruling {
    let (mut allowing, mut concerned) = (Vec::new(), Vec::new());
    for policy in policies {
        let spec = &policy.data["spec"];
        let here = namespace(policy) == to.namespace || namespace(policy) == ROOT_NAMESPACE;
        if !here || !chooses(&spec["selector"], &to.labels) {
            continue;
        }
        let rules = spec["rules"].as_array().into_iter().flatten();
        let matches = rules.into_iter().any(|rule| rule_matches(rule, request));
        match spec["action"].as_str().unwrap_or("ALLOW") {
            "ALLOW" if matches => allowing.push(name(policy)),
            "ALLOW" => concerned.push(name(policy)),
            "DENY" if matches => return Ruling::Denied(vec![name(policy)]),
            // AUDIT logs, and what a CUSTOM provider would say is not in the objects.
            _ => {}
        }
    }
    match (allowing.is_empty(), concerned.is_empty()) {
        (false, _) => Ruling::Allowed(allowing),
        (true, false) => Ruling::Denied(concerned),
        (true, true) => Ruling::Open,
    }
}

fn rule_matches(rule: &Value, request: &Request<'_>) -> bool {
    let any = |list: &Value, matches: &dyn Fn(&Value) -> bool| match list.as_array() {
        Some(items) if !items.is_empty() => items.iter().any(matches),
        _ => true,
    };
    let from = |item: &Value| source_matches(&item["source"], request);
    let to = |item: &Value| operation_matches(&item["operation"], request);
    // A condition (`when`) asks for what a table of calls does not know: the rule then counts as not matching.
    any(&rule["from"], &from) && any(&rule["to"], &to) && rule["when"].is_null()
}

fn source_matches(source: &Value, request: &Request<'_>) -> bool {
    let namespace = request.principal.and_then(|principal| principal.split("/ns/").nth(1)?.split('/').next());
    fields(
        source,
        &[
            ("principals", "notPrincipals", &|pattern| request.principal.is_some_and(|one| like(pattern, one))),
            ("namespaces", "notNamespaces", &|pattern| namespace.is_some_and(|one| like(pattern, one))),
        ],
    )
}

fn operation_matches(operation: &Value, request: &Request<'_>) -> bool {
    let port = request.port.to_string();
    fields(
        operation,
        &[
            ("methods", "notMethods", &|pattern| like(pattern, request.method)),
            ("paths", "notPaths", &|pattern| like(pattern, request.path)),
            ("ports", "notPorts", &|pattern| pattern == port),
        ],
    )
}

/// A list of patterns, its negation, and how one pattern is judged.
type Field<'judge> = (&'static str, &'static str, &'judge dyn Fn(&str) -> bool);

/// All fields of an item must hold; one that is not known here holds never.
fn fields(item: &Value, known: &[Field<'_>]) -> bool {
    item.as_object().into_iter().flatten().all(|(key, values)| {
        let any = |matches: &dyn Fn(&str) -> bool| {
            values.as_array().into_iter().flatten().filter_map(Value::as_str).any(matches)
        };
        known
            .iter()
            .any(|(wanted, unwanted, matches)| (key == wanted && any(matches)) || (key == unwanted && !any(matches)))
    })
}

/// Exact, `prefix*`, `*suffix`, or `*` for anything that is there.
fn like(pattern: &str, value: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => !value.is_empty(),
        (Some(suffix), _) => value.ends_with(suffix),
        (None, Some(prefix)) => value.starts_with(prefix),
        (None, None) => pattern == value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn policy(name: &str, spec: Value) -> DynamicObject {
        from_value(json!({"apiVersion": "security.istio.io/v1beta1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": "webapp"}, "spec": spec}))
        .unwrap()
    }

    fn backend() -> End {
        End { namespace: "webapp".to_owned(), labels: [("app".to_owned(), "backend".to_owned())].into(), is_pod: true }
    }

    const FRONTEND: Request<'static> =
        Request { principal: Some("cluster.local/ns/webapp/sa/frontend"), method: "GET", path: "/api/", port: 5000 };

    #[test]
    fn nothing_is_allowed_by_an_empty_policy_and_everything_without_one() {
        assert_eq!(judge(&[], &backend(), &FRONTEND), Ruling::Open);
        let deny = policy("deny-all", json!({}));
        assert_eq!(judge(&[deny], &backend(), &FRONTEND), Ruling::Denied(vec!["deny-all".to_owned()]));
        let elsewhere = policy("x", json!({"selector": {"matchLabels": {"app": "frontend"}}}));
        assert_eq!(judge(&[elsewhere], &backend(), &FRONTEND), Ruling::Open);
    }

    #[test]
    fn who_how_and_what_must_all_fit() {
        let rule = json!({"from": [{"source": {"principals": ["cluster.local/ns/webapp/sa/frontend"]}}],
            "to": [{"operation": {"methods": ["GET"], "paths": ["/api/*"], "ports": ["5000"]}}]});
        let policies = [policy("deny-all", json!({})), policy("backend", json!({"rules": [rule]}))];
        let passes = |request: Request<'_>| matches!(judge(&policies, &backend(), &request), Ruling::Allowed(_));
        assert!(passes(FRONTEND));
        assert!(!passes(Request { method: "POST", ..FRONTEND }));
        assert!(!passes(Request { path: "/other", ..FRONTEND }));
        assert!(!passes(Request { port: 80, ..FRONTEND }));
        assert!(!passes(Request { principal: Some("cluster.local/ns/webapp/sa/loadtest"), ..FRONTEND }));
        assert!(!passes(Request { principal: None, ..FRONTEND }));
    }

    #[test]
    fn a_denying_rule_comes_first_and_unknown_fields_match_nothing() {
        let everything = policy("all", json!({"rules": [{}]}));
        let denied = policy(
            "no-webapp",
            json!({"action": "DENY", "rules": [{"from": [{"source": {"namespaces": ["webapp"]}}]}]}),
        );
        assert_eq!(
            judge(&[everything.clone(), denied], &backend(), &FRONTEND),
            Ruling::Denied(vec!["no-webapp".to_owned()])
        );
        let unknown = policy("u", json!({"rules": [{"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]}]}));
        assert!(matches!(judge(&[unknown], &backend(), &FRONTEND), Ruling::Denied(_)));
        assert!(matches!(judge(&[everything], &backend(), &FRONTEND), Ruling::Allowed(_)));
    }

    #[test]
    fn patterns_are_exact_or_open_at_one_end() {
        for (pattern, value, matches) in [
            ("/api/*", "/api/x", true),
            ("/api/*", "/api", false),
            ("*/x", "/api/x", true),
            ("*", "x", true),
            ("*", "", false),
            ("GET", "GET", true),
        ] {
            assert_eq!(like(pattern, value), matches, "{pattern} {value}");
        }
    }
}

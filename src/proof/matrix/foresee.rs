//! How a call must end if the policy objects are enforced to the letter, and which of them decides. Pure.

use super::{
    super::policy::{
        Policies, Ruling, authorization,
        network::{self, Transport},
        peer,
    },
    cells::{Call, Fate},
};

/// Ports of a sidecar that nothing is redirected from (istio 1.20.0, `injection-template.yaml:97-102`): no mutual TLS,
/// no authorization.
const EXCLUDED: [u16; 3] = [15020, 15021, 15090];

/// A fate and the policy that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// How the call must end.
    pub fate: Fate,
    /// Which policy says so, for people.
    pub by: String,
}

/// Judges one call by the policies of the cluster.
pub fn foresee(policies: &Policies, app_namespace: &str, call: &Call) -> Foreseen {
    let (from, to) = (call.from.end(app_namespace), call.to.end(app_namespace));
    let foreseen = |fate, by: String| Foreseen { fate, by };
    let leaving = network::egress(&policies.network, &from, &to, call.port, Transport::Tcp);
    if let Ruling::Denied(by) = leaving {
        return foreseen(Fate::Silence, format!("on the way out: no rule of {}", network_names(&by)));
    }
    let arriving = network::ingress(&policies.network, &from, &to, call.port, Transport::Tcp);
    if let Ruling::Denied(by) = arriving {
        return foreseen(Fate::Silence, format!("on the way in: no rule of {}", network_names(&by)));
    }
    let passed = [(&leaving, "out"), (&arriving, "in")].into_iter().filter_map(|(ruling, way)| match ruling {
        Ruling::Allowed(by) => Some(format!("{way}: {}", network_names(by))),
        _ => None,
    });
    let passed = passed.collect::<Vec<_>>().join("; ");
    let passed = if passed.is_empty() { "no network policy is concerned".to_owned() } else { passed };
    if !call.to.meshed() || EXCLUDED.contains(&call.port) {
        return foreseen(Fate::Through, passed);
    }
    let (mode, mode_by) = peer::mode(&policies.peer, &to, call.port);
    let principal = call.from.principal(app_namespace);
    // A sidecar speaks plain text to a workload that wants no mutual TLS: then nobody is known.
    let principal = principal.filter(|_| mode != peer::Mode::Disable);
    if principal.is_none() && mode == peer::Mode::Strict {
        return foreseen(Fate::Cut, format!("{mode_by}: STRICT"));
    }
    let (method, path) = call.request.unwrap_or(("GET", "/"));
    let request = authorization::Request { principal: principal.as_deref(), method, path, port: call.port };
    match authorization::judge(&policies.authorization, &to, &request) {
        Ruling::Denied(by) => foreseen(Fate::Forbidden, format!("no rule of AuthorizationPolicy {}", by.join(", "))),
        Ruling::Allowed(by) => foreseen(answered(call), format!("AuthorizationPolicy {}", by.join(", "))),
        Ruling::Open => foreseen(answered(call), "no AuthorizationPolicy is concerned".to_owned()),
    }
}

fn answered(call: &Call) -> Fate {
    if call.request.is_some() { Fate::Answered } else { Fate::Through }
}

fn network_names(names: &[String]) -> String {
    format!("NetworkPolicy {}", names.join(", "))
}

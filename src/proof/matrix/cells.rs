//! Who may talk to whom: the lab's intention, written down. Not computed from the policies: it is what they are judged by.
//!
//! [`PACKETS`] asks what the network policies let through, [`REQUESTS`] what the authorization policies answer, [`SEALED`]
//! what is left when every rule that allows something is gone. Beside a port that a rule opens, a neighbour is called:
//! else a rule without ports would look the same.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::super::{
    mesh::ISTIO_NAMESPACE,
    policy::End,
    prober::GUEST_PORT,
    role::{Home, Role},
};

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A probing pod.
    Pod(Role),
    /// The ingress gateway, asked by a forwarded port.
    Gateway,
}

/// Who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The app's frontend.
    Frontend,
    /// The app's backend.
    Backend,
    /// The cluster's DNS.
    Dns,
    /// Istio's control plane.
    Istiod,
    /// Kubernetes' API.
    ApiServer,
    /// A probing pod.
    Pod(Role),
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Its packets are dropped: a network policy.
    Silence,
    /// Its packets arrive, whatever the other side makes of them.
    Through,
    /// Its connection is made, then ended without an answer: mutual TLS.
    Cut,
    /// HTTP 403 by the sidecar: an authorization policy.
    Forbidden,
    /// HTTP 200.
    Answered,
}

impl Fate {
    /// The word in a table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Through => "through",
            Self::Cut => "cut off",
            Self::Forbidden => "403",
            Self::Answered => "200",
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// One call of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Who calls.
    pub from: Source,
    /// Who is called.
    pub to: Place,
    /// The port of the called pod.
    pub port: u16,
    /// Method and path, where a sidecar is asked.
    pub request: Option<(&'static str, &'static str)>,
    /// How it must end.
    pub expected: Fate,
}

/// Calls of one source: place, port, fate.
type Row = (Role, &'static [(Place, u16, Fate)]);

use Fate::{Answered, Cut, Forbidden, Silence, Through};
use Place::{ApiServer, Backend, Dns, Frontend, Istiod, Pod};

/// Calls whose packets are judged.
const PACKET_ROWS: &[Row] = &[
    // Who may come in. The callers' own way out is open, or they live where there are no policies.
    (
        Role::OpenFrontend,
        &[
            (Backend, 5000, Cut),
            (Backend, 5001, Silence),
            (Frontend, 80, Silence),
            (Pod(Role::Stranger), 5000, Silence),
            (Pod(Role::Stranger), 80, Silence),
        ],
    ),
    (
        Role::OpenLoadtest,
        &[(Frontend, 80, Cut), (Frontend, 81, Silence), (Backend, 5000, Silence), (Pod(Role::Stranger), 80, Silence)],
    ),
    (
        Role::Stranger,
        &[
            (Frontend, 80, Silence),
            (Backend, 5000, Silence),
            (Frontend, 15020, Silence),
            (Pod(Role::Guest), GUEST_PORT, Cut),
        ],
    ),
    (
        Role::Collector,
        &[(Frontend, 15020, Through), (Backend, 15020, Through), (Frontend, 80, Silence), (Backend, 5000, Silence)],
    ),
    // The gateway itself keeps connections open, and those outlive a change of policy.
    (Role::GatewayTwin, &[(Frontend, 80, Cut), (Frontend, 81, Silence), (Backend, 5000, Silence)]),
    (Role::Neighbour, &[(Frontend, 80, Silence), (Backend, 5000, Silence), (Frontend, 15020, Silence)]),
    (Role::OutsideLoadtest, &[(Frontend, 80, Silence)]),
    (Role::OutsidePrometheus, &[(Frontend, 15020, Silence)]),
    // The outsider is refused by the app, and reaches everything else: the control of every silence below.
    (
        Role::Outsider,
        &[
            (Frontend, 80, Silence),
            (Backend, 5000, Silence),
            (ApiServer, 443, Through),
            (Dns, 8181, Through),
            (Istiod, 15014, Through),
            (Pod(Role::Decoy), 53, Through),
            (Pod(Role::Neighbour), 15012, Through),
            (Pod(Role::Newcomer), 5000, Through),
            (Pod(Role::Server), 5001, Through),
            (Pod(Role::Plain), 81, Through),
            (Pod(Role::OutsideBackend), 5000, Through),
            (Pod(Role::OutsideIstiod), 15012, Through),
        ],
    ),
    // Who may go out. The called pods' way in is open, or they live where there are no policies.
    (
        Role::Plain,
        &[
            (Backend, 5000, Cut),
            (Dns, 53, Through),
            (Istiod, 15012, Through),
            (Pod(Role::Server), 5000, Through),
            (Pod(Role::Server), 5001, Silence),
            (Pod(Role::Newcomer), 5000, Silence),
            (Pod(Role::OutsideBackend), 5000, Silence),
            (Dns, 8181, Silence),
            (Pod(Role::Decoy), 53, Silence),
            (Pod(Role::Outsider), 53, Silence),
            (Istiod, 15014, Silence),
            (Pod(Role::Neighbour), 15012, Silence),
            (Pod(Role::OutsideIstiod), 15012, Silence),
            (ApiServer, 443, Silence),
        ],
    ),
    (
        Role::Load,
        &[
            (Frontend, 80, Cut),
            (Pod(Role::Plain), 80, Through),
            (Pod(Role::Plain), 81, Silence),
            (Pod(Role::Newcomer), 80, Silence),
            (Pod(Role::Outsider), 80, Silence),
            (Pod(Role::Server), 5000, Silence),
            (ApiServer, 443, Silence),
        ],
    ),
    (
        Role::Newcomer,
        &[
            (Dns, 53, Through),
            (Istiod, 15012, Through),
            (Pod(Role::Plain), 80, Silence),
            (Pod(Role::Server), 5000, Silence),
            (Pod(Role::Outsider), 80, Silence),
            (ApiServer, 443, Silence),
        ],
    ),
    (Role::Server, &[(Pod(Role::Plain), 80, Silence), (ApiServer, 443, Silence)]),
];

/// What nothing but the denying policies decides: closed in both directions, beside the same calls without policies.
const SEALED_ROWS: &[Row] = &[
    (Role::Sealed, &[(ApiServer, 443, Silence), (Pod(Role::Outsider), 80, Silence)]),
    (
        Role::OutsideBackend,
        &[(Pod(Role::Sealed), 80, Silence), (ApiServer, 443, Through), (Pod(Role::Outsider), 80, Through)],
    ),
];

/// Requests: source, place, port, method, path, fate.
const REQUEST_ROWS: &[(Source, Place, u16, &str, &str, Fate)] = &[
    (Source::Gateway, Frontend, 80, "GET", "/", Answered),
    (Source::Pod(Role::Caller), Backend, 5000, "GET", "/api/", Answered),
    (Source::Pod(Role::Caller), Backend, 5000, "GET", "/health", Answered),
    (Source::Pod(Role::Caller), Backend, 5000, "POST", "/api/", Forbidden),
    (Source::Pod(Role::Caller), Backend, 5000, "POST", "/health", Forbidden),
    (Source::Pod(Role::Caller), Backend, 5000, "GET", "/elsewhere", Forbidden),
    (Source::Pod(Role::Impostor), Backend, 5000, "GET", "/api/", Forbidden),
    (Source::Pod(Role::Impostor), Backend, 5000, "GET", "/health", Forbidden),
    (Source::Pod(Role::Impostor), Pod(Role::Guest), GUEST_PORT, "GET", "/", Forbidden),
    (Source::Pod(Role::Guest), Frontend, 80, "GET", "/", Forbidden),
    (Source::Pod(Role::Guest), Frontend, 80, "GET", "/api/backend/", Forbidden),
];

/// The calls whose packets are judged.
pub fn packets() -> Vec<Call> {
    flat(PACKET_ROWS)
}

/// The calls of and to a pod that only the denying policies know.
pub fn sealed() -> Vec<Call> {
    flat(SEALED_ROWS)
}

/// The calls that a sidecar answers.
pub fn requests() -> Vec<Call> {
    REQUEST_ROWS
        .iter()
        .map(|(from, to, port, method, path, expected)| Call {
            from: *from,
            to: *to,
            port: *port,
            request: Some((method, path)),
            expected: *expected,
        })
        .collect()
}

fn flat(rows: &[Row]) -> Vec<Call> {
    rows.iter()
        .flat_map(|(role, calls)| {
            calls.iter().map(|(to, port, expected)| Call {
                from: Source::Pod(*role),
                to: *to,
                port: *port,
                request: None,
                expected: *expected,
            })
        })
        .collect()
}

/// Every pod that these calls need.
pub fn roles(calls: &[Call]) -> Vec<Role> {
    let from = calls.iter().filter_map(|call| match call.from {
        Source::Pod(role) => Some(role),
        Source::Gateway => None,
    });
    let to = calls.iter().filter_map(|call| match call.to {
        Place::Pod(role) => Some(role),
        _ => None,
    });
    from.chain(to).collect()
}

fn labelled(namespace: &str, labels: &[(&str, &str)]) -> End {
    let labels: BTreeMap<_, _> = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    End { namespace: namespace.to_owned(), labels, is_pod: true }
}

fn end_of(role: Role, app_namespace: &str) -> End {
    let make = role.make();
    let mut end = labelled(&role.namespace(app_namespace), make.labels);
    end.labels.insert(super::super::prober::PROBE_LABEL.to_owned(), make.key.to_owned());
    end
}

impl Source {
    /// What policies see of it.
    pub fn end(self, app_namespace: &str) -> End {
        match self {
            Self::Pod(role) => end_of(role, app_namespace),
            Self::Gateway => labelled(ISTIO_NAMESPACE, &[("istio", "ingressgateway"), ("app", "istio-ingressgateway")]),
        }
    }

    /// The identity in its certificate, without `spiffe://`.
    pub fn principal(self, app_namespace: &str) -> Option<String> {
        match self {
            Self::Pod(role) if role.make().sidecar => {
                Some(format!("cluster.local/ns/{}/sa/{}", role.namespace(app_namespace), role.make().account))
            }
            Self::Pod(_) => None,
            Self::Gateway => {
                Some(format!("cluster.local/ns/{ISTIO_NAMESPACE}/sa/istio-ingressgateway-service-account"))
            }
        }
    }
}

impl Place {
    /// What policies see of it.
    pub fn end(self, app_namespace: &str) -> End {
        match self {
            Self::Frontend => labelled(app_namespace, &[("app", "frontend"), ("version", "v2")]),
            Self::Backend => labelled(app_namespace, &[("app", "backend"), ("version", "v1")]),
            Self::Dns => labelled("kube-system", &[("k8s-app", "kube-dns")]),
            Self::Istiod => labelled(ISTIO_NAMESPACE, &[("app", "istiod")]),
            Self::ApiServer => End::default(),
            Self::Pod(role) => end_of(role, app_namespace),
        }
    }

    /// Whether a sidecar stands before it.
    pub fn meshed(self) -> bool {
        match self {
            Self::Frontend | Self::Backend => true,
            Self::Pod(role) => role.make().sidecar && role.make().home == Home::App,
            Self::Dns | Self::Istiod | Self::ApiServer => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(role) => role.fmt(formatter),
            Self::Gateway => formatter.write_str("the ingress gateway"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frontend => formatter.write_str("frontend"),
            Self::Backend => formatter.write_str("backend"),
            Self::Dns => formatter.write_str("DNS"),
            Self::Istiod => formatter.write_str("istiod"),
            Self::ApiServer => formatter.write_str("the API server"),
            Self::Pod(role) => role.fmt(formatter),
        }
    }
}

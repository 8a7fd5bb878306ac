//! Whom the probing pods stand for: data, read by what starts them and by what judges their calls.
//!
//! | role | namespace | labels | account | sidecar | rules of its own | stands for |
//! |---|---|---|---|---|---|---|
//! | caller | the app's | frontend | frontend | yes | | one who may: the positive control |
//! | impostor | the app's | frontend | loadtest | yes | way out | the right label, the wrong certificate |
//! | guest | the app's | loadtest | frontend | yes | way in | a workload that no authorization rule names, and a wrong caller of the frontend |
//! | plain | the app's | frontend | frontend | no | way in | the right label, no certificate; where a frontend may go |
//! | server | the app's | backend | backend | no | way in | where a backend may go |
//! | load | the app's | loadtest | loadtest | no | | where the load test may go |
//! | newcomer | the app's | (none) | frontend | no | way in | where a pod may go that nobody wrote a rule for |
//! | stranger | the app's | (none) | frontend | no | way out | whom no network policy lets in |
//! | open-frontend | the app's | frontend | frontend | no | way out | who lets a frontend in |
//! | open-loadtest | the app's | loadtest | loadtest | no | way out | who lets the load test in |
//! | neighbour | `istio-system` | (none) | default | no | | somebody beside the gateway |
//! | gateway-twin | `istio-system` | ingressgateway | default | no | | the gateway, without its open connections |
//! | collector | `istio-system` | prometheus | default | no | | Prometheus |
//! | decoy | `kube-system` | (none) | default | no | | somebody beside DNS |
//! | outsider | `ztlab-probe` | frontend, ingressgateway, kube-dns | default | no | | the same labels elsewhere; a namespace without policies |
//! | outside-… | `ztlab-probe` | loadtest, prometheus, backend, istiod | default | no | | the same, for the other labels |
//! | sealed | `ztlab-probe-sealed` | (none) | default | no | | what is left when every rule that allows something is gone |
//!
//! A network policy judges a packet twice, as it leaves and as it arrives. *Way out* and *way in* open one of the two for
//! a probing pod alone, so that only the other one is judged: else default-deny would drop a stranger's call as it
//! leaves, and nobody could see whether the called pod's policy was widened.

use std::fmt;

/// A namespace without injection and without policies.
pub const OUTSIDE_NAMESPACE: &str = "ztlab-probe";
/// A namespace that has only those policies of the app's that allow nothing.
pub const SEALED_NAMESPACE: &str = "ztlab-probe-sealed";

/// One probing pod. The table above says what each stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the module's table describes each")]
pub enum Role {
    Caller,
    Impostor,
    Guest,
    Plain,
    Server,
    Load,
    Newcomer,
    Stranger,
    OpenFrontend,
    OpenLoadtest,
    Neighbour,
    GatewayTwin,
    Collector,
    Decoy,
    Outsider,
    OutsideLoadtest,
    OutsidePrometheus,
    OutsideBackend,
    OutsideIstiod,
    Sealed,
}

/// Where a probing pod lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// The app's namespace.
    App,
    /// Istio's.
    Mesh,
    /// Kubernetes' own.
    System,
    /// One of the proof's own, without policies.
    Outside,
    /// One of the proof's own, with the app's denying policies and nothing else.
    Sealed,
}

/// What a role's pod is made of.
#[derive(Debug, Clone, Copy)]
pub struct Make {
    /// Its name behind `ztlab-probe-`, and the value of its label.
    pub key: &'static str,
    /// How a person reads it in a table.
    pub title: &'static str,
    /// Where it lives.
    pub home: Home,
    /// The labels that it wears besides the proof's own.
    pub labels: &'static [(&'static str, &'static str)],
    /// Its account.
    pub account: &'static str,
    /// Whether it has a sidecar.
    pub sidecar: bool,
    /// Whether its way out is opened.
    pub way_out: bool,
    /// Whether its way in is opened.
    pub way_in: bool,
}

const FRONTEND: &[(&str, &str)] = &[("app", "frontend")];
const BACKEND: &[(&str, &str)] = &[("app", "backend")];
const LOADTEST: &[(&str, &str)] = &[("app", "loadtest")];

const fn plain(
    key: &'static str,
    title: &'static str,
    home: Home,
    labels: &'static [(&'static str, &'static str)],
) -> Make {
    Make { key, title, home, labels, account: "default", sidecar: false, way_out: false, way_in: false }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 20] = [
        Self::Caller,
        Self::Impostor,
        Self::Guest,
        Self::Plain,
        Self::Server,
        Self::Load,
        Self::Newcomer,
        Self::Stranger,
        Self::OpenFrontend,
        Self::OpenLoadtest,
        Self::Neighbour,
        Self::GatewayTwin,
        Self::Collector,
        Self::Decoy,
        Self::Outsider,
        Self::OutsideLoadtest,
        Self::OutsidePrometheus,
        Self::OutsideBackend,
        Self::OutsideIstiod,
        Self::Sealed,
    ];

    /// What its pod is made of.
    pub const fn make(self) -> Make {
        match self {
            Self::Caller => Make {
                account: "frontend",
                sidecar: true,
                ..plain("caller", "a frontend in the mesh", Home::App, FRONTEND)
            },
            Self::Impostor => Make {
                account: "loadtest",
                sidecar: true,
                way_out: true,
                ..plain("impostor", "a frontend with the load test's certificate", Home::App, FRONTEND)
            },
            Self::Guest => Make {
                account: "frontend",
                sidecar: true,
                way_in: true,
                ..plain("guest", "a load test with the frontend's certificate", Home::App, LOADTEST)
            },
            Self::Plain => Make {
                account: "frontend",
                way_in: true,
                ..plain("plain", "a frontend without a sidecar", Home::App, FRONTEND)
            },
            Self::Server => Make {
                account: "backend",
                way_in: true,
                ..plain("server", "a backend without a sidecar", Home::App, BACKEND)
            },
            Self::Load => {
                Make { account: "loadtest", ..plain("load", "a load test without a sidecar", Home::App, LOADTEST) }
            }
            Self::Newcomer => Make {
                account: "frontend",
                way_in: true,
                ..plain("newcomer", "a pod that no rule names", Home::App, &[])
            },
            Self::Stranger => Make {
                account: "frontend",
                way_out: true,
                ..plain("stranger", "a stranger in the app's namespace", Home::App, &[])
            },
            Self::OpenFrontend => Make {
                account: "frontend",
                way_out: true,
                ..plain("open-frontend", "a frontend whose way out is open", Home::App, FRONTEND)
            },
            Self::OpenLoadtest => Make {
                account: "loadtest",
                way_out: true,
                ..plain("open-loadtest", "a load test whose way out is open", Home::App, LOADTEST)
            },
            Self::Neighbour => plain("neighbour", "a pod beside the gateway in istio-system", Home::Mesh, &[]),
            Self::GatewayTwin => {
                plain("gateway-twin", "the gateway's label in istio-system", Home::Mesh, &[("istio", "ingressgateway")])
            }
            Self::Collector => {
                plain("collector", "Prometheus' label in istio-system", Home::Mesh, &[("app", "prometheus")])
            }
            Self::Decoy => plain("decoy", "a pod beside DNS in kube-system", Home::System, &[]),
            Self::Outsider => plain(
                "outsider",
                "frontend's, the gateway's and DNS' labels in another namespace",
                Home::Outside,
                &[("app", "frontend"), ("istio", "ingressgateway"), ("k8s-app", "kube-dns")],
            ),
            Self::OutsideLoadtest => {
                plain("outside-loadtest", "the load test's label in another namespace", Home::Outside, LOADTEST)
            }
            Self::OutsidePrometheus => plain(
                "outside-prometheus",
                "Prometheus' label in another namespace",
                Home::Outside,
                &[("app", "prometheus")],
            ),
            Self::OutsideBackend => {
                plain("outside-backend", "the backend's label in another namespace", Home::Outside, BACKEND)
            }
            Self::OutsideIstiod => {
                plain("outside-istiod", "istiod's label in another namespace", Home::Outside, &[("app", "istiod")])
            }
            Self::Sealed => plain("sealed", "a pod under the denying policies alone", Home::Sealed, &[]),
        }
    }

    /// The pod's name.
    pub fn pod(self) -> String {
        format!("ztlab-probe-{}", self.make().key)
    }

    /// The pod's namespace.
    pub fn namespace(self, app_namespace: &str) -> String {
        match self.make().home {
            Home::App => app_namespace,
            Home::Mesh => super::mesh::ISTIO_NAMESPACE,
            Home::System => "kube-system",
            Home::Outside => OUTSIDE_NAMESPACE,
            Home::Sealed => SEALED_NAMESPACE,
        }
        .to_owned()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.make().title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_roles_share_a_name_and_all_are_in_the_list() {
        let keys: std::collections::BTreeSet<_> = Role::ALL.map(|role| role.make().key).into();
        assert_eq!(keys.len(), Role::ALL.len());
        assert!(Role::ALL.is_sorted(), "the list is in the order of the type, so none is twice in it");
    }

    #[test]
    fn the_table_of_the_module_names_every_role() {
        let text = include_str!("role.rs");
        for role in Role::ALL {
            let key = role.make().key;
            let row =
                if key.starts_with("outside-") { "//! | outside-…".to_owned() } else { format!("//! | {key} |") };
            assert!(text.contains(&row), "{key}");
        }
    }
}

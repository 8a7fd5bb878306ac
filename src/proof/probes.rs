//! The probes as data: name, claim and reason.

use serde::Serialize;

/// One claim about the running lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// The name that `verify --probe` takes.
    pub name: &'static str,
    /// What must be true.
    pub title: &'static str,
    /// Why it matters, for a student.
    pub why: &'static str,
}

/// Every probe, in the order of a report: from the bytes up to the behaviour.
pub const PROBES: [Probe; 19] = [
    Probe {
        name: "images-present",
        title: "every locked image is on the node under its digest",
        why: "What is already on the node, bit for bit, does not have to be trusted or fetched again.",
    },
    Probe {
        name: "images-running",
        title: "every running container was started from a locked image",
        why: "A tag can be moved to other bytes; the digest of what runs cannot.",
    },
    Probe {
        name: "drift",
        title: "lock, manifests, cluster and running containers name the same images",
        why: "A lab drifts at one of three places: the file was edited, the object was edited, or the tag was moved.",
    },
    Probe {
        name: "quiet",
        title: "nothing in the lab calls out",
        why: "Software likes to report usage, to ask for updates, to look which cloud it is in: here nobody is to know.",
    },
    Probe {
        name: "pods-meshed",
        title: "every pod of the app has its sidecar and is ready",
        why: "Without the sidecar a pod has no certificate: it can neither prove who it is nor check who calls.",
    },
    Probe {
        name: "dns",
        title: "names resolve in the app's pods, and only those that exist",
        why: "Without names nothing finds anything: a lab without DNS looks like a lab that denies everything.",
    },
    Probe {
        name: "istiod",
        title: "the app's pods reach istiod where certificates and rules come from, and nowhere else",
        why: "A sidecar that cannot reach istiod never becomes ready, and one that can reach its other ports sees too much.",
    },
    Probe {
        name: "gateway",
        title: "the app answers through the ingress gateway",
        why: "The gateway is the one door into the lab; whatever else is closed, this must be open.",
    },
    Probe {
        name: "identity",
        title: "the backend saw the frontend's certificate",
        why: "Zero Trust asks every caller who it is, also inside the cluster; the answer is a certificate, not an address.",
    },
    Probe {
        name: "certificates",
        title: "every sidecar shows a certificate of its own account that has not ended",
        why: "An identity is worth as much as the certificate behind it: whose it is, and that it is still good.",
    },
    Probe {
        name: "mtls-strict",
        title: "mutual TLS is required and every sidecar has the newest rules",
        why: "A rule protects nothing before the sidecars have it, and PERMISSIVE lets callers in who show no certificate.",
    },
    Probe {
        name: "plaintext",
        title: "a call without a certificate is cut off",
        why: "Whoever gets past the network rules still has to show a certificate before a byte reaches the app.",
    },
    Probe {
        name: "wrong-identity",
        title: "a caller with the wrong identity gets 403",
        why: "A pod can wear any label, but it cannot show a certificate for an account that it does not run as.",
    },
    Probe {
        name: "wrong-label",
        title: "a pod that no network policy allows gets no answer at all",
        why: "The network policy drops packets of strangers, so they cannot even find out that somebody is there.",
    },
    Probe {
        name: "egress",
        title: "nothing leaves the app's namespace beyond the rules",
        why: "A pod that was taken over must not reach the API server, the control plane or the world.",
    },
    Probe {
        name: "default-deny",
        title: "what no rule names is closed in both directions",
        why: "Rules that allow something come and go; what is closed must not be closed only because of one of them.",
    },
    Probe {
        name: "packets",
        title: "packets go where the network policies mean them to, and nowhere else",
        why: "Who may talk to whom is a table: each rule is called where it allows, and next door, where it must not.",
    },
    Probe {
        name: "requests",
        title: "sidecars answer whom the authorization policies mean, for what they mean, and nobody else",
        why: "The right caller may still ask for the wrong thing: method and path are part of who may do what.",
    },
    Probe {
        name: "enforcement",
        title: "every call ends as the policy objects in the cluster say",
        why: "A policy is a wish until something enforces it: what the objects say and what packets do must agree.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_has_its_own_name_and_a_sentence_for_students() {
        let names: std::collections::BTreeSet<_> = PROBES.iter().map(|probe| probe.name).collect();
        assert_eq!(names.len(), PROBES.len());
        for probe in PROBES {
            assert!(probe.why.ends_with('.') && probe.why.len() > 40, "{}", probe.name);
        }
    }
}

//! Why a gate stays shut: the causes, each with a code that `ztlab explain` knows and a command to type.

use std::fmt;

/// A cause that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Cause {
    /// The node does not have the image and cannot get it.
    #[error("the node has no image {image} ({message})")]
    #[diagnostic(
        code(wait::image_missing),
        help("type `ztlab install --from preload`; when the image is not in the lock, add it and `ztlab lock`")
    )]
    ImageMissing {
        /// The image as the pod asks for it.
        image: String,
        /// The kubelet's reason and message.
        message: String,
    },
    /// No node takes the pod: memory, CPU, taints.
    #[error("no node takes it: {message}")]
    #[diagnostic(
        code(wait::unschedulable),
        help(
            "the node needs more memory or CPUs than it has: `ztlab uninstall`, then `ztlab install --memory MIB --cpus N`"
        )
    )]
    Unschedulable {
        /// The scheduler's words.
        message: String,
    },
    /// A container was ended because it, or the node, used more memory than it may.
    #[error("out of memory: {message}")]
    #[diagnostic(
        code(wait::out_of_memory),
        help(
            "give the container a higher limit in its manifest, or the node more memory: `ztlab uninstall`, then `ztlab install --memory MIB`"
        )
    )]
    OutOfMemory {
        /// Which container, and what its limit is.
        message: String,
    },
    /// A container ends again and again.
    #[error("its container {container} ended with exit code {code} ({reason})")]
    #[diagnostic(code(wait::crash_loop), help("read the log above, mend what it names, then `ztlab install`"))]
    CrashLoop {
        /// The container.
        container: String,
        /// The last exit code.
        code: i32,
        /// The kubelet's reason, such as `Error`.
        reason: String,
    },
    /// The sidecar has no way to what it needs, because no network policy allows it.
    #[error("its sidecar may not reach {to}: {}", blocking(.policies))]
    #[diagnostic(
        code(wait::policy_blocking),
        help(
            "a policy has to allow it (manifests/calico/ of the lab does); `ztlab install --from policies` puts the lab's own back"
        )
    )]
    PolicyBlocking {
        /// What it has to reach, with the port.
        to: String,
        /// The policies that isolate the pod.
        policies: Vec<String>,
    },
    /// The machine's clock and the cluster's do not agree, or a certificate is not valid at what one of them says.
    #[error("clocks do not agree: {message}")]
    #[diagnostic(
        code(wait::clock_skew),
        help(
            "set the machine's clock (on a Mac, restarting Docker Desktop sets its machine's), then `ztlab install` again"
        )
    )]
    ClockSkew {
        /// By how much, or who says so.
        message: String,
    },
    /// The containers run, but a probe says no.
    #[error("a probe fails: {message}")]
    #[diagnostic(
        code(wait::probe_failing),
        help("type `ztlab install` again; on a slow machine with a longer `--timeout`")
    )]
    ProbeFailing {
        /// The kubelet's words, with the probe's answer.
        message: String,
    },
    /// An admission webhook refuses the pods, or does not answer.
    #[error("an admission webhook refuses its pods: {message}")]
    #[diagnostic(
        code(wait::webhook_refusing),
        help("type `kubectl get pods -n istio-system`; when istiod is down, `ztlab install --from istio`")
    )]
    WebhookRefusing {
        /// The API server's words.
        message: String,
    },
    /// Calico's operator says that a part of its work is degraded.
    #[error("the operator reports {component} as degraded: {message}")]
    #[diagnostic(
        code(wait::operator_degraded),
        help(
            "read the operator's words above; `kubectl logs -n tigera-operator deployment/tigera-operator` has the rest, then `ztlab install --from calico`"
        )
    )]
    OperatorDegraded {
        /// The part, such as `calico`.
        component: String,
        /// The operator's words.
        message: String,
    },
    /// A volume, a secret or the network of the pod is missing.
    #[error("it cannot be set up: {message}")]
    #[diagnostic(
        code(wait::pod_setup),
        help("type `ztlab install --from calico`: the pod network or an object that the pod needs is missing")
    )]
    Setup {
        /// The kubelet's words.
        message: String,
    },
}

fn blocking(policies: &[String]) -> String {
    match policies {
        [one] => format!("the network policy {one} isolates it, and none allows that"),
        more => format!("the network policies {} isolate it, and none allows that", more.join(", ")),
    }
}

/// A cause and the object that it stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Kind and name of the object.
    pub object: String,
    /// What stops it.
    pub cause: Cause,
    /// The end of the log of the container that it is about.
    pub log: Vec<String>,
    /// Its last warnings, oldest first.
    pub events: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "  {}: {}", self.object, self.cause)?;
        self.log.iter().try_for_each(|line| write!(formatter, "\n    | {line}"))?;
        self.events.iter().try_for_each(|event| write!(formatter, "\n    event: {event}"))
    }
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic as _;

    use super::*;

    #[test]
    fn a_finding_reads_as_a_paragraph_and_says_what_to_type() {
        let cause = Cause::CrashLoop { container: "backend".to_owned(), code: 1, reason: "Error".to_owned() };
        let finding = Finding {
            object: "pod webapp/backend-1".to_owned(),
            cause,
            log: vec!["ImportError: flask".to_owned()],
            events: vec!["BackOff: again".to_owned()],
        };
        let text = "  pod webapp/backend-1: its container backend ended with exit code 1 (Error)\n    | ImportError: flask\n    event: BackOff: again";
        assert_eq!(finding.to_string(), text);
        assert_eq!(finding.cause.code().unwrap().to_string(), "wait::crash_loop");
        assert!(finding.cause.help().unwrap().to_string().contains("ztlab install"));
    }

    #[test]
    fn the_policies_that_isolate_are_named() {
        let blocked = |policies: &[&str]| {
            let policies = policies.iter().map(|name| (*name).to_owned()).collect();
            Cause::PolicyBlocking { to: "istiod (15012)".to_owned(), policies }.to_string()
        };
        assert!(blocked(&["webapp/default-deny"]).contains("policy webapp/default-deny isolates"));
        assert!(blocked(&["a", "b"]).contains("policies a, b isolate"));
    }
}

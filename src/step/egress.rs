//! What tried to leave the machine during an offline install, and what left.
//!
//! | what is watched | how |
//! |---|---|
//! | ztlab itself | an install makes no client for the outside: it works from the store |
//! | programs that it starts (Minikube, istioctl, docker, ctr) | their proxies are a [`RefusingProxy`], which counts by target |
//! | node and pods | the kubelet's events: what it began to pull, what came; pods that wait for an image |
//!
//! Not seen: a program that goes around its proxy settings, and packets of pods to the outside (the probe `egress` shows
//! that the app's are dropped). What is known to be tried on every machine is named as such.

use std::{fmt, io, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::OnceCell;

use crate::cluster::{
    client::Cluster,
    pulls::{Before, Pull},
    refusal::RefusingProxy,
};

/// A cluster that is to be asked what was there before may not run yet.
const ASK: Duration = Duration::from_secs(3);
/// The node's clock may be that much behind this machine's.
const SKEW: Duration = Duration::from_secs(30);

/// What a healthy offline run tries, and why (kubernetes/minikube v1.32.0, `pkg/minikube/notify/notify.go:56-64`,
/// `pkg/minikube/machine/cache_images.go:105-147`).
const EXPECTED: [(&str, &str); 3] = [
    ("storage.googleapis.com:443", "Minikube's update check"),
    ("registry.k8s.io:443", "Minikube compares its images with the registry's"),
    ("gcr.io:443", "Minikube compares its images with the registry's"),
];

/// Something left.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("something left the machine during an offline install:\n{}", .left.iter().map(|one| format!("  {one}")).collect::<Vec<_>>().join("\n"))]
#[diagnostic(
    code("egress::seen"),
    help(
        "lock the image and give it `imagePullPolicy: IfNotPresent`, or remove the pod; `ztlab install --offline` looks again"
    )
)]
pub struct EgressError {
    left: Vec<String>,
}

/// Nobody can watch.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot watch what an offline install lets out: no loopback port for the refusing proxy")]
#[diagnostic(code("egress::watch"), help("end programs that hold many ports, then run the same command again"))]
pub struct WatchError(#[source] io::Error);

/// What was refused to one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// `host:port`
    pub target: String,
    /// How often a program asked for it.
    pub times: u64,
    /// What is known of it; `None` for what no healthy run tries.
    pub why: Option<&'static str>,
}

/// What tried to leave, and what left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Egress {
    /// What was seen to leave, one line each; empty in an offline install that was one.
    pub left: Vec<String>,
    /// What programs asked the proxy for, by target. Nothing of it left the machine.
    pub refused: Vec<Refused>,
    /// Images that the node tried to pull and did not get.
    pub pulls: Vec<Pull>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
}

impl Egress {
    /// How often something tried to leave.
    pub fn attempts(&self) -> u64 {
        self.refused.iter().map(|refused| refused.times).sum::<u64>() + (self.pulls.len() + self.left.len()) as u64
    }

    /// Whether nothing left.
    ///
    /// # Errors
    /// Names what did.
    pub fn verdict(&self) -> Result<(), EgressError> {
        if self.left.is_empty() { Ok(()) } else { Err(EgressError { left: self.left.clone() }) }
    }

    fn of(attempts: impl IntoIterator<Item = (String, u64)>, pulls: Vec<Pull>, unseen: Vec<String>) -> Self {
        let why = |target: &str| EXPECTED.iter().find(|(known, _)| *known == target).map(|(_, why)| *why);
        let refused = attempts.into_iter().map(|(target, times)| Refused { why: why(&target), target, times });
        let (came, tried): (Vec<Pull>, Vec<Pull>) = pulls.into_iter().partition(|pull| pull.came);
        let left = came.iter().map(|pull| format!("{} pulled {}", pull.pod, pull.image)).collect();
        // What came had been begun before.
        let tried =
            tried.into_iter().filter(|one| !came.iter().any(|pull| (&pull.pod, &pull.image) == (&one.pod, &one.image)));
        Self { left, refused: refused.collect(), pulls: tried.collect(), unseen }
    }
}

impl fmt::Display for Egress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.left.is_empty() { "nothing left".to_owned() } else { self.left.join(", ") };
        write!(formatter, "egress: {what}")?;
        for refused in &self.refused {
            write!(formatter, "; refused: {} ({} times", refused.target, refused.times)?;
            match refused.why {
                Some(why) => write!(formatter, ", {why})")?,
                None => formatter.write_str(")")?,
            }
        }
        for pull in &self.pulls {
            write!(formatter, "; {} wants {}, which the node lacks", pull.pod, pull.image)?;
        }
        for unseen in &self.unseen {
            write!(formatter, "; not looked at: {unseen}")?;
        }
        Ok(())
    }
}

/// Counts while an offline install runs.
pub struct Watch {
    proxy: RefusingProxy,
    since: Timestamp,
    before: OnceCell<Before>,
}

impl Watch {
    /// Starts to count.
    ///
    /// # Errors
    /// When no loopback port is free.
    pub async fn start() -> Result<Self, WatchError> {
        let proxy = RefusingProxy::start().await.map_err(WatchError)?;
        Ok(Self { proxy, since: Timestamp::now() - SKEW, before: OnceCell::new() })
    }

    /// The proxy of programs that are started.
    pub fn proxy(&self) -> String {
        self.proxy.url()
    }

    /// Remembers what a cluster that runs already has pulled, so that it does not count.
    pub async fn remember(&self, cluster: Option<&Cluster>) {
        let Some(cluster) = cluster else { return };
        if let Ok(Ok(before)) = tokio::time::timeout(ASK, cluster.pulls_before()).await {
            let _ = self.before.set(before);
        }
    }

    /// What was seen until now.
    pub async fn report(&self, cluster: Option<&Cluster>) -> Egress {
        let nothing = Before::default();
        let before = self.before.get().unwrap_or(&nothing);
        let (pulls, unseen) = match cluster {
            None => (Vec::new(), vec!["pulls, because there is no cluster".to_owned()]),
            Some(cluster) => match tokio::time::timeout(ASK * 5, cluster.pulls(before, self.since)).await {
                Ok(Ok(pulls)) => (pulls, Vec::new()),
                Ok(Err(error)) => (Vec::new(), vec![format!("pulls: {error}")]),
                Err(_) => (Vec::new(), vec!["pulls: the cluster did not answer in time".to_owned()]),
            },
        };
        Egress::of(self.proxy.attempts(), pulls, unseen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(pod: &str, image: &str, came: bool) -> Pull {
        Pull { pod: pod.to_owned(), image: image.to_owned(), came }
    }

    #[test]
    fn what_was_refused_is_told_apart_from_what_left() {
        let attempts = [("storage.googleapis.com:443".to_owned(), 2), ("updates.example:443".to_owned(), 1)];
        let egress = Egress::of(attempts, vec![pull("a/b", "x:1", false)], Vec::new());
        assert!(egress.verdict().is_ok());
        assert_eq!(egress.attempts(), 4);
        assert_eq!(
            egress.to_string(),
            "egress: nothing left; refused: storage.googleapis.com:443 (2 times, Minikube's update check); \
             refused: updates.example:443 (1 times); a/b wants x:1, which the node lacks"
        );
    }

    #[test]
    fn an_image_that_came_is_egress_and_counts_once() {
        let egress = Egress::of([], vec![pull("a/b", "x:1", false), pull("a/b", "x:1", true)], Vec::new());
        assert_eq!((egress.left.as_slice(), egress.attempts()), (&["a/b pulled x:1".to_owned()][..], 1));
        assert!(egress.verdict().unwrap_err().to_string().contains("a/b pulled x:1"));
    }
}

//! What a verb tells the teacher's roster, when the user wants that. It never decides how the verb ends.

use url::Url;

use super::{Context, verify::Proof};
use crate::{
    base::Event,
    fetch::seat::{self, Did, SeatName, SeatReport},
    lockfile,
    proof::Outcome,
};

/// A seat on a roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The name that was chosen.
    pub seat: SeatName,
    /// The server that `ztlab serve` runs on.
    pub server: Url,
}

/// Tells the roster what was done. With `--offline` nothing is told, and that is said: the server is not the cluster.
pub async fn tell(context: &Context, membership: Option<&Membership>, did: Did) {
    let Some(Membership { seat, server }) = membership else { return };
    let warn = |text: String| context.reporter.report(Event::Warning { text });
    if context.offline {
        return warn(format!("{server} was not told: --offline opens no socket but the cluster's"));
    }
    let Ok(lock) = lockfile::read(&context.lock_path()) else { return };
    let report = SeatReport { seat: seat.clone(), lab_id: lock.lab_id(), did };
    let network = match context.network(None) {
        Ok(network) => network,
        Err(error) => return warn(format!("{server} was not told: {error}")),
    };
    if let Err(error) = seat::report(&network, server, &report).await {
        warn(format!("the roster was not told: {error}"));
    }
}

/// What an error is on the roster: its code.
pub fn stopped(error: &miette::Report) -> Did {
    Did::Stopped { code: error.code().map_or_else(|| "ztlab::bug".to_owned(), |code| code.to_string()) }
}

/// What the probes found, on the roster.
pub fn verified(proof: &Proof) -> Did {
    let names = |wanted: fn(&Outcome) -> bool| {
        let those = proof.verdicts.iter().filter(|verdict| wanted(&verdict.outcome));
        those.map(|verdict| verdict.probe.name.to_owned()).collect()
    };
    Did::Verified {
        passed: names(|outcome| *outcome == Outcome::Passed),
        failed: names(|outcome| matches!(outcome, Outcome::Failed { .. })),
    }
}

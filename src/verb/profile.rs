//! Which of a lab's profiles a verb works with: the one that a person names, else the one that is there.

use super::{Context, install::kubeconfig, receipt};
use crate::{
    cluster::{client::Cluster, facts::GLANCE},
    intent::profile::FULL,
    lockfile::{Lock, Profile},
    step::{Target, journal, run::journal_key},
};

/// A profile, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The profile.
    pub profile: Profile,
    /// Whether a person named it.
    pub asked: bool,
}

/// Chooses. Without a name: what an install that did not come to its end was about, else what the receipt in the cluster
/// says, else what was last installed from here (a node that is stopped has no receipt to show), else everything. What
/// was done in an earlier cluster of the same name does not count.
///
/// # Errors
/// When the lab has no profile of the name that was given.
pub async fn choose(context: &Context, target: &Target, lock: &Lock, asked: Option<&str>) -> miette::Result<Chosen> {
    if let Some(name) = asked {
        return Ok(Chosen { profile: lock.profile(name)?, asked: true });
    }
    let there = answering(context, target).await;
    let key = journal_key(target, kubeconfig(context).as_deref());
    let here = there.as_ref().and_then(|there| there.cluster.as_deref());
    let name = match journal::last_profile(&context.journals, &key, here) {
        Some(last) if !last.ended => Some(last.name),
        other => there.and_then(|there| there.profile).or(other.map(|last| last.name)),
    };
    // Another lab may have been there, with profiles that this one does not have.
    let found = name.and_then(|name| lock.profile(&name).ok());
    let profile = match found {
        Some(profile) => profile,
        None => lock.profile(FULL)?,
    };
    Ok(Chosen { profile, asked: false })
}

/// The profile of the lab that is installed there, as far as the cluster answers and has a receipt.
pub(super) async fn installed(context: &Context, target: &Target) -> Option<String> {
    answering(context, target).await?.profile
}

/// A cluster that answers.
struct Answering {
    /// Which one it is.
    cluster: Option<String>,
    /// What its receipt says.
    profile: Option<String>,
}

async fn answering(context: &Context, target: &Target) -> Option<Answering> {
    let asked = async {
        let cluster = Cluster::connect(kubeconfig(context).as_deref(), target.context()).await.ok()?;
        let identity = cluster.identity().await.ok()?;
        let receipt = receipt::of(&cluster.client).await.ok().flatten();
        Some(Answering { cluster: identity, profile: receipt.map(|receipt| receipt.profile) })
    };
    tokio::time::timeout(GLANCE, asked).await.ok().flatten()
}

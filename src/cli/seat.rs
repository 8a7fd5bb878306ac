//! From `--seat`, `--roster` and `config.toml` to a seat on a roster.

use super::{args::SeatArguments, settings};
use crate::{
    fetch::seat::Did,
    verb::{
        Context,
        seat::{Membership, stopped, tell},
    },
};

/// One half of what a roster needs.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{given}` alone tells nobody anything")]
#[diagnostic(
    code(usage::roster),
    help("name both: `--seat A3 --roster http://ADDRESS:8642/`, or keep [roster] with seat and server in config.toml")
)]
pub(super) struct HalfError {
    given: &'static str,
}

/// The seat that a command line means, else that of the user's configuration.
fn of(arguments: &SeatArguments) -> miette::Result<Option<Membership>> {
    let kept = settings::roster()?;
    let seat = arguments.seat.clone().or(kept.seat);
    match (seat, arguments.roster.clone().or(kept.server)) {
        (Some(seat), Some(server)) => Ok(Some(Membership { seat, server })),
        // A name that is kept for later is no mistake.
        _ if arguments.seat.is_none() && arguments.roster.is_none() => Ok(None),
        (Some(_), None) => Err(HalfError { given: "--seat" }.into()),
        _ => Err(HalfError { given: "--roster" }.into()),
    }
}

/// Runs a verb, tells the roster how it ended, and gives its end back as it is. `did` is what a good end means there;
/// nothing, when only a part was asked for.
pub(super) async fn telling<T>(
    context: &Context,
    arguments: &SeatArguments,
    run: impl Future<Output = miette::Result<T>>,
    did: impl FnOnce(&T) -> Option<Did>,
) -> miette::Result<T> {
    let membership = of(arguments)?;
    let result = run.await;
    let did = match &result {
        Ok(outcome) => did(outcome),
        Err(report) => Some(stopped(report)),
    };
    if let Some(did) = did {
        tell(context, membership.as_ref(), did).await;
    }
    result
}

//! From the arguments of `ztlab fetch` to its verb. Ctrl-C ends a fetch at once, and sharing as its good end.

use super::{args::FetchArguments, builder, process::interrupted, render, seat};
use crate::{
    fetch::seat::Did,
    verb::{
        Context, estimate,
        fetch::{self, Outcome, Request, Share},
        install, sources,
    },
};

/// Somebody pressed Ctrl-C while blobs came.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("interrupted")]
pub(super) struct Interrupted;

pub(super) async fn dispatch(context: &Context, arguments: FetchArguments, json: bool) -> miette::Result<()> {
    let home = install::minikube_home(context);
    let whole = arguments.only.is_empty();
    let (port, at_most) = (arguments.share_port, arguments.share_for);
    let share = arguments.share.map(|bind| Share { bind, port, at_most });
    let request = async {
        miette::Result::<_>::Ok(Request {
            locked: arguments.locked,
            from: sources::of(context, &arguments.from, &home).await?,
            max_rate: arguments.max_rate,
            only: arguments.only,
            profile: arguments.profile,
            jobs: Some(arguments.jobs),
            per_host: Some(arguments.per_host),
            share,
        })
    };
    if arguments.estimate {
        let estimated = estimate::run(context, &request.await?, estimate::SAMPLE).await?;
        render::outcome("fetch --estimate", &estimated, json);
        return Ok(());
    }
    let run = async { fetch::run_sharing(context, &request.await?, Some(builder(context))).await };
    let did = |(fetched, _): &(Outcome, _)| whole.then_some(Did::Fetched { bytes: fetched.bytes });
    let run = seat::telling(context, &arguments.seat, run, did);
    if share.is_none() {
        render::outcome("fetch", &run.await?.0, json);
        return Ok(());
    }
    let (mut outcome, sharing) = tokio::select! {
        ran = run => ran?,
        () = interrupted() => return Err(Interrupted.into()),
    };
    if let Some(sharing) = sharing {
        outcome.shared = Some(sharing.stay(context, interrupted()).await);
    }
    render::outcome("fetch", &outcome, json);
    Ok(())
}

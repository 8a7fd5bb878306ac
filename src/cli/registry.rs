//! From the arguments of `ztlab push` and `ztlab pull` to their verbs.

use miette::IntoDiagnostic as _;

use super::{
    args::{PullArguments, PushArguments},
    builder, render,
};
use crate::verb::{Context, pull, push};

pub(super) async fn push(context: &Context, arguments: PushArguments, json: bool) -> miette::Result<()> {
    let PushArguments { destination, jobs, max_rate, program: programs } = arguments;
    let request = push::Request { destination: destination.parse()?, jobs, max_rate, programs };
    render::outcome("push", &push::run(context, request).await?, json);
    Ok(())
}

pub(super) async fn pull(context: &Context, arguments: PullArguments, json: bool) -> miette::Result<()> {
    let PullArguments { source, into, replace, expect, jobs } = arguments;
    let here = std::env::current_dir().into_diagnostic()?;
    let request = pull::Request { source: source.parse()?, expected: expect, into, here, replace, jobs };
    // A folder that is named by its way from here is one for every later step.
    let request = pull::Request { into: request.into.map(|folder| request.here.join(folder)), ..request };
    render::outcome("pull", &pull::run(context, request, Some(builder(context))).await?, json);
    Ok(())
}

//! From the arguments of `ztlab serve` to its verb. Ctrl-C is how it ends, and no failure.

use super::{args::ServeArguments, process::interrupted, render};
use crate::{
    serve::Limits,
    verb::{Context, serve},
};

pub(super) async fn dispatch(context: &Context, arguments: ServeArguments, json: bool) -> miette::Result<()> {
    let ServeArguments { bind, port, announce, roster, connections, per_address } = arguments;
    let limits = Limits { connections: connections.max(1), per_address: per_address.max(1), ..Limits::default() };
    let request = serve::Request { bind, port, limits, announce, roster };
    let outcome = tokio::select! {
        outcome = serve::run(context, &request, interrupted()) => outcome?,
        // Who asks twice does not want to wait for what is under way.
        () = twice() => return Ok(()),
    };
    render::outcome("serve", &outcome, json);
    Ok(())
}

async fn twice() {
    interrupted().await;
    interrupted().await;
}

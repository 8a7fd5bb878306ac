//! From the arguments of `ztlab bundle` to its verbs, and their outcomes to the terminal.

use miette::IntoDiagnostic as _;

use super::{args::BundleAction, render};
use crate::verb::{
    Context,
    bundle::{self, CreateRequest, ImportRequest},
};

pub(super) async fn dispatch(context: &Context, action: BundleAction, json: bool) -> miette::Result<()> {
    match action {
        BundleAction::Create(arguments) => {
            let programs = match arguments.program {
                _ if arguments.no_program => Vec::new(),
                programs if programs.is_empty() => vec![std::env::current_exe().into_diagnostic()?],
                programs => programs,
            };
            let request =
                CreateRequest { output: arguments.output, since: arguments.since, split: arguments.split, programs };
            render::outcome("bundle create", &bundle::create(context, request).await?, json);
        }
        BundleAction::Inspect { bundle } => {
            render::outcome("bundle inspect", &bundle::inspect(context, &bundle, None, false).await?, json);
        }
        BundleAction::Verify { bundle, expect } => {
            render::outcome("bundle verify", &bundle::inspect(context, &bundle, expect, true).await?, json);
        }
        BundleAction::Import { bundle, into, replace, expect } => {
            let here = std::env::current_dir().into_diagnostic()?;
            let request = ImportRequest { bundle, expected: expect, into, here, replace };
            render::outcome("bundle import", &bundle::import(context, request).await?, json);
        }
    }
    Ok(())
}

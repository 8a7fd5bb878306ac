//! From the arguments of `ztlab lock` to its verb, and its outcome to the terminal.

use super::{
    args::{LockAction, LockArguments},
    render,
};
use crate::verb::{Context, lock};

pub(super) async fn dispatch(context: &Context, arguments: LockArguments, json: bool) -> miette::Result<()> {
    match arguments.action {
        None if arguments.check => render::outcome("lock --check", &lock::check(context)?, json),
        None => {
            let request = lock::Request { upgrade: arguments.upgrade, dry_run: arguments.dry_run };
            render::outcome("lock", &lock::run(context, &request).await?, json);
        }
        Some(LockAction::Lint) => {
            let outcome = lock::lint(context).await?;
            render::outcome("lock lint", &outcome, json);
            outcome.verdict()?;
        }
        Some(LockAction::Show { names }) => render::outcome("lock show", &lock::show(context, &names)?, json),
    }
    Ok(())
}

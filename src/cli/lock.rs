//! From the arguments of `ztlab lock` to its verb, and its outcome to the terminal.

use super::{
    args::{DiffArguments, DiffFormat, LockAction, LockArguments, MergeArguments},
    outcome, render,
};
use crate::verb::{Context, lock};

/// What reads intent and lock and nothing else.
pub(super) fn run_alone(context: &Context, arguments: LockArguments, json: bool) -> miette::Result<()> {
    match arguments.action {
        Some(LockAction::Show { names }) => render::outcome("lock show", &lock::show(context, &names)?, json),
        _ => render::outcome("lock --check", &lock::check(context)?, json),
    }
    Ok(())
}

pub(super) async fn dispatch(context: &Context, arguments: LockArguments, json: bool) -> miette::Result<()> {
    match arguments.action {
        None if !arguments.check => {
            let age = lock::age_limit(context, arguments.min_age, arguments.allow_unknown_age)?;
            let request = lock::Request { upgrade: arguments.upgrade, dry_run: arguments.dry_run, age };
            render::outcome("lock", &lock::run(context, &request).await?, json);
        }
        Some(LockAction::Audit { recorded }) => {
            let outcome = lock::audit(context, recorded.as_deref())?;
            render::outcome("lock audit", &outcome, json);
            outcome.verdict()?;
        }
        Some(LockAction::Why { name }) => render::outcome("lock why", &lock::why(context, &name)?, json),
        Some(LockAction::Lint) => {
            let outcome = lock::lint(context).await?;
            render::outcome("lock lint", &outcome, json);
            outcome.verdict()?;
        }
        Some(LockAction::Diff(arguments)) => diff(context, &arguments, json).await?,
        Some(LockAction::Merge(arguments)) => match merge_request(&arguments) {
            Some(request) => merge(&request, json).await?,
            None => render::outcome("lock merge", &lock::install_driver(context).await?, json),
        },
        None | Some(LockAction::Show { .. }) => run_alone(context, arguments, json)?,
    }
    Ok(())
}

/// The three files of `lock merge`; `None` for anything else.
fn merge_request(arguments: &MergeArguments) -> Option<lock::MergeRequest> {
    let (base, ours, theirs) = (arguments.base.clone()?, arguments.ours.clone()?, arguments.theirs.clone()?);
    Some(lock::MergeRequest { base, ours, theirs, path: arguments.path.clone() })
}

/// The request of a merge driver. Git calls it in the repository's top folder, which need not be a lab, so it is
/// answered before anybody looks for one.
pub(super) fn driver_request(arguments: &LockArguments) -> Option<lock::MergeRequest> {
    match &arguments.action {
        Some(LockAction::Merge(arguments)) => merge_request(arguments),
        _ => None,
    }
}

pub(super) async fn merge(request: &lock::MergeRequest, json: bool) -> miette::Result<()> {
    let environment = std::env::vars().collect();
    render::outcome("lock merge", &lock::merge_files(&environment, request).await?, json);
    Ok(())
}

/// Prints the difference before it judges: whoever asks for `--alarm` in CI still wants the text.
async fn diff(context: &Context, arguments: &DiffArguments, json: bool) -> miette::Result<()> {
    let outcome = lock::diff(context, arguments.range.as_deref(), arguments.other.as_deref()).await?;
    match arguments.format {
        DiffFormat::Text => render::outcome("lock diff", &outcome, json),
        DiffFormat::Md => render::line(&outcome::diff_markdown(&outcome)),
        DiffFormat::Json => render::json_line(&outcome),
    }
    if arguments.alarm { Ok(lock::refuse_alarms(&outcome.diff)?) } else { Ok(()) }
}

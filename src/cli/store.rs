//! From the arguments of `ztlab store` to its verbs, and their outcomes to the terminal.

use super::{args::StoreAction, ask, outcome::Preview, render};
use crate::{
    fetch::blocking,
    verb::{Context, store},
};

pub(super) async fn dispatch(context: &Context, action: StoreAction, yes: bool, json: bool) -> miette::Result<()> {
    match action {
        StoreAction::Ls => render::outcome("store ls", &store::ls(context)?, json),
        StoreAction::Du => {
            let context = context.clone();
            render::outcome("store du", &blocking(move || store::du(&context)).await?, json);
        }
        StoreAction::Verify => render::outcome("store verify", &store::verify(context).await?, json),
        StoreAction::Repair => {
            let builder = super::builder(context);
            let repaired = store::repair(context, &Default::default(), Some(builder)).await?;
            render::outcome("store repair", &repaired, json);
        }
        StoreAction::Gc { dry_run, forget } => {
            let told = store::look_for_garbage(context, &forget)?;
            if dry_run || told.is_empty() {
                render::outcome("store gc", &Preview { dry_run: true, told: &told }, json);
                return Ok(());
            }
            if !json {
                render::line(&render::Render::text(&Preview { dry_run: false, told: &told }));
            }
            if !ask::confirm("Remove that?", "ztlab store gc --yes", yes, json)? {
                render::note("nothing was removed");
                return Ok(());
            }
            let context = context.clone();
            render::outcome("store gc", &blocking(move || store::collect(&context, &told)).await?, json);
        }
    }
    Ok(())
}

//! Do the versions go together? Asked before anything else is.

use miette::Diagnostic;

use crate::{
    base::Event,
    intent::{
        Intent,
        compatibility::{self, Judgement, Verdict},
    },
    verb::Context,
};

/// Versions that are known not to work together.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("versions of this lab do not work together\n{}", .judgements.iter().map(|judgement| format!("  {judgement}")).collect::<Vec<_>>().join("\n"))]
#[diagnostic(
    code(lock::incompatible),
    help("change one of each pair in [version] of lock/ztlab.toml, then run `ztlab lock`")
)]
pub struct Incompatible {
    /// Each pair with its reason and source.
    pub judgements: Vec<Judgement>,
}

/// Refuses what is known not to work, and warns of what nobody has tried.
pub(super) fn refuse_incompatible(context: &Context, intent: &Intent) -> Result<(), Incompatible> {
    let judged = compatibility::judge(&intent.version);
    for unknown in judged.iter().filter(|judgement| judgement.verdict == Verdict::Unknown) {
        context.reporter.report(Event::Warning { text: format!("nobody is known to have tried {unknown}") });
    }
    let judgements: Vec<Judgement> =
        judged.into_iter().filter(|judgement| judgement.verdict == Verdict::Refused).collect();
    if judgements.is_empty() { Ok(()) } else { Err(Incompatible { judgements }) }
}

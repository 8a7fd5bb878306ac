//! `ztlab store gc`: first what would go and whom the rest belongs to, then, after a yes, away with it.

use serde::Serialize;

use crate::store::{Garbage, KnownLab, Roots, Store};

use super::{
    Context, LabState,
    known::{here, known_labs, noted_labs},
};

/// What a collection would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Labs whose blobs stay.
    pub labs: Vec<LabState>,
    /// Labs that are to be forgotten.
    pub forgotten: Vec<LabState>,
    /// What would go.
    #[serde(flatten)]
    pub garbage: Garbage,
    /// Its bytes.
    pub bytes: u64,
}

impl Told {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.garbage.is_empty() && self.forgotten.is_empty()
    }
}

/// What a collection did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Collection {
    /// What went.
    #[serde(flatten)]
    pub removed: Garbage,
    /// Its bytes.
    pub bytes: u64,
}

/// `--forget` names nobody.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the store knows no lab `{name}`; it knows {}", listed(.known))]
#[diagnostic(code(usage::known_lab), help("name a lab, or the folder or lock of one, as `ztlab store du` lists them"))]
pub struct UnknownLab {
    name: String,
    known: Vec<String>,
}

fn listed(labs: &[String]) -> String {
    if labs.is_empty() { "none".to_owned() } else { labs.join(", ") }
}

/// Looks for what no known lab reaches, as if the labs in `forget` (names, folders or locks) were forgotten.
/// Changes nothing.
///
/// # Errors
/// When a lab in `forget` is not known, or nobody can say what one needs.
pub fn look_for_garbage(context: &Context, forget: &[String]) -> miette::Result<Told> {
    let store = context.open_store()?;
    let (labs, forgotten) = sorted(context, &store, forget)?;
    let garbage = store.garbage(&roots(&labs))?;
    Ok(Told { labs, forgotten, bytes: garbage.bytes(), garbage })
}

/// Forgets and removes what was told, as far as it is still garbage when nobody else uses the store. Blocks.
///
/// # Errors
/// Any I/O error; when nobody can say any more what a lab needs, nothing is removed.
pub fn collect(context: &Context, told: &Told) -> miette::Result<Collection> {
    let store = context.open_store()?;
    for state in &told.forgotten {
        store.forget_lab(&state.lock)?;
    }
    // This folder's lab counts without a note, and a forgotten one must not come back by that; nor does its lock have to
    // be readable. Whoever was forgotten and has fetched again meanwhile has a note again.
    let here = here(context);
    let without_here = told.forgotten.iter().any(|state| state.lock == here);
    let now = || {
        let states = if without_here { noted_labs(&store) } else { known_labs(context, &store) };
        Ok(roots(&states.map_err(Refused)?))
    };
    let removed =
        store.collect::<Refused>(&told.garbage, now, context.reporter.as_ref()).map_err(|refused| refused.0)?;
    Ok(Collection { bytes: removed.bytes(), removed })
}

/// Any reason not to go on.
struct Refused(miette::Report);

impl From<crate::store::StoreError> for Refused {
    fn from(error: crate::store::StoreError) -> Self {
        Self(error.into())
    }
}

fn roots(states: &[LabState]) -> Roots {
    let labs = states.iter().map(|state| &state.lab);
    Roots::of(labs)
}

/// Known labs: those that stay, and those that a person wants forgotten.
fn sorted(context: &Context, store: &Store, forget: &[String]) -> miette::Result<(Vec<LabState>, Vec<LabState>)> {
    let states = known_labs(context, store)?;
    for name in forget {
        if !states.iter().any(|state| is_named(&state.lab, name)) {
            let known = states.iter().map(|state| format!("{} ({})", state.name, state.lock.display())).collect();
            return Err(UnknownLab { name: name.clone(), known }.into());
        }
    }
    Ok(states.into_iter().partition(|state| !forget.iter().any(|name| is_named(&state.lab, name))))
}

fn is_named(lab: &KnownLab, name: &str) -> bool {
    let path = std::path::absolute(name).unwrap_or_else(|_| name.into());
    lab.name == name || lab.lock == path || lab.lock.parent().and_then(std::path::Path::parent) == Some(&path)
}

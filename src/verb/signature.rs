//! Who vouches for the lab's lock: reads `lock/ztlab.lock.minisig` and the policy, judges, and says so.

use std::io::Read as _;

use miette::Diagnostic;

use crate::{
    base::Event,
    lockfile::{self, Lock},
    review::{
        policy::PolicyError,
        signature::{self, FILE_NAME, Signing, Standing},
    },
};

use super::Context;

/// Minisign's files have some three hundred bytes; a comment may be longer.
const MAX_LENGTH: u64 = 16 * 1024;

/// A signed lock is never completed: that would make another lock of it.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the lock is signed by {by}, and {} still pending: completing it would break the signature", listed(.pending))]
#[diagnostic(
    code(signature::pending),
    help(
        "a maintainer takes lock/ztlab.lock.minisig away, runs `ztlab fetch`, and signs the complete lock with `minisign -S -m lock/ztlab.lock`"
    )
)]
pub struct SignedPending {
    by: String,
    pending: Vec<String>,
}

fn listed(pending: &[String]) -> String {
    match pending {
        [one] => format!("{one} is"),
        [first, others @ ..] => format!("{first} and {} other entries are", others.len()),
        [] => "nothing is".to_owned(),
    }
}

/// The signature's file cannot be read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot read lock/{FILE_NAME}")]
#[diagnostic(code(signature::unreadable), help("look at the rights of the file, then run the same command again"))]
pub struct Unreadable(#[source] std::io::Error);

/// Judges the signature of a lab's lock. Opens no socket.
///
/// # Errors
/// When the policy cannot be understood, when it requires a signature and there is none, and when one does not fit.
pub fn judge(context: &Context, lock: &Lock) -> miette::Result<Standing> {
    let signing = match super::lock::policy(context) {
        Ok(policy) => policy.signature,
        Err(PolicyError::Absent { .. }) => Signing::default(),
        Err(error) => return Err(error.into()),
    };
    // A lock is read only in its canonical form, so these are the bytes of the file, and of no later one.
    let bytes = lockfile::write(lock);
    Ok(signature::judge(&signing, bytes.as_bytes(), read(context)?.as_deref())?)
}

/// Judges, and tells people which lab this is and who vouches for it.
///
/// # Errors
/// As for [`judge`].
pub fn introduce(context: &Context, lock: &Lock) -> miette::Result<Standing> {
    let standing = judge(context, lock)?;
    say(context, lock, &standing);
    Ok(standing)
}

/// Tells people which lab this is and who vouches for it.
pub fn say(context: &Context, lock: &Lock, standing: &Standing) {
    let text = format!("lab {} ({}), {standing}", lock.name, lock.lab_id().short());
    context.reporter.report(Event::Note { text });
}

/// Refuses to complete a signed lock.
///
/// # Errors
/// [`SignedPending`], when the lock is signed and `pending` names something.
pub fn refuse_pending(standing: &Standing, pending: &[String]) -> Result<(), SignedPending> {
    match standing {
        Standing::Signed { by, .. } if !pending.is_empty() => {
            Err(SignedPending { by: by.clone(), pending: pending.to_vec() })
        }
        _ => Ok(()),
    }
}

/// Says that a lock that was just written has an old signature beside it.
pub fn warn_when_old(context: &Context) {
    if path(context).exists() {
        let text = format!("lock/{FILE_NAME} belongs to the lock as it was: sign the new one, or take the file away");
        context.reporter.report(Event::Warning { text });
    }
}

fn path(context: &Context) -> std::path::PathBuf {
    context.lab.join("lock").join(FILE_NAME)
}

fn read(context: &Context) -> Result<Option<String>, Unreadable> {
    let file = match fs_err::File::open(path(context)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH).read_to_end(&mut bytes).map_err(Unreadable)?;
    // What is no text is no signature: the judge says so.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

//! The minimum age of new pins: from the command line, else from the lab's policy.

use crate::{
    base::MinimumAge,
    resolve::AgeLimit,
    review::policy::{PolicyError, UnknownAge},
    verb::Context,
};

use super::policy;

/// The limit that holds for this run: `--min-age` where it is given, else `min-age` of lock/policy.toml.
///
/// What was locked before the policy is not judged here; `ztlab lock lint` looks at that.
///
/// # Errors
/// When there is a policy that cannot be understood.
pub fn age_limit(
    context: &Context,
    given: Option<MinimumAge>,
    allow_unknown: bool,
) -> Result<Option<AgeLimit>, PolicyError> {
    if let Some(minimum) = given {
        return Ok(Some(AgeLimit { minimum, allow_unknown, asked_by: format!("--min-age {minimum}") }));
    }
    let policy = match policy(context) {
        Ok(policy) => policy,
        Err(PolicyError::Absent { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(policy.min_age.map(|minimum| AgeLimit {
        minimum,
        allow_unknown: allow_unknown || policy.unknown_age == UnknownAge::Allow,
        asked_by: format!("min-age {minimum} of lock/policy.toml"),
    }))
}

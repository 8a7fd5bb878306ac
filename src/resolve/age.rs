//! How long ago something was published, and whether that is long enough.
//!
//! A release that was tampered with is usually found out within days: who waits a week before locking a new version
//! lets others find it. The time is what upstream says: a wheel's `upload-time` (PEP 700), `created` in an image's
//! config, a file's `Last-Modified`. It protects against haste, not against somebody who writes a false date.

use jiff::{SignedDuration, Timestamp};

use crate::base::{
    MinimumAge,
    age::{NO_DATE_BEFORE, human_age},
};

use super::ResolveError;

/// What a new pin has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgeLimit {
    /// At least so old.
    pub minimum: MinimumAge,
    /// Whether something whose age nobody says is taken.
    pub allow_unknown: bool,
    /// Who asks for it, for messages: `--min-age 7d`.
    pub asked_by: String,
}

impl AgeLimit {
    /// Refuses what was published too recently, or when nobody knows.
    pub(super) fn judge(&self, what: &str, published: Option<Timestamp>, now: Timestamp) -> Result<(), ResolveError> {
        let (what, asked_by) = (what.to_owned(), self.asked_by.clone());
        let Some(published) = published else {
            return if self.allow_unknown { Ok(()) } else { Err(ResolveError::AgeUnknown { what, asked_by }) };
        };
        let age = now.duration_since(published);
        let minimum = SignedDuration::try_from(self.minimum.duration()).unwrap_or(SignedDuration::MAX);
        if age >= minimum {
            return Ok(());
        }
        let age = match u64::try_from(age.as_secs()) {
            Ok(seconds) if !age.is_negative() => format!("{} old", human_age(seconds)),
            _ => "from the future".to_owned(),
        };
        let ripe = published.checked_add(minimum).unwrap_or(Timestamp::MAX);
        Err(ResolveError::TooYoung { what, asked_by, age, published, ripe })
    }
}

/// When an image was made, if its config says so credibly.
pub(super) fn created(text: Option<&str>) -> Option<Timestamp> {
    let created: Timestamp = text?.parse().ok()?;
    (created.as_second() >= NO_DATE_BEFORE).then_some(created)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn week(allow_unknown: bool) -> AgeLimit {
        AgeLimit { minimum: "7d".parse().unwrap(), allow_unknown, asked_by: "--min-age 7d".to_owned() }
    }

    #[test]
    fn the_limit_is_exact_and_the_message_says_when_it_is_reached() {
        let now = at("2026-01-08T12:00:00Z");
        let judge = |published: &str| week(false).judge("image.pause", Some(at(published)), now);
        assert!(judge("2026-01-01T12:00:00Z").is_ok());
        let error = judge("2026-01-01T12:00:01Z").unwrap_err();
        assert_eq!(
            error.to_string(),
            "image.pause is 6 days old (published 2026-01-01T12:00:01Z), and --min-age 7d asks for more"
        );
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("2026-01-08T12:00:01Z") && help.contains("`ztlab lock`"), "{help}");
        assert!(judge("2026-01-08T10:30:00Z").unwrap_err().to_string().contains("is 1 hour old"));
        assert!(judge("2027-01-01T00:00:00Z").unwrap_err().to_string().contains("is from the future"));
    }

    #[test]
    fn an_unknown_age_is_refused_unless_it_is_allowed() {
        let now = at("2026-01-08T12:00:00Z");
        assert!(week(true).judge("file.a", None, now).is_ok());
        let error = week(false).judge("file.a", None, now).unwrap_err();
        assert_eq!(error.to_string(), "file.a: its age is unknown, and --min-age 7d asks for one");
    }

    #[test]
    fn dates_of_reproducible_builds_are_no_ages() {
        for text in ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1980-01-01T00:00:00Z", "yesterday"] {
            assert_eq!(created(Some(text)), None, "{text}");
        }
        assert_eq!(created(None), None);
        assert_eq!(created(Some("2023-11-13T18:00:00.123456789Z")), Some(at("2023-11-13T18:00:00.123456789Z")));
    }
}

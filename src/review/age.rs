//! Ages without a network: nobody can ask upstream when it published something. What can be known is
//!
//! - since when the team has had this very entry (git's date of its last change): upstream had it by then, so it is
//!   *at least* that old;
//! - when the image says it was built (`created` in its config): it cannot have been published earlier, so it is
//!   *at most* that old. Reproducible builds say 1970 or 1980; that tells nothing.
//!
//! An entry that neither dates is of unknown age, and is said to be.

use super::{
    Finding,
    lint::{Checked, Report, Subject, kind},
    policy::UnknownAge,
};
use crate::base::age::human_age;

/// What can be known of an entry's age offline. Seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dates {
    /// When the entry last changed, by git.
    pub pinned: Option<i64>,
    /// When the image says it was built.
    pub built: Option<i64>,
}

/// What the dates of an entry say.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Age {
    Old,
    Young(String),
    Unknown(String),
}

fn age(dates: Dates, minimum: u64, now: i64) -> Age {
    let since = |then: i64| u64::try_from(now.saturating_sub(then)).unwrap_or(0);
    if dates.pinned.is_some_and(|pinned| since(pinned) >= minimum) {
        return Age::Old;
    }
    match (dates.built, dates.pinned) {
        (Some(built), _) if since(built) < minimum => {
            Age::Young(format!("built {} ago, {} by its config", human_age(since(built)), day(built)))
        }
        (Some(_), _) => Age::Old,
        (None, Some(pinned)) => {
            Age::Unknown(format!("pinned {} ago; nothing older dates it", human_age(since(pinned))))
        }
        (None, None) => Age::Unknown("neither git nor a config in the store dates it".to_owned()),
    }
}

fn day(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

pub(super) fn ages(subject: &Subject<'_>, report: &mut Report) {
    let Some(minimum) = subject.policy.min_age else {
        report.checked.push(Checked { rule: "age", looked_at: "no min-age in lock/policy.toml".to_owned() });
        return;
    };
    // What ztlab builds has no upstream that could be young.
    let artifacts = subject.lock.artifacts().into_iter().map(|artifact| artifact.name);
    let (mut old, mut total) = (0, 0);
    for entry in artifacts.filter(|name| kind(name) != "app") {
        total += 1;
        let finding = |found: String, fix: &str| Finding {
            entry: entry.clone(),
            rule: "age",
            found,
            allowed: format!("at least {minimum}"),
            place: None,
            fix: fix.to_owned(),
        };
        match age(subject.dates.get(&entry).copied().unwrap_or_default(), minimum.seconds(), subject.now) {
            Age::Old => old += 1,
            Age::Young(found) => report.findings.push(finding(
                found,
                "take the version before it in lock/ztlab.toml, or wait; `ztlab lock --upgrade NAME` locks it anew then",
            )),
            Age::Unknown(why) => {
                if subject.policy.unknown_age == UnknownAge::Refuse {
                    report.findings.push(finding(
                        format!("unknown: {why}"),
                        "look at upstream's date by hand; `unknown-age = \"allow\"` in lock/policy.toml lets it pass and be listed",
                    ));
                }
                report.unknown_age.push(entry);
            }
        }
    }
    report.checked.push(Checked {
        rule: "age",
        looked_at: format!("{old} of {total} entries are at least {minimum} old, {} unknown", report.unknown_age.len()),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;
    const DAY: i64 = 86_400;

    #[test]
    fn git_dates_from_below_and_a_config_from_above() {
        let at = |pinned: Option<i64>, built: Option<i64>| {
            let dates =
                Dates { pinned: pinned.map(|days| NOW - days * DAY), built: built.map(|days| NOW - days * DAY) };
            age(dates, 7 * 86_400, NOW)
        };
        let young = |text: &str| Age::Young(text.to_owned());
        assert_eq!(at(Some(7), None), Age::Old, "the team has had it for a week");
        assert!(matches!(at(Some(6), None), Age::Unknown(_)), "upstream may have had it longer, and may not");
        assert_eq!(at(Some(6), Some(400)), Age::Old, "built long ago");
        assert_eq!(at(Some(1), Some(3)), young("built 3 days ago, 2023-11-11 by its config"));
        assert_eq!(at(None, Some(-3)), young("built 0 hours ago, 2023-11-17 by its config"), "a date to come");
        assert!(matches!(at(None, None), Age::Unknown(_)));
    }
}

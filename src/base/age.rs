//! How old something has to be before it is trusted: `7d`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Tools that want the same bytes every day write a day of 1970 or 1980 (the first that zip files know), or the year 1:
/// a date before 1990-01-01 is no date. Seconds since 1970.
pub const NO_DATE_BEFORE: i64 = 631_152_000;

/// A length of time as people write it in a policy or on the command line: hours, days or weeks, as `36h`, `7d`, `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MinimumAge {
    seconds: u64,
}

/// Text that is no such length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an age: expected a number and h, d or w, as `36h`, `7d` or `2w`")]
pub struct MinimumAgeError(String);

impl MinimumAge {
    /// As seconds.
    pub fn seconds(self) -> u64 {
        self.seconds
    }

    /// For arithmetic.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Seconds as people say them: `5 days`, `3 hours`.
pub fn human_age(seconds: u64) -> String {
    let (number, unit) = if seconds >= 2 * DAY { (seconds / DAY, "days") } else { (seconds / HOUR, "hours") };
    format!("{number} {}", if number == 1 { unit.trim_end_matches('s') } else { unit })
}

impl FromStr for MinimumAge {
    type Err = MinimumAgeError;

    fn from_str(text: &str) -> Result<Self, MinimumAgeError> {
        let error = || MinimumAgeError(text.chars().take(40).collect());
        let unit = text.chars().last().ok_or_else(error)?;
        let length = match unit {
            'h' => HOUR,
            'd' => DAY,
            'w' => 7 * DAY,
            _ => return Err(error()),
        };
        let number = &text[..text.len() - unit.len_utf8()];
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        let number: u64 = number.parse().map_err(|_| error())?;
        Ok(Self { seconds: number.checked_mul(length).ok_or_else(error)? })
    }
}

impl fmt::Display for MinimumAge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds.is_multiple_of(DAY) {
            write!(formatter, "{}d", self.seconds / DAY)
        } else {
            write!(formatter, "{}h", self.seconds / HOUR)
        }
    }
}

impl TryFrom<String> for MinimumAge {
    type Error = MinimumAgeError;

    fn try_from(text: String) -> Result<Self, MinimumAgeError> {
        text.parse()
    }
}

impl From<MinimumAge> for String {
    fn from(age: MinimumAge) -> Self {
        age.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_days_and_weeks_are_ages() {
        for (text, seconds, shown) in
            [("36h", 129_600, "36h"), ("7d", 604_800, "7d"), ("2w", 1_209_600, "14d"), ("0d", 0, "0d")]
        {
            let age: MinimumAge = text.parse().unwrap();
            assert_eq!((age.seconds(), age.to_string().as_str()), (seconds, shown), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for text in [
            "",
            "7",
            "d",
            "-7d",
            "+7d",
            "7 d",
            "7m",
            "1.5d",
            "7d ",
            "99999999999999999999d",
            "9999999999999999999w",
            "7ä",
        ] {
            assert!(text.parse::<MinimumAge>().is_err(), "{text}");
        }
    }

    #[test]
    fn ages_are_said_in_words() {
        assert_eq!(
            [human_age(0), human_age(3600), human_age(86_400), human_age(200_000)],
            ["0 hours", "1 hour", "24 hours", "2 days"]
        );
    }
}

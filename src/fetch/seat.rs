//! What a laptop tells the teacher's server, when its user wants that: a seat's name, and what was done. Nothing else
//! about the person or the machine is in it.

use std::{fmt, str::FromStr, time::Duration};

use reqwest::{Method, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::base::Digest;

use super::{FetchError, Network, http::Http, source::shown};

/// Nobody waits longer for a roster.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest name of a seat, in letters.
const MOST_LETTERS: usize = 32;
/// Most probes in one report, and the longest name of one.
const MOST_PROBES: usize = 64;
const PROBE_LETTERS: usize = 40;

/// A name that somebody chose for a seat: `A3`, `window left`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SeatName(String);

/// A text that is no name of a seat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("`{text}` is no name of a seat: {problem}")]
#[diagnostic(
    code(usage::seat),
    help("up to {} letters, digits, spaces, `-`, `_` and `.`; the first a letter or a digit: --seat A3", MOST_LETTERS)
)]
pub struct SeatNameError {
    text: String,
    problem: &'static str,
}

impl FromStr for SeatName {
    type Err = SeatNameError;

    fn from_str(text: &str) -> Result<Self, SeatNameError> {
        let error = |problem| SeatNameError { text: text.chars().take(MOST_LETTERS).collect(), problem };
        let name = text.trim();
        // The first letter decides whether a spreadsheet takes a cell for a formula.
        if !name.starts_with(char::is_alphanumeric) {
            return Err(error("it does not begin with a letter or a digit"));
        }
        if name.chars().count() > MOST_LETTERS {
            return Err(error("it is too long"));
        }
        if !name.chars().all(|letter| letter.is_alphanumeric() || " -_.".contains(letter)) {
            return Err(error("it has other characters"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl TryFrom<String> for SeatName {
    type Error = SeatNameError;

    fn try_from(text: String) -> Result<Self, SeatNameError> {
        text.parse()
    }
}

impl From<SeatName> for String {
    fn from(name: SeatName) -> Self {
        name.0
    }
}

impl fmt::Display for SeatName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One thing that a seat did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeatReport {
    /// Whose.
    pub seat: SeatName,
    /// Of which lab.
    pub lab_id: Digest,
    /// What.
    pub did: Did,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Did {
    /// Every locked byte is in the store.
    Fetched {
        /// How many bytes that is.
        bytes: u64,
    },
    /// The lab is installed.
    Installed {
        /// How long it took.
        seconds: f64,
    },
    /// The probes ran.
    Verified {
        /// Probes that passed.
        passed: Vec<String>,
        /// Probes that failed.
        failed: Vec<String>,
    },
    /// A command ended with an error.
    Stopped {
        /// Its code, as in `fetch::incomplete`.
        code: String,
    },
}

impl SeatReport {
    /// Why a report from the network is not taken, if so.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), &'static str> {
        let word = |text: &str, most, more: &str| {
            let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || more.contains(letter);
            (1..=most).contains(&text.len())
                && text.starts_with(|first: char| first.is_ascii_lowercase())
                && text.chars().all(plain)
        };
        match &self.did {
            Did::Fetched { .. } => Ok(()),
            Did::Installed { seconds } if (0.0..=1e6).contains(seconds) => Ok(()),
            Did::Installed { .. } => Err("no install takes so long"),
            Did::Verified { passed, failed } => {
                let names = || passed.iter().chain(failed);
                match () {
                    () if names().count() > MOST_PROBES => Err("so many probes there are not"),
                    () if !names().all(|name| word(name, PROBE_LETTERS, "-")) => Err("that is no name of a probe"),
                    () => Ok(()),
                }
            }
            Did::Stopped { code } if word(code, PROBE_LETTERS, ":_") => Ok(()),
            Did::Stopped { .. } => Err("that is no code of an error"),
        }
    }
}

/// Posts a report to a server, once and without a second attempt: a roster that misses a line is no harm.
///
/// # Errors
/// Offline, no answer, or a server that does not take it.
pub async fn report(network: &Network, server: &Url, report: &SeatReport) -> Result<(), FetchError> {
    let mut address = server.clone();
    address.set_path("/roster");
    let url = shown(&address);
    if network.offline {
        return Err(FetchError::Offline { url });
    }
    let problem = |source: serde_json::Error| FetchError::Address { text: url.clone(), problem: source.to_string() };
    let body = serde_json::to_vec(report).map_err(problem)?;
    // The server is whom the user named: it sends nobody elsewhere.
    let http = Http::new(network, false)?;
    let request = http.get()?.request(Method::POST, address).header(CONTENT_TYPE, "application/json").body(body);
    match tokio::time::timeout(PATIENCE, request.send()).await {
        Ok(Ok(response)) if response.status().is_success() => Ok(()),
        Ok(Ok(response)) => Err(FetchError::Status { url, status: response.status(), retry_after: None }),
        Ok(Err(source)) => Err(FetchError::Connect { url, source: source.without_url() }),
        Err(_) => Err(FetchError::Stalled { url, seconds: PATIENCE.as_secs(), received: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_seats_are_short_and_plain() {
        for name in ["A3", "7", "window left", "Bänk 3", "席2", "a-b_c.d"] {
            assert_eq!(name.parse::<SeatName>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "  ",
            "=1+1",
            "-A3",
            "@A3",
            "+3",
            "a\nb",
            "a\tb",
            "<b>",
            "a,b",
            "a\"b",
            "a\u{202e}b",
            "a\u{0}",
            &"a".repeat(33),
        ] {
            assert!(name.parse::<SeatName>().is_err(), "{name:?}");
        }
        assert!(serde_json::from_str::<SeatName>("\"=cmd\"").is_err(), "the network's names are held to the same");
    }

    #[test]
    fn reports_with_anything_strange_in_them_are_not_taken() {
        let report = |did: &str| {
            let text = format!(r#"{{"seat":"A3","lab_id":"{}","did":{did}}}"#, Digest::of(b"lab"));
            serde_json::from_str::<SeatReport>(&text).map_err(|error| error.to_string())
        };
        let taken = |did: &str| report(did).is_ok_and(|report| report.check().is_ok());
        assert!(taken(r#"{"kind":"fetched","bytes":5}"#));
        assert!(taken(r#"{"kind":"installed","seconds":61.5}"#));
        assert!(taken(r#"{"kind":"verified","passed":["mtls-strict"],"failed":[]}"#));
        assert!(taken(r#"{"kind":"stopped","code":"fetch::incomplete"}"#));
        let many = vec!["\"a\""; MOST_PROBES + 1].join(",");
        for did in [
            r#"{"kind":"fetched","bytes":-1}"#,
            r#"{"kind":"fetched","bytes":5,"name":"Ada"}"#,
            r#"{"kind":"installed","seconds":1e300}"#,
            r#"{"kind":"installed","seconds":-1}"#,
            r#"{"kind":"verified","passed":["=cmd()"],"failed":[]}"#,
            r#"{"kind":"verified","passed":["a b"],"failed":[]}"#,
            r#"{"kind":"stopped","code":"<script>"}"#,
            r#"{"kind":"stopped","code":""}"#,
            r#"{"kind":"rooted"}"#,
            &format!(r#"{{"kind":"verified","passed":[],"failed":[{many}]}}"#),
        ] {
            assert!(!taken(did), "{did}");
        }
    }
}

//! One call from inside a pod, and what its answer means.
//!
//! The three layers of the lab refuse in three ways, and curl can tell them apart: a network policy drops packets
//! (no connection within the time limit), a sidecar that wants a certificate ends the connection (made, then reset or
//! closed without an answer), an authorization policy answers 403.

use std::{fmt, time::Duration};

use kube::Client;

use crate::cluster::exec::{ExecError, exec};

/// The name of the container that runs curl.
pub const CONTAINER: &str = "probe";
/// curl's exit codes that matter here.
const EXIT_REFUSED: i32 = 7;
const EXIT_TIME_LIMIT: i32 = 28;
const EXIT_EMPTY_REPLY: i32 = 52;
const EXIT_SEND: i32 = 55;
const EXIT_RECEIVE: i32 = 56;
/// What curl writes after the body: the status and the seconds until TCP was connected (0 when it never was).
const WRITE_OUT: &str = "\n%{http_code} %{time_connect}";
/// What the API server and the kubelet may add to curl's own time limit.
const EXEC_MARGIN: Duration = Duration::from_secs(20);

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP response.
    Http {
        /// Its status.
        status: u16,
        /// Whether Envoy's authorization filter wrote it.
        access_denied: bool,
    },
    /// TCP connected, then the other side ended it without an answer.
    Cut,
    /// No connection within the time limit: packets are dropped.
    Silence,
    /// Connected, but no answer within the time limit.
    Stalled,
    /// Nobody listens there.
    Refused,
    /// Something else, such as a name that cannot be resolved.
    Other {
        /// curl's exit code.
        exit: i32,
        /// What curl said.
        said: String,
    },
}

impl Answer {
    /// Whether the call came as far as the other side's TCP.
    pub fn connected(&self) -> bool {
        matches!(self, Self::Http { .. } | Self::Cut | Self::Stalled)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { status, access_denied: true } => write!(formatter, "HTTP {status}, RBAC: access denied"),
            Self::Http { status, access_denied: false } => write!(formatter, "HTTP {status}"),
            Self::Cut => formatter.write_str("connected, then cut off"),
            Self::Silence => formatter.write_str("silence"),
            Self::Stalled => formatter.write_str("connected, then no answer"),
            Self::Refused => formatter.write_str("connection refused"),
            Self::Other { exit, said } => write!(formatter, "curl exit {exit}: {said}"),
        }
    }
}

/// The arguments of a call: no shell is involved, and nothing of the pod's settings is read.
pub fn command(url: &str, seconds: u64) -> Vec<String> {
    let seconds = seconds.to_string();
    // `-k`: the API server's certificate is not what is being judged. `--noproxy`: nothing may stand in between.
    let fixed = ["curl", "-q", "-sS", "-k", "--noproxy", "*", "-m", &seconds, "-o", "-", "-w", WRITE_OUT, url];
    fixed.map(str::to_owned).into()
}

/// Makes one call from a pod.
///
/// # Errors
/// When the pod cannot be reached; however the call itself ends is an [`Answer`].
pub async fn call(client: &Client, namespace: &str, pod: &str, url: &str, seconds: u64) -> Result<Answer, ExecError> {
    let command = command(url, seconds);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let output = exec(client, namespace, pod, CONTAINER, &command, Duration::from_secs(seconds) + EXEC_MARGIN).await?;
    Ok(parse(&output.stdout, &output.stderr, output.code))
}

/// Reads what curl wrote and its exit code.
pub fn parse(stdout: &str, stderr: &str, exit: i32) -> Answer {
    let (body, written) = stdout.trim_end().rsplit_once('\n').unwrap_or(("", stdout.trim_end()));
    let mut fields = written.split_whitespace();
    let status: u16 = fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
    // A locale may write a comma.
    let connect: f64 = fields.next().and_then(|field| field.replace(',', ".").parse().ok()).unwrap_or(0.0);
    match (exit, status) {
        (0, 1..) => Answer::Http { status, access_denied: body.contains("RBAC: access denied") },
        (EXIT_TIME_LIMIT, _) if connect > 0.0 => Answer::Stalled,
        (EXIT_TIME_LIMIT, _) => Answer::Silence,
        // curl reports a connect timeout of the kernel as 7 too, but only after minutes.
        (EXIT_REFUSED, _) => Answer::Refused,
        (EXIT_EMPTY_REPLY | EXIT_SEND | EXIT_RECEIVE, _) => Answer::Cut,
        _ => Answer::Other { exit, said: stderr.trim().lines().last().unwrap_or_default().to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_refuse_is_told_apart() {
        let http = |status, access_denied| Answer::Http { status, access_denied };
        for (stdout, stderr, exit, expected) in [
            ("{\"service\":\"backend\"}\n\n200 0.001", "", 0, http(200, false)),
            ("RBAC: access denied\n403 0.001", "", 0, http(403, true)),
            ("Forbidden\n403 0.001", "", 0, http(403, false)),
            ("\n204 0,002", "", 0, http(204, false)),
            ("\n000 0.000812", "curl: (56) Recv failure: Connection reset by peer", 56, Answer::Cut),
            ("\n000 0.000812", "curl: (52) Empty reply from server", 52, Answer::Cut),
            ("\n000 0.000000", "curl: (28) Connection timed out after 3001 milliseconds", 28, Answer::Silence),
            ("\n000 0.000600", "curl: (28) Operation timed out", 28, Answer::Stalled),
            ("\n000 0.000000", "curl: (7) Failed to connect", 7, Answer::Refused),
            ("", "", 28, Answer::Silence),
        ] {
            assert_eq!(parse(stdout, stderr, exit), expected, "{stdout:?} {exit}");
        }
    }

    #[test]
    fn an_unresolved_name_is_no_denial() {
        let answer = parse("\n000 0.000000", "curl: (6) Could not resolve host: backend-service", 6);
        assert_eq!(answer.to_string(), "curl exit 6: curl: (6) Could not resolve host: backend-service");
        assert!(!answer.connected());
    }

    #[test]
    fn a_body_that_ends_like_the_write_out_changes_nothing() {
        assert_eq!(parse("500 1\n200 0.1", "", 0), Answer::Http { status: 200, access_denied: false });
    }
}

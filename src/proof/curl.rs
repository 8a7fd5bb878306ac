//! One call from inside a pod, and what its answer means.
//!
//! The three layers of the lab refuse in three ways, and curl can tell them apart: a network policy drops packets
//! (no connection within the time limit), a sidecar that wants a certificate ends the connection (made, then reset or
//! closed without an answer), an authorization policy answers 403.

use std::{fmt, time::Duration};

use kube::Client;

use super::prober::Prober;
use crate::cluster::exec::{ExecError, ExecOutput, exec};

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

/// What Envoy's authorization filter answers with, to the byte (envoy 1.28, `rbac_filter.cc`).
const ACCESS_DENIED: &str = "RBAC: access denied";
/// Before each line that [`many`] makes curl write: the call's place in the list. (An `@` would name a file to curl.)
const MARK: char = '=';

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

/// One of several calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
}

/// Makes several calls from one pod side by side, `times` in a row, with one command. The answers are in the order of the
/// calls.
///
/// # Errors
/// When the pod cannot be reached; however a call itself ends is an [`Answer`].
pub async fn many(
    client: &Client,
    from: &Prober,
    calls: &[Request],
    seconds: u64,
    times: usize,
) -> Result<Vec<Vec<Answer>>, ExecError> {
    let command = side_by_side(calls, seconds, times);
    let deadline = Duration::from_secs(seconds) * u32::try_from(times).unwrap_or(1) + EXEC_MARGIN;
    let output = run(client, from, &command, deadline).await?;
    Ok((0..calls.len()).map(|index| parse_line(&output.stdout, index)).collect())
}

/// Runs a command in a probing pod.
pub(super) async fn run(
    client: &Client,
    from: &Prober,
    command: &[String],
    deadline: Duration,
) -> Result<ExecOutput, ExecError> {
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    exec(client, &from.namespace, &from.name, CONTAINER, &command, deadline).await
}

/// The shell only repeats: the calls are its arguments, so nothing in them is read as a command.
fn side_by_side(calls: &[Request], seconds: u64, times: usize) -> Vec<String> {
    let repeat = format!("n={times}; while [ $n -gt 0 ]; do \"$@\"; n=$((n-1)); done; exit 0");
    let mut command =
        ["sh", "-c", &repeat, "sh", "curl", "-q", "-sS", "-Z", "--parallel-immediate", "--parallel-max", "64"]
            .map(str::to_owned)
            .to_vec();
    for (index, Request { method, url }) in calls.iter().enumerate() {
        if index > 0 {
            command.push("--next".to_owned());
        }
        // The body is thrown away: several at once could not be told apart. Envoy's refusal has a length of its own.
        let line =
            format!("{MARK}{index} %{{exitcode}} %{{http_code}} %{{time_connect}} %{{size_download}} %{{errormsg}}\\n");
        let seconds = seconds.to_string();
        let one = ["-k", "--noproxy", "*", "-m", &seconds, "-o", "/dev/null", "-w", &line, "-X", method, url];
        command.extend(one.map(str::to_owned));
    }
    command
}

/// The answers of one call, in the order in which they came.
fn parse_line(stdout: &str, index: usize) -> Vec<Answer> {
    let mark = format!("{MARK}{index} ");
    let lines = stdout.lines().filter_map(|line| line.strip_prefix(&mark));
    lines
        .map(|line| {
            let mut fields = line.splitn(5, ' ');
            let mut next = || fields.next().unwrap_or_default().to_owned();
            let (exit, status, connect, size, said) = (next(), next(), next(), next(), next());
            let refused = status == "403" && size == ACCESS_DENIED.len().to_string();
            let body = if refused { ACCESS_DENIED } else { "" };
            parse(&format!("{body}\n{status} {connect}"), &said, exit.parse().unwrap_or(-1))
        })
        .collect()
}

/// Reads what curl wrote and its exit code.
pub fn parse(stdout: &str, stderr: &str, exit: i32) -> Answer {
    let (body, written) = stdout.trim_end().rsplit_once('\n').unwrap_or(("", stdout.trim_end()));
    let mut fields = written.split_whitespace();
    let status: u16 = fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
    // A locale may write a comma.
    let connect: f64 = fields.next().and_then(|field| field.replace(',', ".").parse().ok()).unwrap_or(0.0);
    match (exit, status) {
        (0, 1..) => Answer::Http { status, access_denied: body.contains(ACCESS_DENIED) },
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
    fn answers_of_calls_side_by_side_are_sorted_by_call() {
        let written = "=1 28 000 0.000000 0 Connection timed out after 3001 milliseconds\n\
                       =0 0 403 0.000812 19 \n=0 0 403 0.000812 9 \n=10 0 200 0.1 5 \n=0 0 404 0.1 19 \n\
                       =1 7 000 0.000000 0 Failed to connect to 10.244.0.9 port 81\n";
        let denied = |access_denied| Answer::Http { status: 403, access_denied };
        assert_eq!(
            parse_line(written, 0),
            [denied(true), denied(false), Answer::Http { status: 404, access_denied: false }]
        );
        assert_eq!(parse_line(written, 1), [Answer::Silence, Answer::Refused]);
        assert_eq!(parse_line(written, 2), []);
    }

    #[test]
    fn a_url_cannot_become_a_command() {
        let request = Request { method: "GET".to_owned(), url: "http://x/$(reboot)".to_owned() };
        let command = side_by_side(&[request.clone(), request], 3, 3);
        assert!(!command[2].contains("reboot"), "{command:?}");
        assert_eq!(command.iter().filter(|part| *part == "http://x/$(reboot)").count(), 2);
        assert_eq!(command.iter().filter(|part| *part == "--next").count(), 1);
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

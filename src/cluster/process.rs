//! Child processes: explicit arguments, an explicit environment, a deadline, and an error that quotes the child.
//!
//! A child sees the variables of its [`Environment`] and nothing else. It is killed when its future is dropped
//! (Ctrl-C, a failed sibling) or when its deadline passes.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use futures::future::try_join3;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};

/// How many of the last lines of a child's stderr an error quotes: a screenful.
const STDERR_TAIL_LINES: usize = 40;

/// Nothing listens on the discard port of loopback, so a connection through this "proxy" fails at once and stays on
/// the machine.
const DEAD_PROXY: &str = "http://127.0.0.1:9";

/// Names that a proxy can come from; programs differ in which spelling they read.
const PROXY_VARIABLES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// The variables that a child sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Takes the caller's variables without those that would steer a child past its arguments.
    ///
    /// Every flag of `minikube start` can also come from `MINIKUBE_<FLAG>`, `DOCKER_HOST` would move the node to
    /// another machine, and a proxy would carry an offline install's requests out of the house. A caller that means
    /// one of them adds it again with [`with`](Self::with).
    pub fn scrubbed(base: impl IntoIterator<Item = (String, String)>) -> Self {
        let steers =
            |name: &str| name.starts_with("MINIKUBE_") || name == "DOCKER_HOST" || PROXY_VARIABLES.contains(&name);
        Self(base.into_iter().filter(|(name, _)| !steers(name)).collect())
    }

    /// Sets one variable.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Gives the child proxies that lead nowhere, so that its every request beyond loopback and the given hosts fails.
    ///
    /// `direct` are the hosts that it must still reach: the API server's.
    #[must_use]
    pub fn offline<'host>(self, direct: impl IntoIterator<Item = &'host str>) -> Self {
        self.offline_by(DEAD_PROXY, direct)
    }

    /// The same with a proxy of the caller's, one that counts what it refuses.
    #[must_use]
    pub fn offline_by<'host>(self, proxy: &str, direct: impl IntoIterator<Item = &'host str>) -> Self {
        let mut exempt = vec!["localhost", "127.0.0.1", "::1"];
        exempt.extend(direct);
        let exempt = exempt.join(",");
        PROXY_VARIABLES.into_iter().fold(self, |environment, name| {
            let no_proxy = name.eq_ignore_ascii_case("no_proxy");
            environment.with(name, if no_proxy { exempt.as_str() } else { proxy })
        })
    }

    /// Lets an offline child reach one host more. An environment without proxies needs no exceptions.
    #[must_use]
    pub fn exempting(self, host: &str) -> Self {
        ["NO_PROXY", "no_proxy"].into_iter().fold(self, |environment, name| match environment.get(name) {
            Some(exempt) => {
                let exempt = format!("{exempt},{host}");
                environment.with(name, exempt)
            }
            None => environment,
        })
    }

    /// Finds a program on this environment's `PATH`; a name with a slash is taken as it is.
    fn find(&self, program: &Path) -> Option<PathBuf> {
        if program.components().count() > 1 {
            return Some(program.to_path_buf());
        }
        std::env::split_paths(self.get("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
    }
}

/// A child that could not do its work.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ProcessError {
    /// The program is not on `PATH`.
    #[error("cannot run `{command}`: there is no `{program}` on PATH (looked in {path})")]
    #[diagnostic(code(process::not_found), help("install `{program}`, then run the same command again"))]
    NotFound {
        /// What was attempted.
        command: String,
        /// The program.
        program: String,
        /// The search path.
        path: String,
    },
    /// The system refused to start it, or a pipe to it broke.
    #[error("cannot run `{command}`")]
    #[diagnostic(code(process::start), help("look at the rights of the program and its folder"))]
    Start {
        /// What was attempted.
        command: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The data for its stdin could not be read.
    #[error("cannot read the data that `{command}` waits for")]
    #[diagnostic(code(process::input), help("type `ztlab store verify` to see whether the stored bytes are sound"))]
    Input {
        /// What was attempted.
        command: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// It ended with another exit code than expected.
    #[error("`{command}` failed: expected exit code 0, found {}{}", code_text(*.code), quoted(.stderr))]
    #[diagnostic(code(process::failed), help("mend what its words name, and run the same command again"))]
    Failed {
        /// What was attempted.
        command: String,
        /// The exit code, or `None` after a signal.
        code: Option<i32>,
        /// The last lines that it wrote to stderr.
        stderr: Vec<String>,
    },
    /// It was killed at its deadline.
    #[error("`{command}` did not end within {} s and was stopped{}", .deadline.as_secs(), quoted(.stderr))]
    #[diagnostic(
        code(process::deadline),
        help("run the same command again, with a longer `--timeout` on a slow machine")
    )]
    Deadline {
        /// What was attempted.
        command: String,
        /// How long it had.
        deadline: Duration,
        /// The last lines that it wrote to stderr.
        stderr: Vec<String>,
    },
}

fn code_text(code: Option<i32>) -> String {
    code.map_or_else(|| "a signal".to_owned(), |code| code.to_string())
}

fn quoted(lines: &[String]) -> String {
    if lines.is_empty() {
        "; it wrote nothing to stderr".to_owned()
    } else {
        format!("; it said:\n  {}", lines.join("\n  "))
    }
}

/// What a child left behind.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// Its stdout; empty where the lines went to a listener.
    pub stdout: Vec<u8>,
    /// The last lines of its stderr.
    pub stderr: Vec<String>,
    /// Its exit code: 0, or one that the caller accepts.
    pub code: i32,
}

impl Output {
    /// Its stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Data for a child's stdin.
pub type Input<'data> = std::pin::Pin<Box<dyn AsyncRead + Send + 'data>>;

/// One child process, not yet started.
#[derive(Debug, Clone)]
pub struct Child {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Environment,
    deadline: Duration,
    accepted: Vec<i32>,
}

impl Child {
    /// Describes a child; `program` is a path, or a name to look for on the environment's `PATH`.
    pub fn new(program: impl Into<PathBuf>, environment: &Environment, deadline: Duration) -> Self {
        let (program, environment) = (program.into(), environment.clone());
        Self { program, arguments: Vec::new(), environment, deadline, accepted: vec![0] }
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Takes a further exit code as an answer and not as a failure.
    #[must_use]
    pub fn accept(mut self, code: i32) -> Self {
        self.accepted.push(code);
        self
    }

    /// The command as a person would type it, cut where it becomes unreadable.
    pub fn command(&self) -> String {
        let program = self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy();
        let line =
            std::iter::once(&*program).chain(self.arguments.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
        if line.chars().count() > 300 { format!("{}…", line.chars().take(300).collect::<String>()) } else { line }
    }

    /// Runs it and keeps its stdout.
    ///
    /// # Errors
    /// When it cannot be started, ends badly or takes too long.
    pub async fn run(&self) -> Result<Output, ProcessError> {
        self.run_with(None).await
    }

    /// Runs it with data on its stdin and keeps its stdout.
    ///
    /// # Errors
    /// As [`run`](Self::run), and when the data cannot be read.
    pub async fn run_with(&self, input: Option<Input<'_>>) -> Result<Output, ProcessError> {
        let mut kept = Vec::new();
        let mut output = self.drive(input, Sink::Keep(&mut kept)).await?;
        output.stdout = kept;
        Ok(output)
    }

    /// Runs it and hands every line of its stdout to a listener as soon as it is complete.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_lines(&self, on_line: &mut (dyn FnMut(&str) + Send)) -> Result<Output, ProcessError> {
        self.drive(None, Sink::Lines(on_line)).await
    }

    /// Runs it with data on its stdin, and hands every line of its stdout to a listener.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub async fn run_lines_with(
        &self,
        input: Input<'_>,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Output, ProcessError> {
        self.drive(Some(input), Sink::Lines(on_line)).await
    }

    async fn drive(&self, input: Option<Input<'_>>, sink: Sink<'_>) -> Result<Output, ProcessError> {
        let start = |source| ProcessError::Start { command: self.command(), source };
        let mut child = self.start(input.is_some())?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut tail = VecDeque::new();
        let work = async {
            let pipes =
                try_join3(feed(self, input, stdin), async { drain(stdout, sink).await.map_err(start) }, async {
                    keep_tail(stderr, &mut tail).await.map_err(start)
                });
            pipes.await?;
            child.wait().await.map_err(start)
        };
        let ended = tokio::time::timeout(self.deadline, work).await;
        let stderr = Vec::from(tail);
        let Ok(status) = ended else {
            return Err(ProcessError::Deadline { command: self.command(), deadline: self.deadline, stderr });
        };
        match status?.code() {
            Some(code) if self.accepted.contains(&code) => Ok(Output { stdout: Vec::new(), stderr, code }),
            code => Err(ProcessError::Failed { command: self.command(), code, stderr }),
        }
    }

    fn start(&self, with_input: bool) -> Result<tokio::process::Child, ProcessError> {
        let program = self.environment.find(&self.program).ok_or_else(|| ProcessError::NotFound {
            command: self.command(),
            program: self.program.display().to_string(),
            path: self.environment.get("PATH").unwrap_or("nothing: PATH is not set").to_owned(),
        })?;
        tokio::process::Command::new(program)
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment.0)
            .stdin(if with_input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ProcessError::Start { command: self.command(), source })
    }
}

enum Sink<'sink> {
    Keep(&'sink mut Vec<u8>),
    Lines(&'sink mut (dyn FnMut(&str) + Send)),
}

/// Copies the input to the child. A child that closes its stdin early is not an error here: its exit code tells why.
async fn feed(
    child: &Child,
    input: Option<Input<'_>>,
    stdin: Option<tokio::process::ChildStdin>,
) -> Result<(), ProcessError> {
    let (Some(mut input), Some(mut stdin)) = (input, stdin) else { return Ok(()) };
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = input.read(&mut buffer).await;
        let length = read.map_err(|source| ProcessError::Input { command: child.command(), source })?;
        if length == 0 || stdin.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    // Only a closed pipe tells the child that the data is over; the result does not matter for the reason above.
    let _ = stdin.shutdown().await;
    Ok(())
}

async fn drain(stdout: Option<tokio::process::ChildStdout>, sink: Sink<'_>) -> io::Result<()> {
    let Some(mut stdout) = stdout else { return Ok(()) };
    match sink {
        Sink::Keep(kept) => stdout.read_to_end(kept).await.map(|_| ()),
        Sink::Lines(on_line) => each_line(stdout, |line| on_line(line)).await,
    }
}

async fn keep_tail(stderr: Option<tokio::process::ChildStderr>, tail: &mut VecDeque<String>) -> io::Result<()> {
    let Some(stderr) = stderr else { return Ok(()) };
    each_line(stderr, |line| {
        if tail.len() == STDERR_TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
    })
    .await
}

/// Reads lines as bytes: a child may write something that is not UTF-8, and that must not end the reading.
async fn each_line(stream: impl AsyncRead + Unpin, mut on_line: impl FnMut(&str)) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await? > 0 {
        on_line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, seconds: u64) -> Child {
        let environment = Environment::default().with("PATH", "/usr/bin:/bin");
        Child::new("sh", &environment, Duration::from_secs(seconds)).arguments(["-c", script])
    }

    #[test]
    fn scrubbing_removes_what_steers_a_child() {
        let base = ["HOME", "PATH", "MINIKUBE_DRIVER", "MINIKUBE_HOME", "DOCKER_HOST", "HTTPS_PROXY", "no_proxy"];
        let environment = Environment::scrubbed(base.map(|name| (name.to_owned(), "x".to_owned())));
        assert_eq!(environment, Environment::default().with("HOME", "x").with("PATH", "x"));
    }

    #[test]
    fn offline_proxies_lead_nowhere_but_the_cluster_stays_in_reach() {
        let environment = Environment::default().offline(["192.168.49.2"]);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
            assert_eq!(environment.get(name), Some("http://127.0.0.1:9"), "{name}");
        }
        assert_eq!(environment.get("NO_PROXY"), Some("localhost,127.0.0.1,::1,192.168.49.2"));
        assert_eq!(environment.get("no_proxy"), environment.get("NO_PROXY"));
        let counted = Environment::default().offline_by("http://127.0.0.1:5", []).exempting("10.0.0.1");
        assert_eq!(counted.get("https_proxy"), Some("http://127.0.0.1:5"));
        assert_eq!(counted.get("NO_PROXY"), Some("localhost,127.0.0.1,::1,10.0.0.1"));
        assert_eq!(Environment::default().exempting("10.0.0.1").get("NO_PROXY"), None);
    }

    #[tokio::test]
    async fn the_child_sees_the_given_environment_and_nothing_else() {
        let output = shell("env", 10).run().await.unwrap().text();
        let names: Vec<_> = output.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.contains(&"PATH"), "{output}");
        assert!(!names.contains(&"HOME") && !names.contains(&"CARGO"), "{output}");
    }

    #[tokio::test]
    async fn a_failure_quotes_the_last_lines_of_stderr() {
        let error = shell("for i in $(seq 50); do echo line $i >&2; done; exit 3", 10).run().await.unwrap_err();
        let ProcessError::Failed { code, stderr, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*code, stderr.len()), (Some(3), 40));
        assert_eq!((stderr[0].as_str(), stderr[39].as_str()), ("line 11", "line 50"));
        assert!(error.to_string().contains("found 3"), "{error}");
    }

    #[tokio::test]
    async fn an_accepted_code_is_an_answer() {
        assert_eq!(shell("exit 85", 10).accept(85).run().await.unwrap().code, 85);
    }

    #[tokio::test]
    async fn a_child_that_hangs_is_stopped_at_its_deadline() {
        let begun = std::time::Instant::now();
        let error = shell("echo before >&2; exec sleep 60", 1).run().await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(20));
        let ProcessError::Deadline { stderr, .. } = error else { panic!("{error:?}") };
        assert_eq!(stderr, ["before"]);
    }

    #[tokio::test]
    async fn data_goes_to_stdin_and_comes_back() {
        let data = vec![7_u8; 3_000_000];
        let output = shell("cat", 20).run_with(Some(Box::pin(data.as_slice()))).await.unwrap();
        assert_eq!(output.stdout, data);
    }

    #[tokio::test]
    async fn a_child_that_does_not_read_tells_its_own_reason() {
        let data = vec![7_u8; 3_000_000];
        let error =
            shell("echo full disk >&2; exit 1", 20).run_with(Some(Box::pin(data.as_slice()))).await.unwrap_err();
        assert!(error.to_string().contains("full disk"), "{error}");
    }

    #[tokio::test]
    async fn lines_arrive_whole() {
        let mut lines = Vec::new();
        shell("printf 'one\\ntw'; printf 'o\\nthree'", 10)
            .run_lines(&mut |line| lines.push(line.to_owned()))
            .await
            .unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn an_absent_program_is_named_with_the_path_that_was_searched() {
        let environment = Environment::default().with("PATH", "/nowhere");
        let error = Child::new("ctr", &environment, Duration::from_secs(1)).run().await.unwrap_err();
        assert_eq!(error.to_string(), "cannot run `ctr`: there is no `ctr` on PATH (looked in /nowhere)");
    }
}

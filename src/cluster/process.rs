//! Child processes: explicit arguments, an explicit environment, a deadline, and an error that quotes the child.
//!
//! A child sees the variables of its [`Environment`] and nothing else. It is killed when its future is dropped
//! (Ctrl-C, a failed sibling) or when its deadline passes. One that would go on after ztlab itself was killed is written
//! down while it runs ([`Ledger`]), and the next run ends it.
//!
//! | file | what it does |
//! |---|---|
//! | [`environment`] | the variables that a child sees |
//! | [`pipes`] | its stdin, stdout and stderr |
//! | [`ledger`] | children that may outlive ztlab |
//! | [`error`] | a child that could not do its work |

use std::{collections::VecDeque, path::PathBuf, process::Stdio, time::Duration};

use futures::future::try_join3;
use tokio::io::AsyncRead;

mod environment;
mod error;
mod ledger;
mod pipes;

use self::pipes::{Sink, drain, feed, keep_tail};
pub use self::{
    environment::Environment,
    error::ProcessError,
    ledger::{Ledger, LeftoverError},
};

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

/// A child that runs. The order of the fields is that of their end: first the child, then its note.
struct Running {
    child: tokio::process::Child,
    _noted: Option<ledger::Noted>,
}

/// One child process, not yet started.
#[derive(Debug, Clone)]
pub struct Child {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Environment,
    deadline: Duration,
    accepted: Vec<i32>,
    ledger: Option<Ledger>,
}

impl Child {
    /// Describes a child; `program` is a path, or a name to look for on the environment's `PATH`.
    pub fn new(program: impl Into<PathBuf>, environment: &Environment, deadline: Duration) -> Self {
        let (program, environment) = (program.into(), environment.clone());
        Self { program, arguments: Vec::new(), environment, deadline, accepted: vec![0], ledger: None }
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

    /// Writes the child down while it runs, so that the next run can end it should this process be killed. For programs
    /// that change something and go on alone; one that is fed by a pipe ends when the pipe does.
    #[must_use]
    pub fn noted_in(mut self, ledger: Option<&Ledger>) -> Self {
        self.ledger = ledger.cloned();
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
        let mut running = self.start(input.is_some())?;
        let child = &mut running.child;
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

    fn start(&self, with_input: bool) -> Result<Running, ProcessError> {
        let program = self.environment.find(&self.program).ok_or_else(|| ProcessError::NotFound {
            command: self.command(),
            program: self.program.display().to_string(),
            path: self.environment.get("PATH").unwrap_or("nothing: PATH is not set").to_owned(),
        })?;
        let child = tokio::process::Command::new(program)
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment.0)
            .stdin(if with_input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ProcessError::Start { command: self.command(), source })?;
        let noted = self.ledger.as_ref().zip(child.id()).and_then(|(ledger, id)| ledger.note(id, &self.command()));
        Ok(Running { child, _noted: noted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, seconds: u64) -> Child {
        let environment = Environment::default().with("PATH", "/usr/bin:/bin");
        Child::new("sh", &environment, Duration::from_secs(seconds)).arguments(["-c", script])
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

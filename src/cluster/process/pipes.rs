//! A child's three pipes.

use std::{collections::VecDeque, io};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{Child, Input, ProcessError};

/// How many of the last lines of a child's stderr an error quotes: a screenful.
const STDERR_TAIL_LINES: usize = 40;

pub(super) enum Sink<'sink> {
    Keep(&'sink mut Vec<u8>),
    Lines(&'sink mut (dyn FnMut(&str) + Send)),
}

/// Copies the input to the child. A child that closes its stdin early is not an error here: its exit code tells why.
pub(super) async fn feed(
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

pub(super) async fn drain(stdout: Option<tokio::process::ChildStdout>, sink: Sink<'_>) -> io::Result<()> {
    let Some(mut stdout) = stdout else { return Ok(()) };
    match sink {
        Sink::Keep(kept) => stdout.read_to_end(kept).await.map(|_| ()),
        Sink::Lines(on_line) => each_line(stdout, |line| on_line(line)).await,
    }
}

pub(super) async fn keep_tail(
    stderr: Option<tokio::process::ChildStderr>,
    tail: &mut VecDeque<String>,
) -> io::Result<()> {
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

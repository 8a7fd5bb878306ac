//! `shell` and `run`: this process becomes the command, so its input, output, signals and exit code are the command's own.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
};

use super::args::TargetArguments;
use crate::{
    cluster::process::{Environment, ProcessError},
    verb::{
        Context,
        shell::{Session, prepare, refuse_nested},
    },
};

/// What people who have no `SHELL` get.
const PLAIN_SHELL: &str = "/bin/sh";

/// Events and an outcome were asked for where the command has the terminal.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`ztlab {verb}` writes what the command writes, and no JSON of its own")]
#[diagnostic(
    code(usage::json),
    help(
        "leave `--json` away; an option of the command itself comes after its name, as in `ztlab run kubectl get pods -o json`"
    )
)]
struct NoJson {
    verb: &'static str,
}

/// Becomes the user's shell.
pub(super) fn shell(context: &Context, target: &TargetArguments, json: bool) -> miette::Result<Infallible> {
    refuse_json("shell", json)?;
    refuse_nested(context)?;
    let session = prepare(context, &super::choose(target, None)?)?;
    session.introduce(context);
    let shell = context.environment.get("SHELL").filter(|shell| !shell.is_empty());
    let shell = Path::new(shell.map_or(PLAIN_SHELL, String::as_str));
    let (arguments, more) = session.start(shell);
    let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
    become_command(&session, shell.as_os_str(), &arguments, &more)
}

/// Becomes a command.
pub(super) fn run(
    context: &Context,
    target: &TargetArguments,
    (program, arguments): (&OsStr, &[OsString]),
    json: bool,
) -> miette::Result<Infallible> {
    refuse_json("run", json)?;
    let session = prepare(context, &super::choose(target, None)?)?;
    session.warn(context);
    become_command(&session, program, arguments, &BTreeMap::new())
}

fn refuse_json(verb: &'static str, json: bool) -> Result<(), NoJson> {
    if json { Err(NoJson { verb }) } else { Ok(()) }
}

/// Returns only when the command cannot be started.
fn become_command(
    session: &Session,
    program: &OsStr,
    arguments: &[OsString],
    more: &BTreeMap<String, String>,
) -> miette::Result<Infallible> {
    let path = session.variables.get("PATH").cloned().unwrap_or_default();
    let name = program.to_string_lossy().into_owned();
    let found = Environment::default().with("PATH", path.clone()).find(Path::new(program));
    let found = found.ok_or_else(|| ProcessError::NotFound { command: name.clone(), program: name.clone(), path })?;
    let source = Command::new(found).arg0(program).args(arguments).envs(&session.variables).envs(more).exec();
    Err(ProcessError::Start { command: name, source }.into())
}

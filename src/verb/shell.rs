//! `shell` and `run`: what a command needs to work with the lab, and with no other cluster.
//!
//! ```text
//! DATA/ztlab/shells/NAME-DIGEST/bin/{minikube,kubectl,istioctl}   links to the pinned programs
//!                               kubeconfig                        the lab's context alone, mode 0600
//!                               bash/rc  zsh/.zshenv  zsh/.zshrc  read after the user's own files
//! ```
//!
//! A user's start file may put other programs before the pinned ones (Homebrew's does), so what it must not undo is set
//! once more behind it. ztlab itself works in there as outside: on the user's own kubeconfig, which Minikube writes.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{
    Context,
    install::{self, PlatformError},
    signature,
};
use crate::{
    base::{Digest, Event, Platform},
    cluster::{client::ClientError, kubeconfig, process::Environment},
    lockfile::{self, CheckedLock},
    step::{
        Target,
        tool::{self, ToolError},
    },
    store::Store,
};

/// The variable by which a command knows that it runs in a lab's shell: the lab's context.
pub const NAME: &str = "ZTLAB_SHELL";
/// What `KUBECONFIG` was outside; empty when it was not set.
const OUTSIDE: &str = "ZTLAB_SHELL_KUBECONFIG";

/// There is no shell to be had.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ShellError {
    /// It was asked for inside of one.
    #[error("this is the shell of the lab `{name}` already")]
    #[diagnostic(code(usage::nested), help("type `exit` to leave it; `ztlab run` is for one command, in here as well"))]
    Nested {
        /// The context of the shell's lab.
        name: String,
    },
    /// The file system says no.
    #[error("cannot prepare {}", .folder.display())]
    #[diagnostic(code("shell::folder"), help("look at the free space and the rights of that folder"))]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// What a command in the lab's shell is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The lab's context.
    pub name: String,
    /// The pinned programs that are there.
    pub programs: Vec<&'static str>,
    /// Whether the kubeconfig has the lab's context; without it the programs have no cluster to ask.
    pub lab_is_there: bool,
    /// Variables to set.
    pub variables: BTreeMap<String, String>,
    /// The folder of the start files.
    folder: PathBuf,
}

/// The environment as it was outside, for ztlab itself when it is called in a lab's shell.
pub fn outside(mut environment: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if environment.contains_key(NAME) {
        match environment.get(OUTSIDE).filter(|value| !value.is_empty()).cloned() {
            Some(value) => environment.insert("KUBECONFIG".to_owned(), value),
            None => environment.remove("KUBECONFIG"),
        };
    }
    environment
}

/// Refuses a shell in a shell: nobody would know how many `exit` away the old one is.
///
/// # Errors
/// When this is one.
pub fn refuse_nested(context: &Context) -> Result<(), ShellError> {
    match context.environment.get(NAME) {
        Some(name) => Err(ShellError::Nested { name: name.clone() }),
        None => Ok(()),
    }
}

/// Places programs, kubeconfig and start files, and says what to set.
///
/// # Errors
/// When a pinned program is not in the store, the kubeconfig cannot be read, a context that was named is not in it, or
/// the folder cannot be written.
pub fn prepare(context: &Context, target: &Target) -> miette::Result<Session> {
    let lock = lockfile::read(&context.lock_path())?;
    signature::judge(context, &lock)?;
    // Programs are the same in every profile; an image that a lab with less never fetched may still be pending.
    let lock = CheckedLock::new(lock.without_images())?;
    let host = Platform::current().ok_or(PlatformError::Machine)?;
    let store = Store::open(&context.store)?;
    let mut programs = Vec::new();
    for name in tool::PROGRAMS {
        match tool::program_of(&lock, &store, host, name) {
            Ok(path) => programs.push((name, path)),
            Err(ToolError::Missing(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let name = target.context();
    let own = install::kubeconfig(context);
    let bad = |source| ClientError::Context {
        context: name.to_owned(),
        kubeconfig: own.as_ref().map_or("the default kubeconfig".to_owned(), |path| path.display().to_string()),
        source,
    };
    let found = kubeconfig::only(own.as_deref(), name).map_err(bad)?;
    if let (None, Target::Existing { .. }) = (&found, target) {
        return Err(bad(Box::new(kube::config::KubeconfigError::LoadContext(name.to_owned()))).into());
    }
    let lab_is_there = found.is_some();
    let host = found.as_ref().and_then(|file| file.clusters.first()?.cluster.as_ref()?.server.clone());
    let file = serde_json::to_vec(&found.unwrap_or_else(kubeconfig::empty)).map_err(io::Error::other);

    let shells = context.journals.with_file_name("shells");
    let folder = shells.join(folder_name(&context.store, name));
    let placed = file.and_then(|file| place(&folder, &programs, &file, name));
    placed.map_err(|source| ShellError::Folder { folder: folder.clone(), source })?;

    let mut set = variables(context, target, &folder);
    if context.offline {
        let host = host.and_then(|address| Some(url::Url::parse(&address).ok()?.host_str()?.to_owned()));
        set.extend(Environment::default().offline(host.as_deref()).variables().clone());
    }
    Ok(Session {
        name: name.to_owned(),
        programs: programs.into_iter().map(|(name, _)| name).collect(),
        lab_is_there,
        variables: set,
        folder,
    })
}

impl Session {
    /// Says what a person has to know before the first prompt.
    pub fn introduce(&self, context: &Context) {
        let programs = self.programs.join(", ");
        let text = format!(
            "{programs}: the lab's own, first on PATH, and they ask the lab `{}` alone. `exit` leaves this shell",
            self.name
        );
        context.reporter.report(Event::Note { text });
        self.warn(context);
    }

    /// Says so when there is no lab yet.
    pub fn warn(&self, context: &Context) {
        if !self.lab_is_there {
            let text =
                format!("there is no lab `{}` yet, so there is nothing to ask: `ztlab install` makes it", self.name);
            context.reporter.report(Event::Warning { text });
        }
    }

    /// The words that start a shell so that it reads our start file behind the user's own.
    pub fn start(&self, shell: &Path) -> (Vec<String>, BTreeMap<String, String>) {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let mut variables = BTreeMap::new();
        let arguments = match shell.file_name().and_then(|name| name.to_str()) {
            Some("bash") => vec!["--rcfile".to_owned(), path("bash/rc")],
            Some("fish") => vec!["--init-command".to_owned(), format!("source {}", quoted(&path("fish/rc")))],
            Some("zsh") => {
                variables.insert("ZDOTDIR".to_owned(), path("zsh"));
                Vec::new()
            }
            _ => Vec::new(),
        };
        (arguments, variables)
    }
}

/// A folder for each lab name and store: labs of one name in two stores may pin other programs.
fn folder_name(store: &Path, name: &str) -> String {
    let readable: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).take(60).collect();
    format!("{readable}-{}", Digest::of(format!("{}\n{name}", store.display()).as_bytes()).short())
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || ".-".contains(letter)
}

fn variables(context: &Context, target: &Target, folder: &Path) -> BTreeMap<String, String> {
    let outside = |name: &str| context.environment.get(name).cloned().unwrap_or_default();
    let path = format!("{}:{}", folder.join("bin").display(), outside("PATH"));
    let mut variables = BTreeMap::from([
        ("PATH", path.trim_end_matches(':').to_owned()),
        ("KUBECONFIG", folder.join("kubeconfig").display().to_string()),
        ("MINIKUBE_HOME", install::minikube_home(context).display().to_string()),
        (NAME, target.context().to_owned()),
        (OUTSIDE, outside("KUBECONFIG")),
        // Where the user's own start files of zsh are.
        ("ZTLAB_SHELL_ZDOTDIR", outside("ZDOTDIR")),
    ]);
    if let Target::Minikube { cluster, .. } = target {
        variables.insert("MINIKUBE_PROFILE", cluster.clone());
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn place(folder: &Path, programs: &[(&str, PathBuf)], kubeconfig: &[u8], name: &str) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, symlink};
    // The folder is the user's alone, the kubeconfig is as well: it has the lab's key.
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
    let bin = folder.join("bin");
    fs_err::create_dir_all(&bin)?;
    for entry in fs_err::read_dir(&bin)? {
        let entry = entry?;
        if !programs.iter().any(|(name, _)| entry.file_name() == *name) {
            // Of an older lock, or of a run that was killed.
            let _ = fs_err::remove_file(entry.path());
        }
    }
    for (program, path) in programs {
        let link = tempfile::Builder::new().prefix(".link-").make_in(&bin, |place| symlink(path, place))?;
        link.into_temp_path().persist(bin.join(program)).map_err(|error| error.error)?;
    }
    // A temporary file is made with mode 0600.
    write(&folder.join("kubeconfig"), kubeconfig)?;
    // A shell evaluates its prompt.
    let shown: String =
        name.chars().map(|letter| if is_plain(letter) || ":/@_".contains(letter) { letter } else { '_' }).collect();
    let set = |text: &str| {
        let (bin, file) =
            (quoted(&bin.display().to_string()), quoted(&folder.join("kubeconfig").display().to_string()));
        text.replace("@BIN@", &bin).replace("@KUBECONFIG@", &file).replace("@NAME@", &shown)
    };
    for (file, text) in [("bash/rc", BASH), ("zsh/.zshenv", ZSH_ENVIRONMENT), ("zsh/.zshrc", ZSH), ("fish/rc", FISH)] {
        let path = folder.join(file);
        fs_err::create_dir_all(path.parent().unwrap_or(folder))?;
        write(&path, set(text).as_bytes())?;
    }
    Ok(())
}

/// Replaces a file: another shell of the lab may be reading it.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
    let mut temporary = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// bash reads this in place of `~/.bashrc`.
const BASH: &str = r#"if [ -f ~/.bashrc ]; then . ~/.bashrc; fi
export PATH=@BIN@:"$PATH" KUBECONFIG=@KUBECONFIG@
PS1="(@NAME@) $PS1"
"#;

/// zsh reads `.zshenv` and `.zshrc` of `ZDOTDIR`, which is ours until both are read.
const ZSH_ENVIRONMENT: &str = r#"ztlab_own=$ZDOTDIR
if [[ -n $ZTLAB_SHELL_ZDOTDIR ]]; then ZDOTDIR=$ZTLAB_SHELL_ZDOTDIR; else unset ZDOTDIR; fi
if [[ -f ${ZDOTDIR:-$HOME}/.zshenv ]]; then . "${ZDOTDIR:-$HOME}/.zshenv"; fi
ZTLAB_SHELL_ZDOTDIR=${ZDOTDIR:-}
ZDOTDIR=$ztlab_own
unset ztlab_own
"#;
const ZSH: &str = r#"ztlab_own=$ZDOTDIR
if [[ -n $ZTLAB_SHELL_ZDOTDIR ]]; then ZDOTDIR=$ZTLAB_SHELL_ZDOTDIR; else unset ZDOTDIR; fi
# A system's start file may have put the history beside the others already.
if [[ ${HISTFILE:-} == $ztlab_own/* ]]; then HISTFILE=${ZDOTDIR:-$HOME}/${HISTFILE:t}; fi
unset ztlab_own ZTLAB_SHELL_ZDOTDIR
if [[ -f ${ZDOTDIR:-$HOME}/.zshrc ]]; then . "${ZDOTDIR:-$HOME}/.zshrc"; fi
export PATH=@BIN@:"$PATH" KUBECONFIG=@KUBECONFIG@
PROMPT="(@NAME@) $PROMPT"
"#;

/// fish reads this behind its own configuration.
const FISH: &str = r#"set -gx PATH @BIN@ $PATH
set -gx KUBECONFIG @KUBECONFIG@
functions -c fish_prompt ztlab_outer_prompt
function fish_prompt; echo -n '(@NAME@) '; ztlab_outer_prompt; end
"#;

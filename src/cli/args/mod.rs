//! The command line as types. Help texts are imperative and end without a full stop.

mod bundle;
#[cfg(test)]
mod documented;
mod lock;
mod registry;
mod seat;
mod serve;
mod store;

use std::{ffi::OsString, net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use bundle::BundleAction;
pub(super) use lock::{DiffArguments, DiffFormat, LockAction, LockArguments, MergeArguments};
pub(super) use registry::{PullArguments, PushArguments};
pub(super) use seat::SeatArguments;
pub(super) use serve::ServeArguments;
pub(super) use store::StoreAction;

/// Seconds for each gate: Calico with images at hand took 36 s on two cores.
pub(super) const DEFAULT_TIMEOUT: u64 = 300;

/// Make a Zero Trust lab as reproducible as its lockfile
#[derive(Debug, Parser)]
#[command(
    name = "ztlab",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
A teacher, online once:   ztlab fetch
A teacher, to the room:   ztlab serve --bind ADDRESS
A teacher, to a school:   ztlab push oci://HOST/NAME
A student, no network:    ztlab install --offline && ztlab verify
A maintainer:             edit lock/ztlab.toml, then ztlab lock

Exit codes: 0 done, 2 usage, 10 lock stale or incomplete, 11 lock policy, 20 fetch incomplete, 21 integrity,
22 quota, 30 machine not fit, 31 cluster start, 32 preload proof, 33 gate ran out of time, 34 egress seen,
40 a probe failed, 70 a bug in ztlab, 130 interrupted. `ztlab explain CODE` tells more."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Use the lab in this folder (it holds `lock/`) [default: the nearest ancestor that does]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) lab: Option<PathBuf>,
    /// Keep blobs in this folder [default: the platform's data folder]
    #[arg(long, global = true, value_name = "DIR", env = "ZTLAB_STORE")]
    pub(super) store: Option<PathBuf>,
    /// Open no socket but the cluster's and Docker's
    #[arg(long, global = true)]
    pub(super) offline: bool,
    /// Ask TO for what FROM (a registry host or a URL prefix) would serve; repeatable
    #[arg(long, global = true, value_name = "FROM=TO")]
    pub(super) mirror: Vec<String>,
    /// Believe the certificates in this PEM file besides the platform's; repeatable
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca_file: Vec<PathBuf>,
    /// Write newline-delimited JSON events to stdout
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Show only results and errors
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    /// Show what happens underneath (twice: more)
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Colour the output
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: ColorChoice,
    /// Answer every question with yes
    #[arg(long, short, global = true)]
    pub(super) yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Resolve the intent to a lock that names every byte
    Lock(LockArguments),
    /// Bring every locked byte into the store
    Fetch(FetchArguments),
    /// Build the app's images from locked parts and the files in `app/`; needs no network
    Build {
        /// The apps to build; all of them when none is named
        #[arg(value_name = "NAME")]
        apps: Vec<String>,
    },
    /// Print the bill of materials of the lab, or of one app's image, from the lock (CycloneDX 1.6)
    Sbom {
        /// Only this app's image and what it is made of
        #[arg(value_name = "APP")]
        app: Option<String>,
    },
    /// Look after the store
    Store {
        #[command(subcommand)]
        action: StoreAction,
    },
    /// Hand the lab to a room over HTTP, read-only, until Ctrl-C
    Serve(ServeArguments),
    /// Carry the lab to other machines as one file
    Bundle {
        #[command(subcommand)]
        action: BundleAction,
    },
    /// Push the lab to a registry, for machines beyond the room
    Push(PushArguments),
    /// Pull a lab from a registry: its folder and all its blobs
    Pull(PullArguments),
    /// Show what `install` would load and apply
    Plan(TargetArguments),
    /// Bring the lab's images into a node's runtime and read them back; asks no cluster
    Preload(PreloadArguments),
    /// Look whether this machine is fit for the lab, and say what to type where it is not
    Doctor(DoctorArguments),
    /// Install the whole lab, from the store only
    Install(InstallArguments),
    /// Prove that the running lab is what it claims to be
    Verify(VerifyArguments),
    /// Look at the running lab, one line a part; changes nothing
    Status(TargetArguments),
    /// Show what was installed and proved, or compare two machines by it
    Receipt {
        #[command(subcommand)]
        action: ReceiptAction,
    },
    /// Reach the app or a dashboard on a loopback port
    Open(OpenArguments),
    /// Show what you edit in `app/` in the running lab, until Ctrl-C
    Dev(DevArguments),
    /// Start a shell in which the pinned minikube, kubectl and istioctl come first and ask this lab alone
    Shell(TargetArguments),
    /// Run one command as in that shell
    Run(RunArguments),
    /// Bring the lab back after the machine slept or was started again, and prove it
    Start(StartArguments),
    /// Take the lab back to an earlier step
    Reset(ResetArguments),
    /// Take the lab away again; the store stays
    Uninstall(TargetArguments),
    /// Tell what an error code means and what helps
    Explain {
        /// The code of an error message, as in `fetch::incomplete`; all of them when absent
        code: Option<String>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
    /// Print the version and the platform
    Version,
}

impl Verb {
    /// Whether Ctrl-C is the way to end the verb, which then has something to say.
    pub(super) fn ends_by_interrupt(&self) -> bool {
        match self {
            Self::Serve(_) => true,
            Self::Fetch(arguments) => arguments.share.is_some(),
            _ => false,
        }
    }

    /// Whether the verb works on files alone, without network and cluster.
    pub(super) fn asks_nobody(&self) -> bool {
        match self {
            Self::Explain { .. } | Self::Completions { .. } | Self::Man | Self::Version => true,
            // The process becomes the command: a runtime's threads and its handling of signals would be in the way.
            Self::Shell(_) | Self::Run(_) => true,
            Self::Lock(arguments) => arguments.reads_only(),
            _ => false,
        }
    }

    /// Whether the verb works where there is no lab yet.
    pub(super) fn needs_no_lab(&self) -> bool {
        match self {
            Self::Bundle { action } => !matches!(action, BundleAction::Create(_)),
            Self::Pull(_) => true,
            _ => false,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct FetchArguments {
    /// Fail rather than complete entries that have no digest yet
    #[arg(long)]
    pub(super) locked: bool,
    /// Take blobs from here, several at once: a folder, a tar of images, a store's URL, a lab in a
    /// registry (`oci://…`), `lan`, `docker`, `minikube` or `upstream`, which is asked last unless it is named
    #[arg(long, value_name = "SOURCE", num_args = 1..)]
    pub(super) from: Vec<String>,
    /// Fetch only these artifacts, as `image.calico-node`
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(super) only: Vec<String>,
    /// Fetch what this profile of the lab needs: `full`, or another of lock/ztlab.toml
    #[arg(long, value_name = "PROFILE", conflicts_with = "only")]
    pub(super) profile: Option<String>,
    /// Download this many blobs at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(super) jobs: usize,
    /// Open at most this many connections to one host
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(super) per_host: usize,
    /// Take no more than this many bytes a second over all connections, as `2M`
    #[arg(long, value_name = "RATE", value_parser = crate::base::parse_bytes)]
    pub(super) max_rate: Option<u64>,
    /// Serve what is here to others of the room, at this address of this machine [default: the one that faces the
    /// room's server, which `--from` names], and take from them; Ctrl-C ends it
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, requires = "from")]
    pub(super) share: Option<Option<IpAddr>>,
    /// Serve others on this port; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = 0, requires = "share")]
    pub(super) share_port: u16,
    /// Serve others for so long at most once everything is here; it ends sooner when nobody lacks anything
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time_span, requires = "share")]
    pub(super) share_for: Duration,
    /// Only tell what would be downloaded, how long that takes and what it costs of Docker Hub's quota
    #[arg(long, conflicts_with_all = ["locked", "from", "share"])]
    pub(super) estimate: bool,
    #[command(flatten)]
    pub(super) seat: SeatArguments,
}

/// `30m`, `90 s`, `1h30m`.
fn time_span(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(span).map_err(|_| format!("`{text}` is less than nothing"))
}

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(super) struct TargetArguments {
    /// Take this much of the lab: `full`, or another profile of lock/ztlab.toml [default: what is there, else full]
    #[arg(long, value_name = "PROFILE")]
    pub(super) profile: Option<String>,
    /// Name the cluster that Minikube makes (and its kubectl context)
    #[arg(long, value_name = "NAME", default_value = "ztlab", conflicts_with = "context")]
    pub(super) cluster: String,
    /// Use a cluster that is already there, by its kubectl context
    #[arg(long, value_name = "NAME", requires = "node")]
    pub(super) context: Option<String>,
    /// Where that cluster's only node keeps its images: docker:CONTAINER or containerd:ADDRESS
    #[arg(long, value_name = "ADDRESS", requires = "context")]
    pub(super) node: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct PreloadArguments {
    /// Bring the images of this profile [default: what is there, else full]
    #[arg(long, value_name = "PROFILE")]
    pub(super) profile: Option<String>,
    /// Name the Minikube cluster whose node is meant; Kubernetes' own images are read back there too
    #[arg(long, value_name = "NAME", default_value = "ztlab", conflicts_with = "node")]
    pub(super) cluster: String,
    /// Use another node: docker:CONTAINER or containerd:ADDRESS
    #[arg(long, value_name = "ADDRESS")]
    pub(super) node: Option<String>,
    /// Bring only these images, as `image.calico-node`
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(super) only: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct InstallArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// Begin with this step
    #[arg(long, value_name = "STEP")]
    pub(super) from: Option<String>,
    /// End after this step
    #[arg(long, value_name = "STEP")]
    pub(super) until: Option<String>,
    /// Show the plan and what would change in the cluster's objects; change nothing
    #[arg(long, conflicts_with = "record")]
    pub(super) dry_run: bool,
    /// Give each gate this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT)]
    pub(super) timeout: u64,
    /// Give the Minikube node this much memory, in MiB [default: what the profile asks for]
    #[arg(long, value_name = "MIB")]
    pub(super) memory: Option<u32>,
    /// Give the Minikube node this many CPUs [default: what the profile asks for]
    #[arg(long, value_name = "N")]
    pub(super) cpus: Option<u32>,
    /// Take over fields that another field manager owns
    #[arg(long)]
    pub(super) force_conflicts: bool,
    /// Write what the cluster asked for to this file: every container's image, and the images on the node
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    #[command(flatten)]
    pub(super) seat: SeatArguments,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// The command; ztlab's own options come before it
    #[arg(value_name = "CMD")]
    pub(super) program: OsString,
    /// Its arguments
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct StartArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// Give each gate this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT)]
    pub(super) timeout: u64,
    /// Give the Minikube node this much memory, in MiB, should it have to be made anew
    #[arg(long, value_name = "MIB")]
    pub(super) memory: Option<u32>,
    /// Give the Minikube node this many CPUs, should it have to be made anew
    #[arg(long, value_name = "N")]
    pub(super) cpus: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// Judge the machine by this much of the lab [default: what is there, else full]
    #[arg(long, value_name = "PROFILE")]
    pub(super) profile: Option<String>,
    /// Name the cluster that an install would make
    #[arg(long, value_name = "NAME", default_value = "ztlab")]
    pub(super) cluster: String,
    /// How much memory the Minikube node is to have, in MiB [default: what the profile asks for]
    #[arg(long, value_name = "MIB")]
    pub(super) memory: Option<u32>,
    /// How many CPUs the Minikube node is to have [default: what the profile asks for]
    #[arg(long, value_name = "N")]
    pub(super) cpus: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct ResetArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// The step that stays as the last one
    #[arg(long, value_name = "STEP")]
    pub(super) to: String,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// Run only these probes; repeatable
    #[arg(long, value_name = "NAME")]
    pub(super) probe: Vec<String>,
    /// Explain each probe, and draw who may talk to whom
    #[arg(long)]
    pub(super) teach: bool,
    /// Write a report to hand in, by the file's name as Markdown (.md) or as one page of HTML (.html)
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    #[command(flatten)]
    pub(super) seat: SeatArguments,
}

/// What to do with a receipt.
#[derive(Debug, Subcommand)]
pub(super) enum ReceiptAction {
    /// Print the receipt of the running lab
    Show {
        #[command(flatten)]
        target: TargetArguments,
        /// Write it to this file as well, to compare it with somebody else's
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Say in what two receipts differ; they are files of `receipt show --output`
    Diff {
        /// The one receipt
        #[arg(value_name = "A")]
        one: PathBuf,
        /// The other
        #[arg(value_name = "B")]
        other: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct DevArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// The apps to watch; all of them when none is named
    #[arg(value_name = "APP")]
    pub(super) apps: Vec<String>,
    /// Show the files as they are now, and end
    #[arg(long)]
    pub(super) once: bool,
}

#[derive(Debug, Args)]
pub(super) struct OpenArguments {
    #[command(flatten)]
    pub(super) target: TargetArguments,
    /// What to open
    #[arg(default_value = "app")]
    pub(super) what: Dashboard,
    /// Listen on this loopback port [default: 8080 for the app, else the dashboard's own]
    #[arg(long)]
    pub(super) port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Dashboard {
    App,
    Kiali,
    Grafana,
    Prometheus,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}

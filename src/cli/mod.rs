//! The command line: the only code that prints, reads the environment or asks the terminal.

mod args;
mod ask;
mod bundle;
mod exit;
mod explain;
mod fetch;
mod lock;
mod outcome;
mod pace;
mod process;
mod progress;
mod registry;
mod render;
mod seat;
mod serve;
mod settings;
mod shell;
mod store;

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use clap::{CommandFactory as _, Parser as _};

use self::{
    args::{Arguments, Global, InstallArguments, ReceiptAction, TargetArguments, Verb},
    progress::{Progress, Style},
    settings::Settings,
};
use crate::{
    fetch::{RetryPolicy, seat::Did},
    node::NodeAddress,
    step::{Options, Target},
    verb::{self, Context},
};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    process::end_at_a_panic();
    let arguments = Arguments::parse();
    let json = arguments.global.json;
    process::set_color(arguments.global.color);
    process::start_log(arguments.global.verbose);
    if arguments.verb.asks_nobody() {
        // No runtime: its signal handler alone would be a pair of sockets, and checking a lock opens none.
        return ended(run_alone(arguments), json);
    }
    let runtime = match process::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            render::error_line(&format!("cannot start the runtime: {error}"));
            return ExitCode::from(70);
        }
    };
    let ends_itself = arguments.verb.ends_by_interrupt();
    let code = runtime.block_on(async {
        tokio::select! {
            // A child that was started for us hears the same signal from the terminal; what is half-done stays
            // for the next run: partial blobs, finished steps.
            _ = process::interrupted(), if !ends_itself => was_interrupted(),
            result = run(arguments) => ended(result, json),
        }
    });
    // A blocking writer may still wait for a child that is gone.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

fn was_interrupted() -> ExitCode {
    render::error_line("interrupted; the same command goes on from here");
    ExitCode::from(130)
}

/// Prints why a run failed, and turns its end into the exit code.
fn ended(result: miette::Result<()>, json: bool) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) if report.is::<fetch::Interrupted>() => was_interrupted(),
        Err(report) => {
            render::failure(&report, json);
            exit::exit_of(&report)
        }
    }
}

/// Verbs that ask neither network nor cluster.
fn run_alone(arguments: Arguments) -> miette::Result<()> {
    let json = arguments.global.json;
    match arguments.verb {
        Verb::Explain { code } => explain::print(code.as_deref(), json)?,
        Verb::Completions { shell } => {
            // Into memory first: clap_complete panics when the pipe is closed (`ztlab completions zsh | head`).
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "ztlab", &mut script);
            let _ = std::io::stdout().write_all(&script);
        }
        Verb::Man => {
            // A closed pipe (`ztlab man | head`) is not an error.
            let _ = clap_mangen::Man::new(Arguments::command()).render(&mut std::io::stdout());
        }
        Verb::Version => {
            let platform =
                crate::base::Platform::current().map_or("unknown".to_owned(), |platform| platform.to_string());
            let version = outcome::Version { version: env!("CARGO_PKG_VERSION"), platform };
            render::outcome("version", &version, json);
        }
        Verb::Lock(lock) => {
            let (context, progress) = prepare(&arguments.global, false)?;
            let result = lock::run_alone(&context, lock, json);
            progress.clear();
            result?;
        }
        Verb::Shell(target) => {
            let (context, _) = prepare(&arguments.global, false)?;
            match shell::shell(&context, &target, json)? {}
        }
        Verb::Run(args::RunArguments { target, program, arguments: words }) => {
            let (context, _) = prepare(&arguments.global, false)?;
            match shell::run(&context, &target, (&program, &words), json)? {}
        }
        _ => {}
    }
    Ok(())
}

async fn run(arguments: Arguments) -> miette::Result<()> {
    let Arguments { global, verb } = arguments;
    if let Verb::Lock(arguments) = &verb
        && let Some(request) = lock::driver_request(arguments)
    {
        return lock::merge(&request, global.json).await;
    }
    let (context, progress) = prepare(&global, verb.needs_no_lab())?;
    let result = dispatch(&context, verb, global.yes, global.json).await;
    progress.clear();
    result
}

fn prepare(global: &Global, needs_no_lab: bool) -> miette::Result<(Context, Arc<Progress>)> {
    let settings = Settings::resolve(global, needs_no_lab)?;
    let progress = Arc::new(Progress::new(Style::choose(global.json, global.quiet)));
    let context = Context {
        lab: settings.lab,
        store: settings.store,
        journals: settings.journals,
        offline: global.offline,
        mirrors: settings.mirrors,
        ca_files: settings.ca_files,
        retry: RetryPolicy::default(),
        // Values that are no text belong to somebody else; `vars` would panic at them.
        environment: verb::shell::outside(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        ),
        reporter: Arc::clone(&progress) as Arc<dyn crate::base::Reporter>,
    };
    Ok((context, progress))
}

async fn dispatch(context: &Context, verb: Verb, yes: bool, json: bool) -> miette::Result<()> {
    match verb {
        Verb::Lock(arguments) => lock::dispatch(context, arguments, json).await?,
        Verb::Fetch(arguments) => fetch::dispatch(context, arguments, json).await?,
        Verb::Build { apps } => render::outcome("build", &verb::build::run(context, &apps)?, json),
        Verb::Sbom { app } => render::outcome("sbom", &verb::sbom::run(context, app.as_ref())?, json),
        Verb::Store { action } => store::dispatch(context, action, yes, json).await?,
        Verb::Serve(arguments) => serve::dispatch(context, arguments, json).await?,
        Verb::Bundle { action } => bundle::dispatch(context, action, json).await?,
        Verb::Push(arguments) => registry::push(context, arguments, json).await?,
        Verb::Pull(arguments) => registry::pull(context, arguments, json).await?,
        Verb::Plan(target) => {
            let planned = verb::plan::run(context, choose(&target, None)?, options(context, &target, None)?).await?;
            render::outcome("plan", &planned, json);
        }
        Verb::Preload(arguments) => {
            let request = verb::preload::Request {
                node: match &arguments.node {
                    Some(node) => node.parse()?,
                    None => NodeAddress::Docker { container: arguments.cluster.clone() },
                },
                bootstrap: arguments.node.is_none(),
                profile: arguments.profile,
                cluster: arguments.node.is_none().then_some(arguments.cluster),
                only: arguments.only,
            };
            render::outcome("preload", &verb::preload::run(context, &request).await?, json);
        }
        Verb::Doctor(args::DoctorArguments { profile, cluster, memory, cpus }) => {
            let request = verb::doctor::Request { cluster, profile, memory, cpus };
            let diagnosis = verb::doctor::run(context, &request).await?;
            render::outcome("doctor", &diagnosis, json);
            diagnosis.verdict()?;
        }
        Verb::Install(arguments) => {
            let target = choose(&arguments.target, Some(&arguments))?;
            let options = options(context, &arguments.target, Some(&arguments))?;
            if arguments.dry_run {
                let dry_run = verb::install::dry_run(context, target, options).await?;
                render::outcome("install", &dry_run, json);
            } else {
                let whole = arguments.from.is_none() && arguments.until.is_none();
                let run = verb::install::run(context, target, options, arguments.record.as_deref());
                let did = |report: &crate::step::Report| whole.then_some(Did::Installed { seconds: report.seconds });
                let report = seat::telling(context, &arguments.seat, run, did).await?;
                render::outcome("install", &report, json);
            }
        }
        Verb::Start(arguments) => start(context, &arguments, json).await?,
        Verb::Reset(arguments) => {
            let target = choose(&arguments.target, None)?;
            let to = arguments.to.parse()?;
            let removed =
                verb::install::reset(context, target, options(context, &arguments.target, None)?, Some(to)).await?;
            render::outcome("reset", &removed, json);
        }
        Verb::Verify(arguments) => {
            let target = choose(&arguments.target, None)?;
            let report = arguments.report.as_deref();
            // A name that cannot be meant is told now, not after the minute that the probes take.
            let form = report.map(outcome::report::Form::of).transpose()?;
            let options = options(context, &arguments.target, None)?;
            let run = verb::verify::run(context, target, options, &arguments.probe);
            let did = |proof: &verb::verify::Proof| arguments.probe.is_empty().then(|| verb::seat::verified(proof));
            let proof = seat::telling(context, &arguments.seat, run, did).await?;
            if let (Some(path), Some(form)) = (report, form) {
                outcome::report::write(path, form, &proof)?;
            }
            render::outcome("verify", &outcome::Taught { proof: &proof, teach: arguments.teach }, json);
            proof.verdict()?;
        }
        Verb::Status(arguments) => {
            let target = choose(&arguments, None)?;
            let status = verb::status::run(context, &target, arguments.profile.as_deref()).await?;
            render::outcome("status", &status, json);
            status.verdict()?;
        }
        Verb::Receipt { action: ReceiptAction::Show { target, output } } => {
            let receipt = verb::receipt::show(context, &choose(&target, None)?, output.as_deref()).await?;
            render::outcome("receipt show", &receipt, json);
        }
        Verb::Receipt { action: ReceiptAction::Diff { one, other } } => {
            let compared = verb::receipt::diff(&one, &other)?;
            render::outcome("receipt diff", &compared, json);
            compared.verdict()?;
        }
        Verb::Open(arguments) => {
            let target = choose(&arguments.target, None)?;
            let forward = verb::open::run(context, &target, arguments.what.into(), arguments.port).await?;
            let opened = outcome::Opened { address: format!("http://{}/", forward.address()) };
            render::outcome("open", &opened, json);
            // Ctrl-C ends the process, and the forward with it.
            std::future::pending::<()>().await;
        }
        Verb::Dev(arguments) => {
            let target = choose(&arguments.target, None)?;
            let request = verb::dev::Request { apps: arguments.apps, once: arguments.once };
            let options = options(context, &arguments.target, None)?;
            let shown = verb::dev::run(context, target, options, &request).await?;
            render::outcome("dev", &shown, json);
        }
        Verb::Uninstall(arguments) => {
            let target = choose(&arguments, None)?;
            let removed = verb::install::reset(context, target, options(context, &arguments, None)?, None).await?;
            render::outcome("uninstall", &removed, json);
        }
        Verb::Explain { .. } | Verb::Completions { .. } | Verb::Man | Verb::Version | Verb::Shell(_) | Verb::Run(_) => {
        }
    }
    Ok(())
}

/// Brings a lab back and proves it.
async fn start(context: &Context, arguments: &args::StartArguments, json: bool) -> miette::Result<()> {
    let mut target = choose(&arguments.target, None)?;
    if let Target::Minikube { memory, cpus, .. } = &mut target {
        (*memory, *cpus) = (arguments.memory, arguments.cpus);
    }
    let options =
        Options { timeout: Duration::from_secs(arguments.timeout), ..options(context, &arguments.target, None)? };
    let report = verb::install::run(context, target.clone(), options.clone(), None).await?;
    render::outcome("start", &report, json);
    let proof = verb::verify::run(context, target, options, &[]).await?;
    render::outcome("verify", &outcome::Taught { proof: &proof, teach: false }, json);
    Ok(proof.verdict()?)
}

/// What makes the app's images once their parts are there.
fn builder(context: &Context) -> Arc<dyn verb::fetch::AppBuilder> {
    Arc::new(verb::build::Apps::new(context.clone()))
}

/// The cluster that the arguments name.
fn choose(target: &TargetArguments, install: Option<&InstallArguments>) -> miette::Result<Target> {
    Ok(match (&target.context, &target.node) {
        (Some(context), Some(node)) => Target::Existing { context: context.clone(), node: node.parse()? },
        _ => Target::Minikube {
            cluster: target.cluster.clone(),
            memory: install.and_then(|arguments| arguments.memory),
            cpus: install.and_then(|arguments| arguments.cpus),
        },
    })
}

fn options(context: &Context, target: &TargetArguments, install: Option<&InstallArguments>) -> miette::Result<Options> {
    let step = |name: Option<&String>| name.map(|name| name.parse()).transpose();
    Ok(Options {
        timeout: Duration::from_secs(install.map_or(args::DEFAULT_TIMEOUT, |arguments| arguments.timeout)),
        force_conflicts: install.is_some_and(|arguments| arguments.force_conflicts),
        offline: context.offline,
        profile: target.profile.clone(),
        from: step(install.and_then(|arguments| arguments.from.as_ref()))?,
        until: step(install.and_then(|arguments| arguments.until.as_ref()))?,
    })
}

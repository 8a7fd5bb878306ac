//! Tries every mutation of a lab's policies on the running lab: is it noticed?
//!
//! `cargo run --example mutations -- --context NAME [--lab DIR] [--image REFERENCE] [--some] [--table FILE]`
//!
//! One mutation after the other: the object is changed in the cluster, the calls that must end otherwise by the rules are
//! made from pods that stay, and the object is put back. `--some` tries the removal of each policy and one other mutation of
//! it; `--table` writes `docs/mutations.md`. Exit code 1 when one was not noticed.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use kube::api::DynamicObject;
use ztlab::{
    base::{Platform, report::Silent},
    cluster::{
        apply::{self, ApplyOptions},
        client::Cluster,
        manifest,
    },
    proof::{
        Outcome, ProofContext,
        matrix::{self, Row, cells, cells::Call, cells::Fate, foresee::foresee},
        mesh,
        mutation::{Mutation, foreseen_red, mutated, mutations},
        policy::Policies,
        prober::{self, Probers},
        role::Role,
    },
    step::objects::own_yaml,
};

const APP: &str = "webapp";
/// Calls tried for one mutation: one is enough, and more are shown where they are cheap.
const MOST_CALLS: usize = 3;
/// How long a change may take to be felt, and to be gone again: a policy engine takes a second, a sidecar some.
const PATIENCE: Duration = Duration::from_secs(40);

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    context: String,
    #[arg(long, default_value = ".")]
    lab: PathBuf,
    #[arg(long, default_value = "docker.io/curlimages/curl:8.5.0")]
    image: String,
    #[arg(long)]
    some: bool,
    #[arg(long)]
    table: Option<PathBuf>,
}

/// What a cluster made of one mutation.
struct Seen {
    policy: String,
    change: String,
    /// Probe, call, expected and seen; empty when nothing was noticed.
    red: Vec<(&'static str, Row)>,
    /// Probes that looked at the objects alone.
    by_objects: Vec<&'static str>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let arguments = Arguments::parse();
    let mut objects = Vec::new();
    for path in own_yaml(&arguments.lab)? {
        objects.extend(manifest::parse(&path.display().to_string(), &fs_err::read_to_string(&path)?)?);
    }
    objects.retain(|object| !mutations(object, APP).is_empty());
    let cluster = Cluster::connect(None, &arguments.context).await?;
    let context = ProofContext {
        client: cluster.client,
        node: None,
        platform: Platform::current().ok_or("a platform that no lab has")?,
        images: BTreeMap::new(),
        workloads: Vec::new(),
        prober_image: arguments.image.clone(),
        app_namespace: APP.to_owned(),
        own_namespaces: Vec::new(),
        judge_all_namespaces: false,
        reporter: &Silent,
    };
    let probers = prober::start(&context, &Role::ALL.into_iter().collect::<BTreeSet<_>>()).await?;
    let tried = try_all(&context, &probers, &objects, arguments.some).await;
    prober::remove(&context).await;
    let (seen, seconds) = tried?;
    let unnoticed: Vec<&Seen> = seen.iter().filter(|one| one.red.is_empty()).collect();
    for one in &unnoticed {
        println!("not noticed: {}: {}", one.policy, one.change);
    }
    if let Some(path) = &arguments.table {
        fs_err::write(path, table(&seen, seconds))?;
    }
    println!("{} passed, {} failed", seen.len() - unnoticed.len(), unnoticed.len());
    Ok(if unnoticed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn try_all(
    context: &ProofContext<'_>,
    probers: &Probers,
    objects: &[DynamicObject],
    some: bool,
) -> Result<(Vec<Seen>, u64), Failure> {
    healthy(context, probers)
        .await
        .map_err(|what| format!("the lab is not as it should be before anything is changed: {what}"))?;
    let begun = Instant::now();
    let mut seen = Vec::new();
    for object in objects {
        let all = mutations(object, APP);
        // The removal, and one that leaves the object: chosen by its name, so that each run tries the same.
        let chosen = all.iter().enumerate().filter(|(index, _)| !some || *index == 0 || *index == all.len() / 2);
        for (_, mutation) in chosen {
            let one = Instant::now();
            let noticed = try_one(context, probers, objects, object, mutation).await?;
            let word = if noticed.red.is_empty() { "FAIL" } else { "ok" };
            let probes = noticed.red.iter().map(|(probe, _)| *probe).collect::<BTreeSet<_>>();
            println!(
                "{word}  {}: {} → {} ({:.1} s)",
                noticed.policy,
                noticed.change,
                probes.into_iter().collect::<Vec<_>>().join(", "),
                one.elapsed().as_secs_f64()
            );
            seen.push(noticed);
        }
    }
    let seconds = begun.elapsed().as_secs();
    healthy(context, probers)
        .await
        .map_err(|what| format!("the lab is not as it was after everything was put back: {what}"))?;
    Ok((seen, seconds))
}

/// Whether every table of calls is as the lab means it.
async fn healthy(context: &ProofContext<'_>, probers: &Probers) -> Result<(), String> {
    for calls in [cells::packets(), cells::requests(), cells::sealed()] {
        if let Outcome::Failed { what } = matrix::judge(matrix::ask(context, probers, &calls).await).outcome() {
            return Err(what.clone());
        }
    }
    Ok(())
}

async fn try_one(
    context: &ProofContext<'_>,
    probers: &Probers,
    objects: &[DynamicObject],
    original: &DynamicObject,
    mutation: &Mutation,
) -> Result<Seen, Failure> {
    let weakened = mutated(objects, original, mutation);
    let calls = chosen(&weakened);
    let of_cluster = live(context, original).await?;
    change(context, &of_cluster, mutation).await?;
    let red = until(context, probers, &calls, false).await;
    let by_objects = match mesh::mtls_mode(context).await {
        Ok(Err(_)) => vec!["mtls-strict"],
        _ => Vec::new(),
    };
    put_back(context, &of_cluster, mutation).await?;
    until(context, probers, &calls, true).await?;
    let probe_of = |row: &Row| calls.iter().find(|(_, call)| same(call, row)).map_or("packets", |(probe, _)| *probe);
    let red = red?.into_iter().filter(|row| !row.as_expected).map(|row| (probe_of(&row), row)).collect();
    Ok(Seen { policy: mutation.policy.clone(), change: mutation.change.clone(), red, by_objects })
}

fn same(call: &Call, row: &Row) -> bool {
    let request = call.request.map(|(method, path)| format!("{method} {path}"));
    call.from.to_string() == row.from
        && call.to.to_string() == row.to
        && call.port == row.port
        && request == row.request
}

/// Some of the calls that must end otherwise: those first that end at once, because silence takes nine seconds.
fn chosen(weakened: &[DynamicObject]) -> Vec<(&'static str, Call)> {
    let policies = Policies::of(weakened.iter().cloned());
    let mut calls = foreseen_red(weakened, APP);
    calls.sort_by_key(|(_, call)| foresee(&policies, APP, call).fate == Fate::Silence);
    calls.truncate(MOST_CALLS);
    calls
}

/// Asks until one call ends otherwise, or all end as the lab means them to; gives up when patience ends.
async fn until(
    context: &ProofContext<'_>,
    probers: &Probers,
    calls: &[(&'static str, Call)],
    healed: bool,
) -> Result<Vec<Row>, Failure> {
    let calls: Vec<Call> = calls.iter().map(|(_, call)| *call).collect();
    let end = Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let rows = matrix::ask_rounds(context, probers, &calls, (1, if healed { 1 } else { 3 })).await;
        let rows = rows.map_err(|findings| format!("{:?}", findings.outcome()))?;
        let whole = rows.iter().all(|row| row.as_expected);
        if whole == healed {
            return Ok(rows);
        }
        if Instant::now() >= end {
            return if healed { Err(format!("put back, and still not as it was: {rows:?}").into()) } else { Ok(rows) };
        }
    }
}

/// The object as the cluster has it, without what the cluster adds.
async fn live(context: &ProofContext<'_>, original: &DynamicObject) -> Result<DynamicObject, Failure> {
    let policies = Policies::live(&context.client).await?;
    let mut all = policies.network.into_iter().chain(policies.authorization).chain(policies.peer);
    let same_name = |object: &DynamicObject| {
        object.metadata.name == original.metadata.name && object.metadata.namespace == original.metadata.namespace
    };
    // Two kinds may share a name: the specs have no field in common but the selector.
    let found = all.find(|object| same_name(object) && object.data["spec"] == original.data["spec"]);
    let found =
        found.ok_or_else(|| format!("{} is not in the cluster as in the file", manifest::describe(original)))?;
    let mut object = original.clone();
    object.metadata.labels = found.metadata.labels;
    object.metadata.annotations = found.metadata.annotations;
    Ok(object)
}

async fn change(context: &ProofContext<'_>, original: &DynamicObject, mutation: &Mutation) -> Result<(), Failure> {
    match &mutation.object {
        None => {
            delete(context, original).await?;
        }
        Some(object) => {
            let mut object = object.clone();
            object.metadata.labels.clone_from(&original.metadata.labels);
            put(context, object).await?;
        }
    }
    prober::seal(context).await?;
    Ok(())
}

async fn put_back(context: &ProofContext<'_>, original: &DynamicObject, mutation: &Mutation) -> Result<(), Failure> {
    if let (true, Some(object)) = (mutation.beside, &mutation.object) {
        delete(context, object).await?;
    } else {
        put(context, original.clone()).await?;
    }
    prober::seal(context).await?;
    Ok(())
}

async fn put(context: &ProofContext<'_>, object: DynamicObject) -> Result<(), Failure> {
    apply::apply(&context.client, &[object], ApplyOptions { force: true, ..ApplyOptions::default() }, &|_| {}).await?;
    Ok(())
}

async fn delete(context: &ProofContext<'_>, object: &DynamicObject) -> Result<(), Failure> {
    apply::delete(&context.client, std::slice::from_ref(object), Duration::from_secs(60), &|_| {}).await?;
    Ok(())
}

/// The document.
fn table(seen: &[Seen], seconds: u64) -> String {
    let mut text = String::from(
        "# Which probe notices a weakened policy\n\n\
         Each policy of the lab was removed, and every part of it that narrows something taken away, one at a time, in a running\n\
         lab; these calls then ended otherwise than the lab means them to. `src/proof/mutation.rs` has the mutations, `cargo test\n\
         --test mutations` holds the same by the rules alone, and a row for each of them.\n\n\
         Made by one command, with the rig up and the lab installed (`rig/README.md`):\n\n\
         \x20   HARNESS_MUTATIONS=all rig/rig exec python3 rig/harness/run.py mutations\n\n",
    );
    let _ = writeln!(
        text,
        "{} mutations in {} min {} s on a 2-core machine that did other work as well.\n",
        seen.len(),
        seconds / 60,
        seconds % 60
    );
    text.push_str("| policy | mutation | red probe | for example |\n|---|---|---|---|\n");
    for one in seen {
        let mut probes: Vec<&str> = one.by_objects.clone();
        probes.extend(one.red.iter().map(|(probe, _)| *probe));
        probes.sort_unstable();
        probes.dedup();
        let probes: Vec<String> = probes.iter().map(|probe| format!("`{probe}`")).collect();
        let example = one.red.first().map_or("**none**".to_owned(), |(_, row)| {
            format!("{}: {} instead of {}", row.call(), row.seen, row.expected)
        });
        let _ = writeln!(text, "| {} | {} | {} | {} |", one.policy, one.change, probes.join(", "), example);
    }
    text.push_str(
        "\nNot tried: a caller of the gateway's kind widened to every account of `istio-system` (nothing else in there has a\n\
         sidecar and a way to the frontend), and policies that an edited lab has beside the shipped ones.\n",
    );
    text
}

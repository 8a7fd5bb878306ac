//! The allow/deny matrix: every call that the lab means to allow or refuse, made, and held against two things.
//!
//! Against the intention ([`cells`]): that is the claim. And against what the policy objects say ([`foresee`]): that names
//! the policy which decided, and finds one that is not enforced.

pub mod cells;
pub mod foresee;
mod table;

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client, api::ListParams};
use serde::Serialize;

use self::{
    cells::{Call, Fate, Place, Source},
    foresee::foresee,
};
use super::{
    Findings, ProofContext,
    curl::{self, Answer, Request},
    mesh::{self, ISTIO_NAMESPACE},
    patience,
    policy::Policies,
    prober::{PROBE_LABEL, Probers},
    role::Role,
};

pub use table::grid;

/// Enough for packets inside one node. A dropped flow costs this three times.
const SILENCE_SECONDS: u64 = 3;
/// Above the 10 s after which a sidecar gives up connecting and answers 503 itself.
const MESHED_SECONDS: u64 = 15;
/// A call that did not end as expected is asked three times more, twice: sidecars may still be told what holds.
const PATIENT: usize = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// One call, what was expected of it, what was seen, and which policy says so. An entry of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Who called.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// The port of the called pod.
    pub port: u16,
    /// Method and path, where a sidecar was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// How it had to end.
    pub expected: Fate,
    /// How it ended.
    pub seen: String,
    /// Which policy of the cluster decides that, and how.
    pub decided_by: String,
    /// Whether it ended as expected.
    pub as_expected: bool,
    /// Whether it ended as the policy objects say.
    pub as_ruled: bool,
}

impl Row {
    /// The call in words.
    pub fn call(&self) -> String {
        let request = self.request.as_ref().map(|request| format!(" {request}")).unwrap_or_default();
        format!("{} → {} port {}{request}", self.from, self.to, self.port)
    }
}

/// Everything that was asked of the cluster for one set of calls.
pub type Asked = Result<Vec<Row>, Findings>;

/// Makes the calls and holds each against intention and policies.
pub async fn ask(context: &ProofContext<'_>, probers: &Probers, calls: &[Call]) -> Asked {
    ask_rounds(context, probers, calls, (PATIENT, patience::EQUAL_ANSWERS)).await
}

/// The same, in so many rounds, each of so many equal answers.
pub async fn ask_rounds(
    context: &ProofContext<'_>,
    probers: &Probers,
    calls: &[Call],
    patience: (usize, usize),
) -> Asked {
    let policies = Policies::live(&context.client).await;
    let policies = policies.map_err(|error| Findings::could_not("read the policies", &error))?;
    let places = Places::find(context, probers).await?;
    let mut sources: BTreeMap<Source, Vec<usize>> = BTreeMap::new();
    for (index, call) in calls.iter().enumerate() {
        sources.entry(call.from).or_default().push(index);
    }
    let asked = join_all(sources.into_iter().map(|(source, indices)| {
        let places = &places;
        async move {
            let chosen: Vec<&Call> = indices.iter().map(|index| &calls[*index]).collect();
            let answers = match source {
                Source::Pod(role) => from_pod(context, probers, (role, patience), &chosen, places).await,
                Source::Gateway => from_gateway(context, &chosen).await,
            };
            (indices, answers)
        }
    }))
    .await;
    let mut rows: Vec<Option<Row>> = vec![None; calls.len()];
    for (indices, answers) in asked {
        for (index, answer) in indices.into_iter().zip(answers) {
            let foreseen = foresee(&policies, &context.app_namespace, &calls[index]);
            rows[index] = Some(row(&calls[index], &answer, &foreseen));
        }
    }
    Ok(rows.into_iter().flatten().collect())
}

fn row(call: &Call, seen: &Result<Answer, String>, foreseen: &foresee::Foreseen) -> Row {
    let ended = |fate| seen.as_ref().is_ok_and(|answer| ends(fate, answer));
    let said = match seen {
        Ok(answer) => answer.to_string(),
        Err(why) => why.clone(),
    };
    Row {
        from: call.from.to_string(),
        to: call.to.to_string(),
        port: call.port,
        request: call.request.map(|(method, path)| format!("{method} {path}")),
        expected: call.expected,
        seen: said,
        decided_by: foreseen.by.clone(),
        as_expected: ended(call.expected),
        as_ruled: ended(foreseen.fate),
    }
}

/// Whether an answer is what a fate looks like from the caller's side. Nobody listens on most of the probing pods: that
/// their kernel refuses shows that the packet arrived.
fn ends(fate: Fate, answer: &Answer) -> bool {
    match fate {
        Fate::Silence => *answer == Answer::Silence,
        Fate::Through => answer.connected() || *answer == Answer::Refused,
        Fate::Cut => *answer == Answer::Cut,
        Fate::Forbidden => matches!(answer, Answer::Http { status: 403, access_denied: true }),
        Fate::Answered => matches!(answer, Answer::Http { status: 200, .. }),
    }
}

/// Asks all calls of one pod side by side, three times in a row, and again what did not end as expected.
async fn from_pod(
    context: &ProofContext<'_>,
    probers: &Probers,
    (role, (rounds, times)): (Role, (usize, usize)),
    calls: &[&Call],
    places: &Places,
) -> Vec<Result<Answer, String>> {
    let mut believed: Vec<Result<Answer, String>> = vec![Err("not asked".to_owned()); calls.len()];
    let prober = match probers.at(role) {
        Ok(prober) => prober,
        Err(error) => return vec![Err(error.to_string()); calls.len()],
    };
    let seconds = if role.make().sidecar { MESHED_SECONDS } else { SILENCE_SECONDS };
    let mut open: Vec<usize> = (0..calls.len()).collect();
    for round in 0..rounds {
        if round > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let requests: Vec<Request> = open.iter().map(|index| places.request(calls[*index])).collect();
        match curl::many(&context.client, prober, &requests, seconds, times).await {
            Ok(answers) => {
                for (index, answers) in open.iter().zip(answers) {
                    let equal = answers.len() >= times && answers.windows(2).all(|two| two[0] == two[1]);
                    let answer = answers.last().filter(|_| equal).cloned();
                    believed[*index] = answer.ok_or_else(|| changing(&answers));
                }
            }
            Err(error) => {
                let why = format!("the pod could not be asked: {}", super::chain(&error));
                open.iter().for_each(|index| believed[*index] = Err(why.clone()));
            }
        }
        open.retain(|index| !believed[*index].as_ref().is_ok_and(|answer| ends(calls[*index].expected, answer)));
        if open.is_empty() {
            break;
        }
    }
    believed
}

fn changing(answers: &[Answer]) -> String {
    let seen = answers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    format!("no three equal answers: {seen}")
}

async fn from_gateway(context: &ProofContext<'_>, calls: &[&Call]) -> Vec<Result<Answer, String>> {
    join_all(calls.iter().map(|call| async {
        let path = call.request.map_or("/", |(_, path)| path);
        let (believed, answers) = patience::ask(|| mesh::through_gateway(context, path)).await;
        believed.unwrap_or_else(|| Err(changing(&answers.into_iter().filter_map(Result::ok).collect::<Vec<_>>())))
    }))
    .await
}

/// Addresses of what is called.
struct Places {
    app_namespace: String,
    addresses: BTreeMap<Place, String>,
}

impl Places {
    async fn find(context: &ProofContext<'_>, probers: &Probers) -> Result<Self, Findings> {
        let client = &context.client;
        let app = context.app_namespace.as_str();
        let look = async {
            let mut addresses = BTreeMap::new();
            for (place, namespace, labels) in [
                (Place::Frontend, app, "app=frontend"),
                (Place::Backend, app, "app=backend"),
                (Place::Dns, "kube-system", "k8s-app=kube-dns"),
                (Place::Istiod, ISTIO_NAMESPACE, "app=istiod"),
            ] {
                if let Some(address) = running(client, namespace, labels).await? {
                    addresses.insert(place, address);
                }
            }
            let kubernetes = Api::<Service>::namespaced(client.clone(), "default").get("kubernetes").await?;
            let address = kubernetes.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
            addresses.insert(Place::ApiServer, address);
            Ok::<_, kube::Error>(addresses)
        };
        let mut addresses = look.await.map_err(|error| Findings::could_not("find out what to call", &error))?;
        for role in Role::ALL {
            if let Ok(prober) = probers.at(role) {
                addresses.insert(Place::Pod(role), prober.address.clone());
            }
        }
        for needed in [Place::Frontend, Place::Backend, Place::Dns, Place::Istiod] {
            if !addresses.contains_key(&needed) {
                return Err(Findings::failed(format!("no running pod of {needed} to call"), Vec::new(), ""));
            }
        }
        Ok(Self { app_namespace: app.to_owned(), addresses })
    }

    /// Sidecars are asked by a Service's name, because mutual TLS is spoken to Services; packets go to an address.
    fn request(&self, call: &Call) -> Request {
        let (method, path) = call.request.unwrap_or(("GET", "/"));
        let service = match call.to {
            Place::Backend => "backend-service".to_owned(),
            Place::Frontend => "frontend-service".to_owned(),
            Place::Pod(role) => role.pod(),
            Place::Dns | Place::Istiod | Place::ApiServer => String::new(),
        };
        let host = match (call.request.is_some(), self.addresses.get(&call.to)) {
            (true, _) => format!("{service}.{}", self.app_namespace),
            (false, Some(address)) if address.contains(':') => format!("[{address}]"),
            (false, address) => address.cloned().unwrap_or_default(),
        };
        let scheme = if call.to == Place::ApiServer { "https" } else { "http" };
        Request { method: method.to_owned(), url: format!("{scheme}://{host}:{}{path}", call.port) }
    }
}

/// The address of a pod that runs and is not the proof's.
async fn running(client: &Client, namespace: &str, labels: &str) -> Result<Option<String>, kube::Error> {
    let selector = ListParams::default().labels(&format!("{labels},!{PROBE_LABEL}"));
    let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&selector).await?;
    let mut ready = pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(ready.find_map(|pod| {
        let status = pod.status?;
        (status.phase.as_deref() == Some("Running")).then_some(status.pod_ip)?
    }))
}

/// The claim: every call ended as the lab means it to.
pub fn judge(asked: Asked) -> Findings {
    let rows = match asked {
        Ok(rows) => rows,
        Err(findings) => return findings,
    };
    let wrong: Vec<String> = rows.iter().filter(|row| !row.as_expected).map(otherwise).collect();
    let (passing, refused): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| matches!(row.expected, Fate::Through | Fate::Answered));
    let right = |rows: &[&Row]| rows.iter().filter(|row| row.as_expected).count();
    let mut evidence = vec![format!("{} of {} refused calls were refused as expected", right(&refused), refused.len())];
    let control = format!("{} of {} allowed calls got through", right(&passing), passing.len());
    let findings = match wrong.first().cloned() {
        None => Findings::passed(evidence, control),
        Some(first) => {
            evidence.extend(wrong.iter().cloned());
            Findings::failed(
                format!("{} of {} calls ended otherwise: {first}", wrong.len(), rows.len()),
                evidence,
                control,
            )
        }
    };
    findings.with_calls(rows)
}

fn otherwise(row: &Row) -> String {
    format!("{}: expected {}, seen {} ({})", row.call(), row.expected, row.seen, row.decided_by)
}

/// The other claim: every call ended as the policy objects say, so something enforces them.
pub fn judge_enforced(asked: impl IntoIterator<Item = Asked>) -> Findings {
    let mut rows = Vec::new();
    for one in asked {
        match one {
            Ok(found) => rows.extend(found),
            Err(findings) => return findings,
        }
    }
    let wrong: Vec<String> = rows
        .iter()
        .filter(|row| !row.as_ruled)
        .map(|row| format!("{}: seen {}, but the objects say: {}", row.call(), row.seen, row.decided_by))
        .collect();
    let line = format!("{} of {} calls ended as the policy objects say", rows.len() - wrong.len(), rows.len());
    match wrong.first().cloned() {
        None => Findings::passed(vec![line], ""),
        Some(first) => Findings::failed(first, std::iter::once(line).chain(wrong).collect(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Outcome;

    const CALL: Call = Call {
        from: Source::Pod(Role::Stranger),
        to: Place::Backend,
        port: 5000,
        request: None,
        expected: Fate::Silence,
    };

    fn seen(answer: Answer, ruled: Fate) -> Row {
        row(&CALL, &Ok(answer), &foresee::Foreseen { fate: ruled, by: "NetworkPolicy backend".to_owned() })
    }

    #[test]
    fn a_fate_is_told_from_all_others() {
        let http = |status, access_denied| Answer::Http { status, access_denied };
        for (answer, fates) in [
            (Answer::Silence, vec![Fate::Silence]),
            (Answer::Refused, vec![Fate::Through]),
            (Answer::Cut, vec![Fate::Through, Fate::Cut]),
            (Answer::Stalled, vec![Fate::Through]),
            (http(200, false), vec![Fate::Through, Fate::Answered]),
            (http(403, true), vec![Fate::Through, Fate::Forbidden]),
            (http(403, false), vec![Fate::Through]),
            (http(503, false), vec![Fate::Through]),
            (Answer::Other { exit: 6, said: String::new() }, vec![]),
        ] {
            let found: Vec<Fate> = [Fate::Silence, Fate::Through, Fate::Cut, Fate::Forbidden, Fate::Answered]
                .into_iter()
                .filter(|fate| ends(*fate, &answer))
                .collect();
            assert_eq!(found, fates, "{answer}");
        }
    }

    #[test]
    fn one_call_that_ends_otherwise_fails_the_matrix_and_names_the_policy() {
        let right = seen(Answer::Silence, Fate::Silence);
        assert_eq!(judge(Ok(vec![right.clone()])).outcome, Outcome::Passed);
        let findings = judge(Ok(vec![right, seen(Answer::Cut, Fate::Cut)]));
        let Outcome::Failed { what } = &findings.outcome else { panic!("passed") };
        assert!(what.contains("1 of 2 calls") && what.contains("NetworkPolicy backend"), "{what}");
        assert_eq!(findings.calls.len(), 2);
    }

    #[test]
    fn a_policy_that_nothing_enforces_is_found() {
        assert_eq!(judge_enforced([Ok(vec![seen(Answer::Silence, Fate::Silence)])]).outcome, Outcome::Passed);
        // The objects say silence, and the packet arrived.
        let Outcome::Failed { what } = judge_enforced([Ok(vec![seen(Answer::Cut, Fate::Silence)])]).outcome else {
            panic!("passed")
        };
        assert!(what.contains("but the objects say"), "{what}");
    }

    #[test]
    fn a_pod_that_could_not_be_asked_is_no_silence() {
        let row = row(&CALL, &Err("no exec".to_owned()), &foresee::Foreseen { fate: Fate::Silence, by: String::new() });
        assert!(!row.as_expected && !row.as_ruled);
    }
}

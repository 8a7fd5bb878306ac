//! What every pod of the app needs from the cluster: names, and the control plane that gives it certificate and rules.

use futures::future::join;

use super::{
    Findings, ProofContext, chain,
    curl::{self, Answer, Request},
    denial, patience,
    prober::{Prober, Probers},
    role::Role,
};
use crate::cluster::exec::ExecError;

/// Looking up a name inside the cluster takes milliseconds; an outside one is never asked for here.
const SECONDS: u64 = 3;
/// curl's exit code for a name that nobody knows.
const EXIT_RESOLVE: i32 = 6;

/// Names of the cluster resolve, also for a pod that no rule names, and one that does not exist is refused.
pub async fn dns(context: &ProofContext<'_>, probers: &Probers) -> Findings {
    let [plain, newcomer] = match denial::pods(probers, [Role::Plain, Role::Newcomer]) {
        Ok(pods) => pods,
        Err(findings) => return findings,
    };
    let app = &context.app_namespace;
    // With the dot at its end a name is asked for as it is, once.
    let names = [
        format!("backend-service.{app}.svc.cluster.local."),
        "istiod.istio-system.svc.cluster.local.".to_owned(),
        format!("no-such-service.{app}.svc.cluster.local."),
    ];
    let requests: Vec<Request> =
        names.iter().map(|name| Request { method: "GET".to_owned(), url: format!("http://{name}:1/") }).collect();
    let (mut evidence, mut wrong, mut control) = (Vec::new(), Vec::new(), String::new());
    for (who, answers) in both(context, &requests, plain, newcomer).await {
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => return Findings::failed(format!("could not ask: {}", chain(&error)), evidence, control),
        };
        for (name, answers) in names.iter().zip(answers) {
            let known = patience::believed(&answers).map(resolved);
            let exists = !name.starts_with("no-such");
            let line = format!("{who} looks up {name}: {}", word(known));
            if known != Some(exists) {
                wrong.push(line.clone());
            }
            if exists { evidence.push(line) } else { control = line }
        }
    }
    match wrong.first().cloned() {
        None => Findings::passed(evidence, control),
        Some(first) => Findings::failed(first, evidence, control),
    }
}

/// Answers from one of the app's pods.
type Answers = Result<Vec<Vec<Answer>>, ExecError>;

/// Asks from both pods at once.
async fn both(
    context: &ProofContext<'_>,
    requests: &[Request],
    plain: &Prober,
    newcomer: &Prober,
) -> [(&'static str, Answers); 2] {
    let ask = |pod| curl::many(&context.client, pod, requests, SECONDS, patience::EQUAL_ANSWERS);
    let (of_plain, of_newcomer) = join(ask(plain), ask(newcomer)).await;
    [("a frontend", of_plain), ("a pod that no rule names", of_newcomer)]
}

/// Whatever a call ended in: when its name was unknown, it ended in that.
fn resolved(answer: &Answer) -> bool {
    !matches!(answer, Answer::Other { exit: EXIT_RESOLVE, .. })
}

fn word(known: Option<bool>) -> &'static str {
    match known {
        Some(true) => "known",
        Some(false) => "unknown",
        None => "the answers keep changing",
    }
}

/// The port where sidecars get certificate and rules is open to the app's pods, and istiod's other port is not.
pub async fn istiod(context: &ProofContext<'_>, probers: &Probers) -> Findings {
    let [plain, newcomer] = match denial::pods(probers, [Role::Plain, Role::Newcomer]) {
        Ok(pods) => pods,
        Err(findings) => return findings,
    };
    let url = |scheme: &str, port: u16| Request {
        method: "GET".to_owned(),
        url: format!("{scheme}://istiod.istio-system:{port}/"),
    };
    let requests = [url("https", 15012), url("http", 15014)];
    let (mut evidence, mut wrong, mut control) = (Vec::new(), Vec::new(), String::new());
    for (who, answers) in both(context, &requests, plain, newcomer).await {
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => return Findings::failed(format!("could not ask: {}", chain(&error)), evidence, control),
        };
        let said = |index: usize| answers.get(index).and_then(|answers| patience::believed(answers)).cloned();
        let describe = |answer: &Option<Answer>| {
            answer.as_ref().map_or("the answers keep changing".to_owned(), ToString::to_string)
        };
        let (open, closed) = (said(0), said(1));
        let line = format!("{who} → istiod port 15012: {}", describe(&open));
        if !open.as_ref().is_some_and(Answer::connected) {
            wrong.push(line.clone());
        }
        evidence.push(line);
        control = format!("{who} → istiod port 15014, which no rule opens: {}", describe(&closed));
        if closed != Some(Answer::Silence) {
            wrong.push(control.clone());
        }
    }
    match wrong.first().cloned() {
        None => Findings::passed(evidence, control),
        Some(first) => Findings::failed(first, evidence, control),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_unknown_only_when_curl_says_so() {
        let unknown = Answer::Other { exit: 6, said: "Could not resolve host".to_owned() };
        assert!(!resolved(&unknown));
        for answer in [Answer::Silence, Answer::Refused, Answer::Cut] {
            assert!(resolved(&answer), "{answer}");
        }
    }
}

//! Who is refused, and by which layer.
//!
//! Each probe here asks the same question twice: as somebody who may (the control) and as somebody who may not.

use futures::future::{join, join_all};

use super::{
    Findings, ProofContext,
    curl::{self, Answer},
    patience,
    prober::{Destination, Prober, Probers, destinations},
    role::Role,
};

/// Enough for packets inside one node; a dropped flow costs this three times.
const SILENCE_SECONDS: u64 = 3;
/// Above the 10 s after which a sidecar gives up connecting and answers 503 itself.
const MESHED_SECONDS: u64 = 15;

/// Answers to one question, asked until they can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    believed: Option<Answer>,
    all: Vec<Answer>,
    /// Why the pod could not be asked, when it could not.
    trouble: Option<String>,
}

impl Asked {
    /// One line of evidence.
    fn line(&self, who: &str, what: &str) -> String {
        match (&self.believed, &self.trouble) {
            (_, Some(trouble)) => format!("{who} → {what}: could not ask: {trouble}"),
            (Some(answer), _) => format!("{who} → {what}: {answer} ({} times in a row)", patience::EQUAL_ANSWERS),
            (None, _) => {
                let seen = self.all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                format!("{who} → {what}: no three equal answers: {seen}")
            }
        }
    }
}

async fn ask(context: &ProofContext<'_>, from: &Prober, url: &str, seconds: u64) -> Asked {
    let trouble = std::sync::Mutex::new(None);
    let (believed, all) = patience::ask(|| async {
        match curl::call(&context.client, &from.namespace, &from.name, url, seconds).await {
            Ok(answer) => answer,
            Err(error) => {
                let text = super::chain(&error);
                if let Ok(mut trouble) = trouble.lock() {
                    *trouble = Some(text);
                }
                Answer::Other { exit: -1, said: "the pod could not be asked".to_owned() }
            }
        }
    })
    .await;
    let asked_in_vain = matches!(believed, Some(Answer::Other { exit: -1, .. }));
    let trouble = trouble.into_inner().ok().flatten().filter(|_| asked_in_vain);
    Asked { believed, all, trouble }
}

/// What a refusal must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Cut off after TCP connected: mutual TLS.
    Cut,
    /// Silence: the network policy.
    Silence,
    /// 403 by Envoy: the authorization policy.
    Forbidden,
}

/// What is wrong with an answer, or `None` when it is the expected refusal.
fn wrong(expected: Expected, answer: &Answer) -> Option<String> {
    let text = match (expected, answer) {
        (Expected::Cut, Answer::Cut)
        | (Expected::Silence, Answer::Silence)
        | (Expected::Forbidden, Answer::Http { status: 403, access_denied: true }) => return None,
        (Expected::Cut, Answer::Http { .. }) => "plaintext was accepted: mTLS is not STRICT".to_owned(),
        (Expected::Cut, Answer::Silence) => {
            "dropped by the network policy before mTLS could refuse: nothing proved".to_owned()
        }
        (Expected::Silence, answer) if answer.connected() => "the network policy let the connection through".to_owned(),
        (Expected::Silence, Answer::Refused) => {
            "the connection was refused instead of dropped: nobody listens, so nothing is proved".to_owned()
        }
        (Expected::Forbidden, Answer::Http { status: 200..=399, .. }) => {
            "the wrong identity was let in: the authorization policy does not hold".to_owned()
        }
        (Expected::Forbidden, Answer::Silence | Answer::Stalled | Answer::Http { status: 503, .. }) => {
            "the network policy dropped the call before the authorization policy could refuse: nothing proved"
                .to_owned()
        }
        (_, answer) => format!("unexpected answer: {answer}"),
    };
    Some(text)
}

/// Puts denials and their control together; a failed control comes first, because then nothing else means anything.
fn judge(control: (&Asked, bool, String), denials: &[(Asked, Expected, String)]) -> Findings {
    let (control_asked, control_holds, control_line) = control;
    let evidence: Vec<String> = denials.iter().map(|(_, _, line)| line.clone()).collect();
    if !control_holds {
        let why = control_asked.trouble.clone().unwrap_or_else(|| control_line.clone());
        return Findings::failed(format!("the control failed: {why}"), evidence, control_line);
    }
    for (asked, expected, line) in denials {
        let what = match &asked.believed {
            Some(answer) => wrong(*expected, answer),
            None => Some("the answers keep changing".to_owned()),
        };
        if let Some(what) = what {
            return Findings::failed(format!("{what} ({line})"), evidence, control_line);
        }
    }
    Findings::passed(evidence, control_line)
}

fn succeeded(asked: &Asked) -> bool {
    matches!(asked.believed, Some(Answer::Http { status: 200, .. }))
}

/// How the frontend calls the backend.
const BACKEND: &str = "http://backend-service:5000/api/";

/// The pods of these roles.
pub(super) fn pods<const COUNT: usize>(probers: &Probers, roles: [Role; COUNT]) -> Result<[&Prober; COUNT], Findings> {
    let mut found = Vec::with_capacity(COUNT);
    for role in roles {
        found.push(probers.at(role).map_err(|error| Findings::could_not("ask from every pod", &error))?);
    }
    found.try_into().map_err(|_| Findings::failed("no probing pods", Vec::new(), ""))
}

/// A pod with an allowed caller's label and no certificate is cut off.
pub async fn plaintext(context: &ProofContext<'_>, probers: &Probers) -> Findings {
    let [caller, plain] = match pods(probers, [Role::Caller, Role::Plain]) {
        Ok(pods) => pods,
        Err(findings) => return findings,
    };
    let (control, denied) =
        join(ask(context, caller, BACKEND, MESHED_SECONDS), ask(context, plain, BACKEND, MESHED_SECONDS)).await;
    let line = denied.line("frontend's label, no sidecar", "backend");
    let control_line = control.line("frontend's label, with sidecar", "backend");
    judge((&control, succeeded(&control), control_line), &[(denied, Expected::Cut, line)])
}

/// A pod in the mesh with an allowed label and another account gets 403.
pub async fn wrong_identity(context: &ProofContext<'_>, probers: &Probers) -> Findings {
    let [caller, impostor] = match pods(probers, [Role::Caller, Role::Impostor]) {
        Ok(pods) => pods,
        Err(findings) => return findings,
    };
    let (control, denied) =
        join(ask(context, caller, BACKEND, MESHED_SECONDS), ask(context, impostor, BACKEND, MESHED_SECONDS)).await;
    let line = denied.line("frontend's label, loadtest's account", "backend");
    let control_line = control.line("frontend's label, frontend's account", "backend");
    judge((&control, succeeded(&control), control_line), &[(denied, Expected::Forbidden, line)])
}

/// Neither a stranger in the namespace nor a frontend of another namespace gets any answer.
///
/// The control has no sidecar either and is only connected, then cut off: at the layer that is judged here, that is
/// getting through.
pub async fn wrong_label(context: &ProofContext<'_>, probers: &Probers) -> Findings {
    let [plain, stranger, outsider] = match pods(probers, [Role::Plain, Role::Stranger, Role::Outsider]) {
        Ok(pods) => pods,
        Err(findings) => return findings,
    };
    let namespace = &context.app_namespace;
    let targets = [
        ("backend", format!("http://backend-service.{namespace}:5000/api/")),
        ("frontend", format!("http://frontend-service.{namespace}:80/")),
    ];
    let callers = [("a stranger's label", stranger), ("frontend's label in another namespace", outsider)];
    let questions = callers.iter().flat_map(|caller| targets.iter().map(move |target| (caller, target)));
    let denials = join_all(questions.map(|((who, prober), (what, url))| async move {
        let asked = ask(context, prober, url, SILENCE_SECONDS).await;
        let line = asked.line(who, what);
        (asked, Expected::Silence, line)
    }));
    let (control, denials) = join(ask(context, plain, BACKEND, SILENCE_SECONDS), denials).await;
    let connected = control.believed.as_ref().is_some_and(Answer::connected);
    let line = control.line("frontend's label, no sidecar either", "backend");
    judge((&control, connected, line), &denials)
}

/// A pod of the app reaches nothing beyond the rules, while a pod without policies reaches all of it.
pub async fn egress(context: &ProofContext<'_>, probers: &Probers) -> Findings {
    let [plain, outsider] = match pods(probers, [Role::Plain, Role::Outsider]) {
        Ok(pods) => pods,
        Err(findings) => return findings,
    };
    let destinations = match destinations(&context.client).await {
        Ok(destinations) => destinations,
        Err(error) => return Findings::could_not("find out what to call", &error),
    };
    let both = join_all(destinations.iter().map(|Destination { name, url }| async move {
        let asked = join(ask(context, plain, url, SILENCE_SECONDS), ask(context, outsider, url, SILENCE_SECONDS));
        (name, asked.await)
    }))
    .await;
    let mut denials = Vec::new();
    let mut controls = Vec::new();
    let mut broken = None;
    for (name, (denied, control)) in both {
        let line = denied.line("a pod of the app", name);
        denials.push((denied, Expected::Silence, line));
        controls.push(control.line("a pod without policies", name));
        if broken.is_none() && !control.believed.as_ref().is_some_and(Answer::connected) {
            broken = Some((control, controls.last().cloned().unwrap_or_default()));
        }
    }
    match broken {
        Some((control, line)) => judge((&control, false, line), &denials),
        None => {
            let held = Asked { believed: None, all: Vec::new(), trouble: None };
            judge((&held, !controls.is_empty(), controls.join("; ")), &denials)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Outcome;

    const OK: Answer = Answer::Http { status: 200, access_denied: false };
    const DENIED: Answer = Answer::Http { status: 403, access_denied: true };

    fn asked(answers: &[Answer]) -> Asked {
        Asked { believed: patience::believed(answers).cloned(), all: answers.to_vec(), trouble: None }
    }

    fn thrice(answer: &Answer) -> Asked {
        asked(&[answer.clone(), answer.clone(), answer.clone()])
    }

    fn verdict(control: &Asked, expected: Expected, denied: Asked) -> Outcome {
        let line = denied.line("who", "what");
        judge((control, succeeded(control), control.line("may", "what")), &[(denied, expected, line)]).outcome
    }

    #[test]
    fn each_layer_is_proved_by_its_own_way_to_refuse() {
        use Expected::{Cut, Forbidden, Silence};
        let other = Answer::Other { exit: 6, said: "no such name".to_owned() };
        let forbidden_by_app = Answer::Http { status: 403, access_denied: false };
        let unavailable = Answer::Http { status: 503, access_denied: false };
        for (expected, answer, failure) in [
            (Cut, Answer::Cut, None),
            (Cut, OK, Some("plaintext was accepted: mTLS is not STRICT")),
            (Cut, DENIED, Some("plaintext was accepted: mTLS is not STRICT")),
            (Cut, Answer::Silence, Some("dropped by the network policy before mTLS could refuse: nothing proved")),
            (Cut, other.clone(), Some("unexpected answer")),
            (Silence, Answer::Silence, None),
            (Silence, Answer::Cut, Some("let the connection through")),
            (Silence, OK, Some("let the connection through")),
            (Silence, Answer::Stalled, Some("let the connection through")),
            (Silence, Answer::Refused, Some("nobody listens")),
            (Silence, other, Some("unexpected answer")),
            (Forbidden, DENIED, None),
            (Forbidden, OK, Some("was let in")),
            (Forbidden, forbidden_by_app, Some("unexpected answer")),
            (Forbidden, unavailable, Some("nothing proved")),
            (Forbidden, Answer::Silence, Some("nothing proved")),
            (Forbidden, Answer::Cut, Some("unexpected answer")),
        ] {
            match (verdict(&thrice(&OK), expected, thrice(&answer)), failure) {
                (Outcome::Passed, None) => {}
                (Outcome::Failed { what }, Some(text)) => assert!(what.contains(text), "{answer}: {what}"),
                (outcome, _) => panic!("{expected:?} {answer}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_denial_without_a_control_proves_nothing() {
        for control in [Answer::Silence, Answer::Cut, DENIED, Answer::Http { status: 503, access_denied: false }] {
            let Outcome::Failed { what } = verdict(&thrice(&control), Expected::Silence, thrice(&Answer::Silence))
            else {
                panic!("{control} passed for a control")
            };
            assert!(what.starts_with("the control failed"), "{what}");
        }
    }

    #[test]
    fn answers_that_keep_changing_are_not_believed() {
        let mixed = asked(&[Answer::Cut, OK, Answer::Cut, OK]);
        let Outcome::Failed { what } = verdict(&thrice(&OK), Expected::Cut, mixed) else { panic!("believed") };
        assert!(what.starts_with("the answers keep changing"), "{what}");
        // One call over a pooled connection, then three denials: the denial holds.
        let drained = asked(&[OK, DENIED, DENIED, DENIED]);
        assert_eq!(verdict(&thrice(&OK), Expected::Forbidden, drained), Outcome::Passed);
    }
}

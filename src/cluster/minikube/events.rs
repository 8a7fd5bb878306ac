//! What Minikube says while it starts, in our words. Pure.

use serde::Deserialize;

/// What a healthy offline start says although nothing is wrong.
const HARMLESS: [&str; 9] = [
    "may need to configure a proxy",
    "should not be used with root privileges",
    "running minikube within a VM",
    "/docs/reference/drivers/none/",
    "you will need to provide your own CNI",
    "validations when --force is supplied",
    "Unable to find image",
    // The proxies of an offline run lead nowhere on purpose.
    "Local proxy ignored",
    "You appear to be using a proxy",
];

/// What is no fault either, but looks so much like one that it is put in other words.
const EXPLAINED: [(&str, &str); 2] = [
    ("trouble accessing https://registry.k8s.io", NO_REGISTRY),
    ("Failing to connect to https://registry.k8s.io", NO_REGISTRY),
];
const NO_REGISTRY: &str =
    "Minikube's node does not reach registry.k8s.io: that is so without a network, and nothing is needed from there";

/// What one line of `minikube start -o json` means to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MinikubeEvent {
    /// It is busy with something.
    Step {
        /// With what.
        on: String,
        /// The number of this part.
        done: u64,
        /// How many parts it counts; a start leaves some out.
        total: u64,
    },
    /// Something that sounds like a fault and is none, in other words.
    Explained(&'static str),
    /// A warning that is not one of the harmless ones.
    Warning(String),
    /// An error event; only a failed start shows it.
    Error(String),
}

/// Reads one line; `None` for what nobody needs to see and for lines that are not events.
pub fn parse_event(line: &str) -> Option<MinikubeEvent> {
    #[derive(Deserialize)]
    struct CloudEvent {
        r#type: String,
        data: Data,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    struct Data {
        #[serde(default)]
        message: String,
        #[serde(default)]
        advice: String,
        #[serde(default)]
        currentstep: String,
        #[serde(default)]
        totalsteps: String,
    }
    let CloudEvent { r#type, data } = serde_json::from_str(line).ok()?;
    let message = data.message.trim().to_owned();
    if let Some((_, text)) = EXPLAINED.iter().find(|(known, _)| message.contains(known)) {
        return Some(MinikubeEvent::Explained(text));
    }
    if message.is_empty() || HARMLESS.iter().any(|known| message.contains(known)) {
        return None;
    }
    match r#type.strip_prefix("io.k8s.sigs.minikube.")? {
        "step" => {
            let number = |text: &str| text.parse().ok();
            let (done, total) = (number(&data.currentstep)?, number(&data.totalsteps)?);
            Some(MinikubeEvent::Step { on: message, done, total })
        }
        "warning" => Some(MinikubeEvent::Warning(message)),
        "error" if data.advice.trim().is_empty() => Some(MinikubeEvent::Error(message)),
        "error" => Some(MinikubeEvent::Error(format!("{message} ({})", data.advice.trim()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = include_str!("../../../tests/fixtures/recorded/minikube-start-events.jsonl");

    #[test]
    fn a_healthy_start_shows_counted_steps_and_neither_warnings_nor_errors() {
        let events: Vec<_> = RECORDED.lines().filter_map(parse_event).collect();
        let (steps, others): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| matches!(event, MinikubeEvent::Step { .. }));
        assert_eq!(others, [MinikubeEvent::Explained(NO_REGISTRY)], "the one thing that a person would worry about");
        let on = "Booting up control plane ...".to_owned();
        assert!(steps.contains(&MinikubeEvent::Step { on, done: 13, total: 19 }));
        let counted = |event: &MinikubeEvent| match event {
            MinikubeEvent::Step { done, total, .. } => (*done, *total),
            _ => (0, 0),
        };
        let counts: Vec<_> = steps.iter().map(counted).collect();
        assert!(
            counts.is_sorted() && counts.first() == Some(&(0, 19)) && counts.last() == Some(&(19, 19)),
            "{counts:?}"
        );
    }

    #[test]
    fn an_unknown_error_is_kept_with_its_advice() {
        let line = r#"{"type":"io.k8s.sigs.minikube.error","data":{"message":"no space","advice":"free some","exitcode":"26"}}"#;
        assert_eq!(parse_event(line), Some(MinikubeEvent::Error("no space (free some)".to_owned())));
        assert_eq!(parse_event("! plain text"), None);
    }
}

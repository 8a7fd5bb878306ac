//! What `--from` names, looked up where that takes a question.

use std::path::Path;

use super::Context;
use crate::{
    base::Event,
    fetch::{Source, lan},
    lockfile,
};

/// The word for whoever serves this lab in the same network.
const LAN: &str = "lan";

/// Reads what a person wrote; `lan` becomes the addresses of the servers that are found.
///
/// # Errors
/// When a word names nothing, or no server of this lab answers.
pub async fn of(context: &Context, texts: &[String], minikube_home: &Path) -> miette::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for text in texts {
        if text != LAN {
            sources.push(Source::parse(text, minikube_home)?);
            continue;
        }
        let lab_id = lockfile::read(&context.lock_path())?.lab_id();
        for found in lan::find(&lab_id, context.offline).await? {
            context.reporter.report(Event::Note { text: format!("found {} at {}", found.name, found.url) });
            sources.push(Source::Store(found.url));
        }
    }
    Ok(sources)
}

//! A `docker-credential-…` program: it reads the registry's name on stdin and answers JSON on stdout
//! (docker/docker-credential-helpers, README, "Development"). What it prints is never shown: it may be the secret.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use super::credentials::Login;

/// The user name that says that the secret is a refresh token (docker/cli, `tokenUsername`).
const TOKEN_USER: &str = "<token>";

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a credential helper for the login of `server`, within `patience`. `environment` is all that it sees; its
/// `PATH` says where the program is. `None`: it has nothing for this registry.
pub(super) async fn ask(
    helper: &str,
    server: &str,
    environment: &BTreeMap<String, String>,
    patience: Duration,
) -> Result<Option<Login>, String> {
    let name = format!("docker-credential-{helper}");
    if !helper.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter)) {
        return Err(format!("`{name}` is no program's name"));
    }
    let path = environment.get("PATH").map_or("", String::as_str);
    let program = std::env::split_paths(path).map(|folder| folder.join(&name)).find(|file| file.is_file());
    let program = program.ok_or_else(|| format!("`{name}` is not on the PATH"))?;
    let output = tokio::time::timeout(patience, run(&program, environment, server));
    let output = match output.await {
        Ok(output) => output.map_err(|error| format!("`{name} get` cannot be run ({error})"))?,
        Err(_) => return Err(format!("`{name} get` gave no answer within {} s", patience.as_secs_f32())),
    };
    if !output.status.success() {
        // The one error that the protocol has words for.
        let told = String::from_utf8_lossy(&output.stdout);
        if told.contains("credentials not found") {
            return Ok(None);
        }
        return Err(format!("`{name} get` ended with {}", output.status));
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| format!("`{name} get` answered something else"))?;
    Ok(match (answer.username, answer.secret) {
        (_, secret) if secret.is_empty() => None,
        (user, secret) if user == TOKEN_USER => Some(Login::Identity(secret)),
        (user, password) => Some(Login::Password { user, password }),
    })
}

async fn run(
    program: &Path,
    environment: &BTreeMap<String, String>,
    server: &str,
) -> std::io::Result<std::process::Output> {
    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .env_clear()
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read says in its answer what it thinks of that.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    child.wait_with_output().await
}

//! Credentials as `docker login` leaves them: in Docker's `config.json`, or with a `docker-credential-…` program.
//!
//! ```text
//! $DOCKER_CONFIG/config.json, else $HOME/.docker/config.json
//! credHelpers[registry] → docker-credential-<that> get         a program for this registry
//! credsStore            → docker-credential-<that> get         a program for all of them
//! auths[registry]       → "auth" (base64 of user:password), "identitytoken"
//! ```
//! How such a program is asked is in `helper`.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::base::{Event, Reporter};

use super::helper;

/// The name that Docker keeps its own registry under (docker/cli, `registry.IndexServer`).
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// A key store that asks a person for a password gets so long; one that hangs must not hold up a fetch.
const PATIENCE: Duration = Duration::from_secs(20);

/// A secret that opens a registry. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// A user's name and password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, exchanged for pull tokens.
    Identity(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login(…)")
    }
}

/// Where credentials may be. The default knows none: every request is anonymous.
#[derive(Clone, Default)]
pub struct DockerConfig {
    /// Registry → what `docker login` wrote.
    logins: BTreeMap<String, Login>,
    /// Registry → helper.
    helpers: BTreeMap<String, String>,
    /// The helper for all others.
    store: Option<String>,
    /// What a helper sees, `PATH` included.
    environment: BTreeMap<String, String>,
    patience: Option<Duration>,
    problem: Option<String>,
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DockerConfig({} logins, {} helpers)", self.logins.len(), self.helpers.len())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credHelpers")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl DockerConfig {
    /// Reads Docker's configuration; none is no error. One that cannot be read is told about when a registry asks
    /// for credentials: most labs need none.
    pub fn read(environment: &BTreeMap<String, String>) -> Self {
        let mut config = Self { environment: environment.clone(), ..Self::default() };
        let Some(path) = config_path(environment) else { return config };
        match fs_err::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(file) => config.take(file),
                // serde's own words quote what it found, which may be a password.
                Err(error) => {
                    let place = format!("line {}, column {}", error.line(), error.column());
                    config.problem = Some(format!("{} is not what Docker writes ({place})", path.display()));
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => config.problem = Some(error.to_string()),
        }
        config
    }

    /// Gives a helper another time to answer.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    fn take(&mut self, file: File) {
        self.logins = file.auths.into_iter().filter_map(|(name, auth)| Some((host_of(&name), login(auth)?))).collect();
        self.helpers = file.cred_helpers.into_iter().map(|(name, helper)| (host_of(&name), helper)).collect();
        self.store = Some(file.creds_store).filter(|store| !store.is_empty());
    }
}

/// Credentials of one run: each registry's are looked up once.
#[derive(Default)]
pub(super) struct Credentials {
    config: DockerConfig,
    known: Mutex<HashMap<String, Arc<tokio::sync::OnceCell<Option<Login>>>>>,
}

impl Credentials {
    pub(super) fn new(config: DockerConfig) -> Self {
        Self { config, known: Mutex::default() }
    }

    /// The credentials of this registry (`host` or `host:port`); `None` when nothing is configured for it, or when
    /// what is configured does not answer, which is warned about once.
    pub(super) async fn of(&self, registry: &str, reporter: &dyn Reporter) -> Option<Login> {
        let registry = host_of(registry);
        let cell = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(registry.clone()).or_default())
        };
        cell.get_or_init(|| self.look_up(&registry, reporter)).await.clone()
    }

    async fn look_up(&self, registry: &str, reporter: &dyn Reporter) -> Option<Login> {
        let warn = |problem: String| {
            let text = format!("no credentials for {registry}: {problem}; asking it without");
            reporter.report(Event::Warning { text });
        };
        if let Some(problem) = &self.config.problem {
            warn(problem.clone());
        }
        if let Some(helper) = self.config.helpers.get(registry).or(self.config.store.as_ref()) {
            match self.ask(helper, registry).await {
                Ok(Some(login)) => return Some(login),
                Ok(None) => {}
                Err(problem) => warn(problem),
            }
        }
        self.config.logins.get(registry).cloned()
    }

    async fn ask(&self, helper: &str, registry: &str) -> Result<Option<Login>, String> {
        let server = if registry == host_of(DOCKER_HUB) { DOCKER_HUB } else { registry };
        helper::ask(helper, server, &self.config.environment, self.config.patience.unwrap_or(PATIENCE)).await
    }
}

fn config_path(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")))?;
    Some(folder.join("config.json"))
}

/// The registry's host of a key: old versions of Docker wrote addresses (docker/cli, `ConvertToHostname`). Docker Hub
/// has several names.
fn host_of(name: &str) -> String {
    let bare = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    match bare.split('/').next().unwrap_or_default() {
        "docker.io" | "registry-1.docker.io" => "index.docker.io".to_owned(),
        host => host.to_owned(),
    }
}

fn login(auth: Auth) -> Option<Login> {
    if !auth.identitytoken.is_empty() {
        return Some(Login::Identity(auth.identitytoken));
    }
    if !auth.username.is_empty() {
        return Some(Login::Password { user: auth.username, password: auth.password });
    }
    let decoded = String::from_utf8(STANDARD.decode(auth.auth).ok()?).ok()?;
    // Docker pads the password with NUL (docker/cli, `decodeAuth`).
    let (user, password) = decoded.split_once(':')?;
    Some(Login::Password { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::base::report::Recording;

    /// A home with a `.docker/config.json`, and a folder for helpers on its PATH.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new(config: &str) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            fs_err::create_dir_all(home.0.path().join(".docker")).unwrap();
            fs_err::write(home.0.path().join(".docker/config.json"), config).unwrap();
            home
        }

        fn helper(&self, name: &str, script: &str) {
            let path = self.0.path().join(format!("docker-credential-{name}"));
            fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn config(&self) -> DockerConfig {
            let folder = self.0.path().display().to_string();
            let path = format!("{folder}:/usr/bin:/bin");
            DockerConfig::read(&BTreeMap::from([("HOME".to_owned(), folder), ("PATH".to_owned(), path)]))
        }

        async fn ask(&self, registry: &str) -> (Option<Login>, String) {
            let reporter = Recording::default();
            let login = Credentials::new(self.config()).of(registry, &reporter).await;
            (login, format!("{:?}", reporter.events()))
        }
    }

    fn password(user: &str, password: &str) -> Option<Login> {
        Some(Login::Password { user: user.to_owned(), password: password.to_owned() })
    }

    #[tokio::test]
    async fn what_docker_login_wrote_is_found_under_every_name_of_the_registry() {
        let auth = STANDARD.encode("teacher:pass:word");
        let home = Home::new(&format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}},"ghcr.io":{{"identitytoken":"refresh"}},
                "quay.io":{{"username":"a","password":"b"}},"empty.example":{{}}}},"HttpHeaders":{{}}}}"#
        ));
        for registry in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            assert_eq!(home.ask(registry).await.0, password("teacher", "pass:word"), "{registry}");
        }
        assert_eq!(home.ask("ghcr.io").await.0, Some(Login::Identity("refresh".to_owned())));
        assert_eq!(home.ask("quay.io").await.0, password("a", "b"));
        for registry in ["empty.example", "ghcr.io:444", "elsewhere.example"] {
            assert_eq!(home.ask(registry).await, (None, "[]".to_owned()), "{registry}");
        }
    }

    #[tokio::test]
    async fn a_helper_is_asked_by_the_documented_protocol_and_once() {
        let home = Home::new(r#"{"credHelpers":{"quay.io":"mine"},"credsStore":"all"}"#);
        let asked = home.0.path().join("asked").display().to_string();
        let answer = |user: &str| {
            format!(r#"echo "$1 $(cat)" >> {asked}; echo '{{"ServerURL":"x","Username":"{user}","Secret":"secret"}}'"#)
        };
        home.helper("mine", &answer("one"));
        home.helper("all", &answer("<token>"));
        let credentials = Credentials::new(home.config());
        let reporter = Recording::default();
        for _ in 0..2 {
            assert_eq!(credentials.of("quay.io", &reporter).await, password("one", "secret"));
            assert_eq!(credentials.of("docker.io", &reporter).await, Some(Login::Identity("secret".to_owned())));
        }
        let asked = fs_err::read_to_string(asked).unwrap();
        assert_eq!(asked, "get quay.io\nget https://index.docker.io/v1/\n");
    }

    #[tokio::test]
    async fn a_helper_without_an_answer_means_no_credentials_and_tells_no_secret() {
        let home = Home::new(r#"{"credsStore":"broken"}"#);
        for (script, told) in [
            ("echo 'credentials not found in native keychain'; exit 1", ""),
            ("echo secret; echo secret >&2; exit 3", "`docker-credential-broken get` ended with exit status: 3"),
            ("echo secret", "`docker-credential-broken get` answered something else"),
        ] {
            home.helper("broken", script);
            let (login, events) = home.ask("quay.io").await;
            assert_eq!(login, None);
            assert!(events.contains(told) && !events.contains("secret"), "{events}");
            assert_eq!(told.is_empty(), events == "[]", "{events}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_hangs_or_is_not_there_does_not_hold_up_anything() {
        let home = Home::new(r#"{"credsStore":"slow","credHelpers":{"a.example":"gone","b.example":"../evil"}}"#);
        home.helper("slow", "exec sleep 1000");
        let reporter = Recording::default();
        let credentials = Credentials::new(home.config().with_patience(Duration::from_millis(50)));
        for registry in ["quay.io", "a.example", "b.example"] {
            assert_eq!(credentials.of(registry, &reporter).await, None);
        }
        let events = format!("{:?}", reporter.events());
        for told in ["gave no answer within 0.05 s", "`docker-credential-gone` is not on the PATH", "no program's name"]
        {
            assert!(events.contains(told), "{events}");
        }
    }

    #[tokio::test]
    async fn a_broken_configuration_is_told_without_its_contents() {
        let home = Home::new(r#"{"auths":{"quay.io":"secret"}}"#);
        let (login, events) = home.ask("quay.io").await;
        assert_eq!(login, None);
        assert!(events.contains("is not what Docker writes (line 1") && !events.contains("secret"), "{events}");
        assert!(!format!("{:?}", Home::new(r#"{"auths":{"a":{"username":"secret"}}}"#).config()).contains("secret"));
    }
}

//! What a registry wants to see before it serves: nothing, a token for each repository, or a password.
//!
//! A registry that wants something says so in a 401's `WWW-Authenticate` (distribution-spec, "Token Authentication").
//! So nothing is asked for before it is wanted, and what was given is reused until it is refused.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use oci_spec::distribution::Reference;
use reqwest::{
    RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use url::Url;

use crate::base::{Event, Reporter};

use super::{
    FetchError,
    credentials::{Credentials, DockerConfig, Login},
    http::Http,
    retry::retry_after,
    source::{Access, is_loopback, shown},
};

/// What goes into `Authorization`. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Pass {
    Bearer(String),
    Basic { user: String, password: String },
}

impl fmt::Debug for Pass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pass(…)")
    }
}

impl Pass {
    /// Adds the header, marked as sensitive: `reqwest` takes it off when a redirect leads to another host.
    pub(super) fn put_on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Bearer(token) => request.bearer_auth(token),
            Self::Basic { user, password } => request.basic_auth(user, Some(password)),
        }
    }
}

/// A 401 and where it came from.
pub(super) struct Refusal<'a> {
    /// Whose blobs were asked for.
    pub(super) scope: &'a Reference,
    /// What was to be done there.
    pub(super) access: &'a Access,
    /// The address that was asked.
    pub(super) url: &'a Url,
    /// The 401's headers.
    pub(super) headers: &'a HeaderMap,
    /// What was shown to it.
    pub(super) shown: Option<Pass>,
}

/// The passes of one run.
pub(super) struct Tokens {
    /// Follows no redirect: a token request carries a password, and 307 would take its body along.
    http: Http,
    credentials: Credentials,
    limit: Duration,
    /// Registry, repository and access → its pass. The async lock makes the tasks that meet an expired token ask once.
    known: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Pass>>>>>,
}

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    Basic,
}

/// What a token service answers: the older and the newer name of the same.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Tokens {
    /// `http` must follow no redirects; `limit` is how long a token service may take.
    pub(super) fn new(http: Http, config: DockerConfig, limit: Duration) -> Self {
        Self { http, credentials: Credentials::new(config), limit, known: Mutex::default() }
    }

    /// The pass of this repository, when there is one.
    pub(super) async fn get(&self, scope: &Reference, access: &Access) -> Option<Pass> {
        self.slot(scope, access).lock().await.clone()
    }

    /// Whether requests to this registry are signed in.
    pub(super) async fn is_signed_in(&self, scope: &Reference, reporter: &dyn Reporter) -> bool {
        self.credentials.of(scope.registry(), reporter).await.is_some()
    }

    /// Gets a new pass in place of the refused one; `None` when there is none to get. `asked` is called before a
    /// request leaves.
    pub(super) async fn renew(
        &self,
        refusal: &Refusal<'_>,
        reporter: &dyn Reporter,
        asked: &(dyn Fn() + Sync),
    ) -> Result<Option<Pass>, FetchError> {
        let slot = self.slot(refusal.scope, refusal.access);
        let mut pass = slot.lock().await;
        if pass.is_some() && *pass != refusal.shown {
            return Ok(pass.clone());
        }
        let Some(challenge) = challenge(refusal.headers) else { return Ok(None) };
        let login = self.login(refusal, reporter).await;
        let new = match (challenge, login) {
            (Challenge::Basic, Some(Login::Password { user, password })) => Some(Pass::Basic { user, password }),
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { realm, service, scope }, login) => {
                let wish = Wish::new(refusal, &realm, service, scope)?;
                let given = match &login {
                    Some(login) => self.ask(&wish, Some(login), asked).await,
                    None => self.ask(&wish, None, asked).await,
                };
                let token = match (given, login) {
                    // What `docker login` wrote a year ago must not keep public images away.
                    (Err(FetchError::Token { reason, .. }), Some(_)) => {
                        let text = format!(
                            "{} does not take the credentials that Docker's config.json has for it ({reason}); asking it without",
                            refusal.scope.registry()
                        );
                        reporter.report(Event::Warning { text });
                        self.ask(&wish, None, asked).await?
                    }
                    (given, _) => given?,
                };
                Some(Pass::Bearer(token))
            }
        };
        // A password that was refused is refused again.
        let new = new.filter(|new| !matches!(new, Pass::Basic { .. }) || refusal.shown.as_ref() != Some(new));
        pass.clone_from(&new);
        Ok(new)
    }

    /// Credentials go to the registry that they are for, and over a line that nobody reads along.
    async fn login(&self, refusal: &Refusal<'_>, reporter: &dyn Reporter) -> Option<Login> {
        let login = self.credentials.of(refusal.scope.registry(), reporter).await?;
        if refusal.url.scheme() == "https" || is_loopback(refusal.url) {
            return Some(login);
        }
        let text = format!("{} is plain HTTP: its credentials stay here", refusal.scope.registry());
        reporter.report(Event::Warning { text });
        None
    }

    async fn ask(&self, wish: &Wish, login: Option<&Login>, asked: &(dyn Fn() + Sync)) -> Result<String, FetchError> {
        let request = match login {
            None => self.http.get()?.get(wish.realm.clone()).query(&wish.query()),
            Some(Login::Password { user, password }) => {
                self.http.get()?.get(wish.realm.clone()).query(&wish.query()).basic_auth(user, Some(password))
            }
            // docs.docker.com/reference/api/registry/auth, "OAuth2 token authentication".
            Some(Login::Identity(token)) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("scope", &wish.scopes.join(" "));
                form.extend_pairs(wish.service.iter().map(|service| ("service", service))).extend_pairs([
                    ("grant_type", "refresh_token"),
                    ("client_id", "ztlab"),
                    ("refresh_token", token.as_str()),
                ]);
                let request = self.http.get()?.post(wish.realm.clone()).body(form.finish());
                request.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            }
        };
        asked();
        let url = || shown(&wish.realm);
        let exchange = async {
            let response = request.send().await?;
            let (status, after) = (response.status(), retry_after(response.headers().get(RETRY_AFTER)));
            let answer = if status.is_success() { Some(response.json::<Answer>().await) } else { None };
            Ok::<_, reqwest::Error>((status, after, answer))
        };
        let (status, retry_after, answer) = match tokio::time::timeout(self.limit, exchange).await {
            Err(_) => return Err(FetchError::Stalled { url: url(), seconds: self.limit.as_secs(), received: 0 }),
            Ok(Err(source)) => return Err(FetchError::Connect { url: url(), source: source.without_url() }),
            Ok(Ok(got)) => got,
        };
        let token = match answer {
            Some(Ok(answer)) => answer.token.or(answer.access_token).filter(|token| !token.is_empty()),
            Some(Err(_)) => None,
            None if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                return Err(FetchError::Status { url: url(), status, retry_after });
            }
            None => return Err(wish.error(format!("{} answered {status}", url()))),
        };
        // The answer itself is not shown: it may hold half a token.
        token.ok_or_else(|| wish.error(format!("{} answered {status} without a token", url())))
    }

    fn slot(&self, scope: &Reference, access: &Access) -> Arc<tokio::sync::Mutex<Option<Pass>>> {
        let mut name = format!("{}/{}", scope.registry(), scope.repository());
        // Tokens for other blobs to mount are others: tasks that shared one place for them would take it from each other.
        if let Access::Push { from } = access {
            name = format!("{name} push {}", from.as_deref().unwrap_or_default());
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(name).or_default().clone()
    }
}

/// What to ask which token service for.
struct Wish {
    realm: Url,
    scopes: Vec<String>,
    service: Option<String>,
    registry: String,
    repository: String,
}

impl Wish {
    fn new(
        refusal: &Refusal<'_>,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<Self, FetchError> {
        let registry = refusal.scope.registry().to_owned();
        let repository = refusal.scope.repository().to_owned();
        let error =
            |reason: String| FetchError::Token { registry: registry.clone(), repository: repository.clone(), reason };
        let realm = Url::parse(realm).map_err(|_| error("its token service has no usable address".to_owned()))?;
        // A registry over https that sends us to plain HTTP for its tokens is not itself.
        let same_line =
            realm.scheme() == "http" && refusal.url.scheme() == "http" && realm.host() == refusal.url.host();
        if realm.scheme() != "https" && !is_loopback(&realm) && !same_line {
            return Err(error(format!("its token service {} is plain HTTP", shown(&realm))));
        }
        let scopes = match refusal.access {
            Access::Pull => {
                let asked = scope.filter(|scope| !scope.is_empty());
                vec![asked.unwrap_or_else(|| format!("repository:{repository}:pull"))]
            }
            // A registry that was asked whether it has a blob asks for the right to read; writing follows.
            Access::Push { from } => std::iter::once(format!("repository:{repository}:pull,push"))
                .chain(from.as_ref().map(|from| format!("repository:{from}:pull")))
                .collect(),
        };
        Ok(Self { realm, scopes, service, registry, repository })
    }

    fn query(&self) -> Vec<(&'static str, &str)> {
        let scopes = self.scopes.iter().map(|scope| ("scope", scope.as_str()));
        scopes.chain(self.service.iter().map(|service| ("service", service.as_str()))).collect()
    }

    fn error(&self, reason: String) -> FetchError {
        FetchError::Token { registry: self.registry.clone(), repository: self.repository.clone(), reason }
    }
}

/// What the registry asks for; a token rather than a password.
fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(offered) = http_auth::parse_challenges(value.to_str().unwrap_or_default()) else { continue };
        for challenge in offered {
            let parameter = |wanted: &str| {
                let found = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            } else if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = parameter("realm")
            {
                return Some(Challenge::Bearer { realm, service: parameter("service"), scope: parameter("scope") });
            }
        }
    }
    basic
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (WWW_AUTHENTICATE, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:calico/node:pull""#;
        let Some(Challenge::Bearer { realm, service, scope }) = challenge(&headers(&[hub])) else { panic!("none") };
        assert_eq!(realm, "https://auth.docker.io/token");
        assert_eq!(service.as_deref(), Some("registry.docker.io"));
        assert_eq!(scope.as_deref(), Some("repository:calico/node:pull"));
        assert_eq!(challenge(&headers(&[r#"Basic realm="a""#])), Some(Challenge::Basic));
        let both = challenge(&headers(&[r#"Basic realm="a""#, r#"Bearer realm="https://b""#]));
        assert!(matches!(both, Some(Challenge::Bearer { .. })), "a token rather than a password");
        for nothing in [&[][..], &["Negotiate"], &["Bearer"], &["Bearer realm=\"", ","]] {
            assert_eq!(challenge(&headers(nothing)), None);
        }
    }

    #[test]
    fn a_token_service_on_plain_http_is_for_plain_http_mirrors_only() {
        for (registry, realm, allowed) in [
            ("https://quay.io/v2/a/blobs/x", "https://auth.quay.io/token", true),
            ("https://quay.io/v2/a/blobs/x", "http://quay.io/token", false),
            ("https://quay.io/v2/a/blobs/x", "http://127.0.0.1:1/token", true),
            ("http://10.0.0.5:5000/v2/a/blobs/x", "http://10.0.0.5:5001/token", true),
            ("http://10.0.0.5:5000/v2/a/blobs/x", "http://10.0.0.6:5001/token", false),
            ("https://quay.io/v2/a/blobs/x", "nonsense", false),
        ] {
            let scope = Reference::with_tag("quay.io".to_owned(), "a".to_owned(), "latest".to_owned());
            let headers = HeaderMap::new();
            let url = registry.parse().unwrap();
            let refusal = Refusal { scope: &scope, access: &Access::Pull, url: &url, headers: &headers, shown: None };
            assert_eq!(Wish::new(&refusal, realm, None, None).is_ok(), allowed, "{registry} {realm}");
        }
    }

    #[test]
    fn a_pass_is_not_shown() {
        let pass = Pass::Basic { user: "teacher".to_owned(), password: "secret".to_owned() };
        assert_eq!(format!("{pass:?} {:?}", Pass::Bearer("secret".to_owned())), "Pass(…) Pass(…)");
    }
}

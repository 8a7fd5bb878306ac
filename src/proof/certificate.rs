//! The certificates that the sidecars show: whose they are, and until when.
//!
//! Two looks, which must agree. A pod without a sidecar shakes hands with the backend, and its curl prints what was shown:
//! under TLS 1.3 a server shows its certificate before it asks for the caller's. And each Envoy lists on its own loopback
//! port what it uses (`/certs`), which also tells about the frontend, whom only callers with a certificate may ask.

use std::time::Duration;

use futures::future::join_all;
use jiff::{SpanRelativeTo, Timestamp, Unit, civil::DateTime, tz::TimeZone};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::{
    Findings, ProofContext, chain, curl, denial,
    mesh::{app_pods, get},
    prober::{Prober, Probers},
    role::Role,
};
use crate::cluster::forward::{Forward, Target};

/// Envoy's own port, on loopback inside the pod only.
const ADMIN_PORT: u16 = 15000;
const SECONDS: u64 = 5;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Certificate {
    /// The URI in it.
    identity: String,
    /// Hexadecimal without leading zeros.
    serial: String,
    /// When it ends.
    expires: Timestamp,
}

/// The certificates in use, and the one that the backend really shows.
pub async fn certificates(context: &ProofContext<'_>, probers: &Probers) -> Findings {
    let [plain] = match denial::pods(probers, [Role::Plain]) {
        Ok(pods) => pods,
        Err(findings) => return findings,
    };
    let used = match used(context).await {
        Ok(used) => used,
        Err(what) => return Findings::failed(what, Vec::new(), ""),
    };
    match shown(context, plain).await {
        Ok(shown) => judge(&context.app_namespace, &shown, &used, Timestamp::now()),
        Err(what) => Findings::failed(what, Vec::new(), ""),
    }
}

/// Every sidecar of the app: pod, account, certificate.
async fn used(context: &ProofContext<'_>) -> Result<Vec<(String, String, Certificate)>, String> {
    let pods = Api::<Pod>::namespaced(context.client.clone(), &context.app_namespace);
    let pods = pods.list(&ListParams::default()).await.map_err(|error| chain(&error))?;
    let found = join_all(app_pods(&pods.items).map(|pod| async {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default();
        let target = Target::Pod { namespace: context.app_namespace.clone(), name: name.clone(), port: ADMIN_PORT };
        let forward = Forward::open(&context.client, target, 0).await.map_err(|error| chain(&error))?;
        let (status, body) = get(&format!("http://{}/certs", forward.address()), None).await?;
        let certificate = of_envoy(&body).ok_or_else(|| {
            format!("the sidecar of {name} answered HTTP {status} to /certs, without a certificate of its own")
        })?;
        Ok((name, account, certificate))
    }));
    found.await.into_iter().collect()
}

/// The certificate that an Envoy uses as its own: the first chain's end.
fn of_envoy(body: &str) -> Option<Certificate> {
    let json: Value = serde_json::from_str(body).ok()?;
    let ends = json["certificates"].as_array()?.iter().filter_map(|one| one["cert_chain"].get(0));
    let of = |end: &Value| {
        let names = end["subject_alt_names"].as_array()?;
        Some(Certificate {
            identity: names.iter().find_map(|name| name["uri"].as_str())?.to_owned(),
            serial: trimmed(end["serial_number"].as_str()?),
            expires: end["expiration_time"].as_str()?.parse().ok()?,
        })
    };
    ends.filter_map(of).next()
}

/// Shakes hands with the backend and reads what it showed. The call itself ends in a cut: the caller shows nothing.
async fn shown(context: &ProofContext<'_>, from: &Prober) -> Result<Certificate, String> {
    let url = format!("https://backend-service.{}:5000/", context.app_namespace);
    let seconds = SECONDS.to_string();
    let arguments =
        ["curl", "-q", "-s", "-k", "--noproxy", "*", "-m", &seconds, "-o", "/dev/null", "-w", "%{certs}", &url];
    let command = arguments.map(str::to_owned);
    let output = curl::run(&context.client, from, &command, Duration::from_secs(SECONDS + 20)).await;
    let output = output.map_err(|error| chain(&error))?;
    of_curl(&output.stdout)
        .ok_or_else(|| format!("the backend showed no certificate with an identity (curl exit {})", output.code))
}

/// The first certificate in curl's list: its lines are `Field:value`.
fn of_curl(written: &str) -> Option<Certificate> {
    let first = written.split_once("-----END CERTIFICATE-----").map_or(written, |(first, _)| first);
    let field = |name: &str| first.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let names = field("X509v3 Subject Alternative Name")?;
    Some(Certificate {
        identity: names.split(',').find_map(|name| name.trim().strip_prefix("URI:"))?.to_owned(),
        serial: trimmed(field("Serial Number")?),
        expires: openssl_time(field("Expire date")?)?,
    })
}

fn trimmed(serial: &str) -> String {
    serial.replace(':', "").to_lowercase().trim_start_matches('0').to_owned()
}

/// `Nov  9 17:00:00 2026 GMT`
fn openssl_time(text: &str) -> Option<Timestamp> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let time = DateTime::strptime("%b %d %H:%M:%S %Y GMT", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn judge(app_namespace: &str, shown: &Certificate, used: &[(String, String, Certificate)], now: Timestamp) -> Findings {
    let spiffe = |account: &str| format!("spiffe://cluster.local/ns/{app_namespace}/sa/{account}");
    let line = |who: &str, one: &Certificate| {
        format!("{who} {} until {} ({})", one.identity, one.expires, left(now, one.expires))
    };
    let mut evidence = vec![line("in a handshake the backend showed", shown)];
    evidence.extend(used.iter().map(|(pod, _, certificate)| line(&format!("{pod} uses"), certificate)));
    let same = used.iter().find(|(_, _, certificate)| certificate.serial == shown.serial);
    let control = same.map_or(String::new(), |(pod, ..)| {
        format!("the serial number in the handshake is the one that {pod} says it uses")
    });
    let mine = std::iter::once(("the backend", "backend", shown));
    let all = mine.chain(used.iter().map(|(pod, account, certificate)| (pod.as_str(), account.as_str(), certificate)));
    for (who, account, certificate) in all {
        if certificate.identity != spiffe(account) {
            let what = format!("{who} shows {}: expected {}", certificate.identity, spiffe(account));
            return Findings::failed(what, evidence, control);
        }
        if certificate.expires <= now {
            let what = format!("the certificate of {who} ended at {}: is the node's clock right?", certificate.expires);
            return Findings::failed(what, evidence, control);
        }
    }
    if same.is_none() {
        let what = format!("what the backend showed (serial number {}) no sidecar says it uses", shown.serial);
        return Findings::failed(what, evidence, control);
    }
    Findings::passed(evidence, control)
}

/// `23 h 12 min left`
fn left(now: Timestamp, end: Timestamp) -> String {
    let minutes = (end - now).total((Unit::Minute, SpanRelativeTo::days_are_24_hours())).unwrap_or(0.0) as i64;
    if minutes < 0 { "ended".to_owned() } else { format!("{} h {} min left", minutes / 60, minutes % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Outcome;

    const CURL: &str = "Subject:O = cluster.local\nIssuer:O = cluster.local\nVersion:2\nSerial Number:00a1b2\n\
        Signature Algorithm:ecdsa-with-SHA256\nX509v3 Subject Alternative Name:URI:spiffe://cluster.local/ns/webapp/sa/backend\n\
        Start date:Nov 28 17:00:00 2026 GMT\nExpire date:Nov  9 17:05:00 2026 GMT\nCert:-----BEGIN CERTIFICATE-----\nMII=\n\
        -----END CERTIFICATE-----\nSubject:O = root\nSerial Number:ff\n";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn both_spellings_of_a_certificate_are_read() {
        let shown = of_curl(CURL).unwrap();
        let envoy = r#"{"certificates":[{"ca_cert":[{"serial_number":"ff"}],"cert_chain":[{"serial_number":"a1b2",
            "subject_alt_names":[{"uri":"spiffe://cluster.local/ns/webapp/sa/backend"}],
            "expiration_time":"2026-11-09T17:05:00Z"}]}]}"#;
        assert_eq!(of_envoy(envoy).unwrap(), shown);
        assert_eq!(shown.expires, time("2026-11-09T17:05:00Z"));
        assert_eq!(of_curl("curl printed nothing"), None);
        assert_eq!(of_envoy(r#"{"certificates":[]}"#), None);
    }

    #[test]
    fn a_foreign_an_ended_and_an_unused_certificate_fail() {
        let of = |account: &str, serial: &str, expires: &str| Certificate {
            identity: format!("spiffe://cluster.local/ns/webapp/sa/{account}"),
            serial: serial.to_owned(),
            expires: time(expires),
        };
        let (now, soon, past) = (time("2026-01-01T00:00:00Z"), "2026-01-02T01:02:00Z", "2025-12-31T00:00:00Z");
        let used = |one: Certificate| vec![("backend-1".to_owned(), "backend".to_owned(), one)];
        let whole = judge("webapp", &of("backend", "1", soon), &used(of("backend", "1", soon)), now);
        assert_eq!(whole.outcome, Outcome::Passed);
        assert!(whole.evidence[0].contains("25 h 2 min left"), "{:?}", whole.evidence);
        for (shown, used_one, says) in [
            (of("frontend", "1", soon), of("backend", "1", soon), "expected spiffe"),
            (of("backend", "1", past), of("backend", "1", past), "ended at"),
            (of("backend", "2", soon), of("backend", "1", soon), "no sidecar says"),
            (of("backend", "1", soon), of("loadtest", "1", soon), "backend-1 shows"),
        ] {
            let Outcome::Failed { what } = judge("webapp", &shown, &used(used_one), now).outcome else {
                panic!("passed")
            };
            assert!(what.contains(says), "{what}");
        }
    }
}

//! Does the lock keep to the policy? Every rule says what it looked at, so that "nothing found" can be judged.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Finding,
    address::{Address, addresses},
    age::{Dates, ages},
    policy::{Algorithm, Policy, PullPolicy, allows},
};
use crate::{base::reference::tag_of, lockfile::Lock};

/// A container of the lab's YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// File, object and container: `manifests/06-loadtest.yaml: Deployment webapp/loadtest, container loadtest`.
    pub place: String,
    /// The image as it is written.
    pub image: String,
    /// The pull policy as Kubernetes takes it: of `latest` or no tag it is `Always` by default.
    pub pull_policy: String,
    /// Whether `ztlab install` sets the pull policy itself, whatever the file says.
    pub rewritten: bool,
}

/// What is judged.
#[derive(Debug, Clone)]
pub struct Subject<'lab> {
    /// The lock.
    pub lock: &'lab Lock,
    /// What the team allows.
    pub policy: &'lab Policy,
    /// Every container of every YAML that could be read.
    pub containers: &'lab [Container],
    /// How many YAML files that were.
    pub files: usize,
    /// Locked YAML that is not in the store, so that nobody looked at it.
    pub unseen: &'lab [String],
    /// Dates by entry.
    pub dates: &'lab BTreeMap<String, Dates>,
    /// The present, in seconds since 1970.
    pub now: i64,
}

/// What one rule looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The rule.
    pub rule: &'static str,
    /// How much, and of what.
    pub looked_at: String,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the lock's order, rule by rule.
    pub findings: Vec<Finding>,
    /// Every rule with what it looked at.
    pub checked: Vec<Checked>,
    /// Worth knowing, and against no rule.
    pub notes: Vec<String>,
    /// Entries whose age nobody can tell offline.
    pub unknown_age: Vec<String>,
}

/// Judges a lock.
pub fn lint(subject: &Subject<'_>) -> Report {
    let mut report = Report::default();
    let addresses = addresses(subject.lock);
    hosts(subject, &addresses, &mut report);
    schemes(subject, &addresses, &mut report);
    digests(subject, &mut report);
    tags(subject, &mut report);
    pull_policies(subject, &mut report);
    ages(subject, &mut report);
    report
}

/// `image` of `image.calico-node`.
pub(super) fn kind(entry: &str) -> &str {
    entry.split('.').next().unwrap_or_default()
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "nobody".to_owned() } else { words.join(", ") }
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn hosts(subject: &Subject<'_>, addresses: &[Address], report: &mut Report) {
    for address in addresses {
        let kind = kind(&address.entry);
        let (Some((_, host)), Some(allowed)) = (&address.parts, subject.policy.hosts(kind)) else { continue };
        if !allows(allowed, host) {
            report.findings.push(Finding {
                entry: address.entry.clone(),
                rule: "host",
                found: format!("{host} ({})", address.text),
                allowed: listed(allowed),
                place: None,
                fix: format!(
                    "take it from an allowed host; if {host} is to be trusted, add it to `{kind}` under [host] in lock/policy.toml and say why in the same pull request"
                ),
            });
        }
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    addresses.iter().for_each(|address| *kinds.entry(kind(&address.entry)).or_default() += 1);
    let by_kind: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let text = if by_kind.is_empty() { String::new() } else { format!(" ({})", by_kind.join(", ")) };
    report.checked.push(Checked {
        rule: "host",
        looked_at: format!("{}{text}", counted(addresses.len(), "address", "addresses")),
    });
    let wheels = subject.lock.wheel.iter();
    let without: Vec<String> = wheels
        .filter(|(_, entry)| !entry.platforms.values().any(|download| download.url.is_some()))
        .map(|(name, _)| format!("wheel.{name}"))
        .collect();
    if !without.is_empty() {
        report.notes.push(format!(
            "no address yet, so no host either: {} (`ztlab lock` or `ztlab fetch` completes them)",
            without.join(", ")
        ));
    }
}

fn schemes(subject: &Subject<'_>, addresses: &[Address], report: &mut Report) {
    if !subject.policy.https_only {
        report.checked.push(Checked { rule: "https", looked_at: "off in lock/policy.toml".to_owned() });
        return;
    }
    for address in addresses {
        let found = match &address.parts {
            Some((scheme, _)) if scheme == "https" => continue,
            Some((scheme, _)) => format!("{scheme} ({})", address.text),
            None => format!("no address with a host ({})", address.text),
        };
        report.findings.push(Finding {
            entry: address.entry.clone(),
            rule: "https",
            found,
            allowed: "https".to_owned(),
            place: None,
            fix: "write https:// in lock/ztlab.toml, then `ztlab lock`; a mirror in the house is named with `--mirror`, not in the lock".to_owned(),
        });
    }
    report.checked.push(Checked { rule: "https", looked_at: counted(addresses.len(), "address", "addresses") });
}

/// ztlab's locks hold SHA-256 only ([`crate::base::Digest`]), so the rule speaks when a team forbids that.
fn digests(subject: &Subject<'_>, report: &mut Report) {
    let mut count = 0;
    let allowed = subject.policy.digest.contains(&Algorithm::Sha256);
    for artifact in subject.lock.artifacts() {
        count += artifact.blobs.len();
        if let (false, Some(first)) = (allowed, artifact.blobs.first()) {
            report.findings.push(Finding {
                entry: artifact.name,
                rule: "digest",
                found: first.descriptor.digest.to_string(),
                allowed: subject
                    .policy
                    .digest
                    .iter()
                    .map(|one| format!("{one:?}").to_lowercase())
                    .collect::<Vec<_>>()
                    .join(", "),
                place: None,
                fix: "this ztlab pins by SHA-256 only: allow \"sha256\" under `digest` in lock/policy.toml".to_owned(),
            });
        }
    }
    let pending = subject.lock.pending().len();
    let gaps = match pending {
        0 => String::new(),
        _ => format!("; {} some yet: see `ztlab lock --check`", counted(pending, "entry lacks", "entries lack")),
    };
    report
        .checked
        .push(Checked { rule: "digest", looked_at: format!("{}{gaps}", counted(count, "digest", "digests")) });
}

fn tags(subject: &Subject<'_>, report: &mut Report) {
    let images = subject.lock.image.iter().map(|(name, entry)| (format!("image.{name}"), entry.want.clone()));
    let apps = subject.lock.app.iter().map(|(name, entry)| (format!("app.{name}"), entry.request.reference.clone()));
    let containers = subject.containers.iter().map(|container| (container.place.clone(), container.image.clone()));
    let references: Vec<(String, String)> = images.chain(apps).chain(containers).collect();
    let forbidden = &subject.policy.forbid_tag;
    for (entry, reference) in &references {
        let found = match (tag_of(reference), reference.contains('@')) {
            (Some(tag), _) if forbidden.iter().any(|one| one == tag) => format!("the tag {tag} ({reference})"),
            // Without a tag a runtime takes `latest`; a digest says which bytes are meant.
            (None, false) if forbidden.iter().any(|one| one == "latest") => format!("no tag ({reference})"),
            _ => continue,
        };
        let place = if entry.contains(": ") { "the manifest" } else { "lock/ztlab.toml" };
        report.findings.push(Finding {
            entry: entry.clone(),
            rule: "tag",
            found,
            allowed: format!("a fixed tag, other than {}", forbidden.join(", ")),
            place: None,
            fix: format!("write the version's own tag in {place}"),
        });
    }
    report.checked.push(Checked { rule: "tag", looked_at: counted(references.len(), "reference", "references") });
}

fn pull_policies(subject: &Subject<'_>, report: &mut Report) {
    let forbidden: Vec<String> = subject.policy.forbid_pull_policy.iter().map(|one| format!("{one:?}")).collect();
    let allowed: Vec<String> = [PullPolicy::IfNotPresent, PullPolicy::Never, PullPolicy::Always]
        .iter()
        .filter(|one| !subject.policy.forbid_pull_policy.contains(one))
        .map(|one| format!("{one:?}"))
        .collect();
    for container in subject.containers.iter().filter(|container| forbidden.contains(&container.pull_policy)) {
        if container.rewritten {
            report.notes.push(format!(
                "{}: upstream says imagePullPolicy {}; `ztlab install` applies it as IfNotPresent",
                container.place, container.pull_policy
            ));
            continue;
        }
        report.findings.push(Finding {
            entry: container.place.clone(),
            rule: "pull-policy",
            found: format!("{} ({})", container.pull_policy, container.image),
            allowed: listed(&allowed),
            place: None,
            fix: "write `imagePullPolicy: IfNotPresent` beside the image, with a fixed tag".to_owned(),
        });
    }
    let unseen = match subject.unseen {
        [] => String::new(),
        unseen => format!("; not looked at, because not in the store: {} (`ztlab fetch`)", unseen.join(", ")),
    };
    report.checked.push(Checked {
        rule: "pull-policy",
        looked_at: format!(
            "{} of {}{unseen}",
            counted(subject.containers.len(), "container", "containers"),
            counted(subject.files, "YAML file", "YAML files")
        ),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockfile;

    const NOW: i64 = 1_700_000_000;
    const DAY: i64 = 86_400;

    fn lock(entries: &str) -> Lock {
        const HEAD: &str = "# Written by `ztlab lock` from ztlab.toml. Edit that file, not this one.\nschema = 1\nname = \"x\"\nhost = [\"linux-amd64\"]\nnode = [\"linux-amd64\"]\n";
        let gap = if entries.is_empty() { "" } else { "\n" };
        lockfile::parse(&format!("{HEAD}{gap}{entries}")).unwrap()
    }

    const FILE: &str = "[manifest.operator]\nwant = \"https://upstream.example/operator.yaml\"\ndigest = \"sha256:6dcd4ce23d88e2ee9568ba546c007c63d9131c1b1ca8a4e0b8d3a5a0c0b4ae0f\"\nsize = 12\n";
    const IMAGE: &str = "[image.web]\nwant = \"quay.io/a/web:1\"\npending = [\"linux-amd64 manifest\"]\n";

    fn run(entries: &str, policy: &str, containers: &[Container], dates: &[(&str, Dates)]) -> Report {
        let policy = Policy::parse(&format!("schema = 1\n{policy}")).unwrap();
        let dates = dates.iter().map(|(name, dates)| ((*name).to_owned(), *dates)).collect();
        lint(&Subject {
            lock: &lock(entries),
            policy: &policy,
            containers,
            files: 1,
            unseen: &[],
            dates: &dates,
            now: NOW,
        })
    }

    fn rules(report: &Report) -> Vec<(&'static str, &str)> {
        report.findings.iter().map(|finding| (finding.rule, finding.entry.as_str())).collect()
    }

    fn container(image: &str, pull_policy: &str) -> Container {
        Container {
            place: "a.yaml: Pod a, container c".to_owned(),
            image: image.to_owned(),
            pull_policy: pull_policy.to_owned(),
            rewritten: false,
        }
    }

    #[test]
    fn a_lock_within_the_policy_is_told_what_was_looked_at() {
        let report = run(FILE, "[host]\nmanifest = [\"upstream.example\"]\n", &[container("a:1", "IfNotPresent")], &[]);
        assert_eq!(report.findings, []);
        let checked: Vec<_> = report.checked.iter().map(|one| (one.rule, one.looked_at.as_str())).collect();
        assert_eq!(
            checked,
            [
                ("host", "1 address (1 manifest)"),
                ("https", "1 address"),
                ("digest", "1 digest"),
                ("tag", "1 reference"),
                ("pull-policy", "1 container of 1 YAML file"),
                ("age", "no min-age in lock/policy.toml"),
            ]
        );
    }

    #[test]
    fn a_host_is_allowed_for_its_kind_only() {
        let image_host = "[host]\nimage = [\"upstream.example\"]\n";
        let report = run(FILE, image_host, &[], &[]);
        assert_eq!(rules(&report), [("host", "manifest.operator")]);
        assert_eq!(report.findings[0].allowed, "nobody");
        let report = run(IMAGE, "[host]\nimage = [\"docker.io\"]\n", &[], &[]);
        assert_eq!(report.findings[0].found, "quay.io (quay.io/a/web:1)");
    }

    #[test]
    fn a_checksum_file_is_an_address_too() {
        let entries = FILE
            .replace("digest = ", "checksum = \"https://sums.example/SHA256SUMS\"\ndigest = ")
            .replace("size = 12\n", "size = 12\nchecked = \"https://sums.example/SHA256SUMS\"\n");
        let report = run(&entries, "[host]\nmanifest = [\"upstream.example\"]\n", &[], &[]);
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].found, "sums.example (https://sums.example/SHA256SUMS)");
    }

    #[test]
    fn a_port_is_part_of_the_host() {
        let entries = FILE.replace("upstream.example", "upstream.example:8443");
        assert_eq!(rules(&run(&entries, "[host]\nmanifest = [\"upstream.example\"]\n", &[], &[])).len(), 1);
        assert_eq!(rules(&run(&entries, "[host]\nmanifest = [\"upstream.example:8443\"]\n", &[], &[])).len(), 0);
    }

    #[test]
    fn plain_http_is_found_in_files_and_in_registries_of_this_machine() {
        let hosts = "[host]\nmanifest = [\"upstream.example\"]\nimage = [\"127.0.0.1:5000\"]\n";
        let entries = format!("{}\n{}", FILE.replace("https", "http"), IMAGE.replace("quay.io", "127.0.0.1:5000"));
        assert_eq!(rules(&run(&entries, hosts, &[], &[])), [("https", "manifest.operator"), ("https", "image.web")]);
        assert_eq!(rules(&run(&entries, &format!("https-only = false\n{hosts}"), &[], &[])), []);
    }

    #[test]
    fn a_forbidden_algorithm_is_found() {
        let report = run(FILE, "digest = [\"sha512\"]\n[host]\nmanifest = [\"upstream.example\"]\n", &[], &[]);
        assert_eq!(rules(&report), [("digest", "manifest.operator")]);
        assert_eq!(report.findings[0].allowed, "sha512");
    }

    #[test]
    fn latest_and_a_missing_tag_are_found_everywhere() {
        let hosts = "[host]\nimage = [\"quay.io\"]\n";
        for (image, found) in [
            ("quay.io/a/web:latest", Some("the tag latest (quay.io/a/web:latest)")),
            ("quay.io/a/web", Some("no tag (quay.io/a/web)")),
            ("quay.io/a/web:latest-1", None),
        ] {
            let report = run(&IMAGE.replace("quay.io/a/web:1", image), hosts, &[], &[]);
            assert_eq!(report.findings.first().map(|one| one.found.as_str()), found);
        }
        let digest = format!("web@sha256:{}", "0".repeat(64));
        assert_eq!(run("", "", &[container(&digest, "IfNotPresent")], &[]).findings, []);
        assert_eq!(
            rules(&run("", "", &[container("web", "IfNotPresent")], &[])),
            [("tag", "a.yaml: Pod a, container c")]
        );
    }

    #[test]
    fn always_is_found_unless_the_install_rewrites_it() {
        let report = run("", "", &[container("web:1", "Always")], &[]);
        assert_eq!(report.findings[0].allowed, "IfNotPresent, Never");
        let rewritten = Container { rewritten: true, ..container("web:1", "Always") };
        let report = run("", "", &[rewritten], &[]);
        assert_eq!((report.findings.len(), report.notes.len()), (0, 1));
    }

    #[test]
    fn what_is_too_young_or_of_unknown_age_is_found() {
        let policy = "min-age = \"7d\"\n[host]\nmanifest = [\"upstream.example\"]\n";
        let young = Dates { pinned: None, built: Some(NOW - 3 * DAY) };
        assert_eq!(rules(&run(FILE, policy, &[], &[("manifest.operator", young)])), [("age", "manifest.operator")]);
        let unknown = run(FILE, policy, &[], &[]);
        assert_eq!(
            (rules(&unknown), unknown.unknown_age.as_slice()),
            (vec![], ["manifest.operator".to_owned()].as_slice())
        );
        let refused = run(FILE, &format!("unknown-age = \"refuse\"\n{policy}"), &[], &[]);
        assert_eq!(rules(&refused), [("age", "manifest.operator")]);
        let app = run("", policy, &[], &[]);
        assert_eq!(app.checked.last().unwrap().looked_at, "0 of 0 entries are at least 7d old, 0 unknown");
    }
}

//! Is everything that will be asked for locked, and is everything that is locked asked for? Both ways.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Finding;
use crate::{
    base::normalize_reference,
    demand::{Ask, Demand, Shows, Wanted},
    lockfile::{Lock, Profile},
};

/// A thing that is asked for, with the entries that answer and everybody who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// What is asked for, for people: an image's reference, or a program and its version.
    pub wanted: String,
    /// The lock's entries that answer; none for what is not locked.
    pub entries: Vec<String>,
    /// Who asks.
    pub asks: Vec<Ask>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What is asked for and not locked, then what is locked and asked for by nobody, then who is unknown.
    pub findings: Vec<Finding>,
    /// Everything that is asked for.
    pub answered: Vec<Answered>,
    /// Locked entries that are used by nothing that was looked at, and may be used by what was not.
    pub undecided: Vec<String>,
    /// YAML of the lock that nobody looked at, because it is not in the store.
    pub unseen: Vec<String>,
    /// YAML that is not in the store, and whose images are known by its digest.
    pub by_digest: Vec<String>,
    /// How many requests each asker makes.
    pub askers: BTreeMap<String, usize>,
}

/// Every request of a lab: what others will ask for, and what ztlab itself needs to build, install and prove.
pub fn every_ask(lock: &Lock, demand: &Demand) -> Vec<Ask> {
    let mut asks = demand.asks.clone();
    asks.extend(proof(lock));
    asks.sort();
    asks.dedup();
    asks
}

/// `ztlab verify` starts pods of its own to call from.
fn proof(lock: &Lock) -> Option<Ask> {
    lock.version.contains_key("istio").then(|| Ask {
        wanted: Wanted::Repository(crate::demand::PROBER.to_owned()),
        who: "ztlab verify".to_owned(),
        place: "the pods that the probes call from".to_owned(),
        source: None,
        step: "verify",
        shows: Shows::Nothing,
    })
}

/// The names of a lock by what they answer.
struct Answers<'lock> {
    lock: &'lock Lock,
    images: BTreeMap<String, Vec<String>>,
}

impl<'lock> Answers<'lock> {
    fn new(lock: &'lock Lock) -> Self {
        let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let pulled = lock.image.iter().map(|(name, entry)| (format!("image.{name}"), entry.want.as_str()));
        let built = lock.app.iter().map(|(name, app)| (format!("app.{name}"), app.request.reference.as_str()));
        for (name, reference) in pulled.chain(built) {
            images.entry(normalize_reference(reference)).or_default().push(name);
        }
        Self { lock, images }
    }

    fn of(&self, wanted: &Wanted) -> Vec<String> {
        match wanted {
            Wanted::Image(reference) => self.images.get(reference).cloned().unwrap_or_default(),
            Wanted::Repository(repository) => {
                let of_it = |reference: &str| reference.rsplit_once(':').is_some_and(|(name, _)| name == repository);
                self.images.iter().filter(|(image, _)| of_it(image)).flat_map(|(_, names)| names.clone()).collect()
            }
            Wanted::Program { name, version } => {
                let entry = self.lock.tool.get(name).filter(|entry| names_version(&entry.want, version));
                entry.map(|_| format!("tool.{name}")).into_iter().collect()
            }
        }
    }
}

/// Whether an address is of this version: `…/v1.28.3/…` and `…/1.28.3/…` are of 1.28.3, `…/1.28.30/…` is not.
fn names_version(address: &str, version: &str) -> bool {
    let digit = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_digit());
    // A dot ends a version (`1.28.3.tar.gz`) unless another number follows.
    let goes_on = |letters: &mut dyn Iterator<Item = char>| {
        let next = letters.next();
        digit(next) || (next == Some('.') && digit(letters.next()))
    };
    address.match_indices(version).any(|(start, found)| {
        !goes_on(&mut address[..start].chars().rev()) && !goes_on(&mut address[start + found.len()..].chars())
    })
}

/// What is asked for, for people.
pub fn wanted_text(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Image(reference) => reference.clone(),
        Wanted::Repository(repository) => format!("{repository}, any tag"),
        Wanted::Program { name, version } => format!("{name} {version}"),
    }
}

/// Holds a lock against everything that will be asked for.
pub fn audit(lock: &Lock, demand: &Demand) -> Report {
    let answers = Answers::new(lock);
    let mut by_wanted: BTreeMap<Wanted, Vec<Ask>> = BTreeMap::new();
    for ask in every_ask(lock, demand) {
        by_wanted.entry(ask.wanted.clone()).or_default().push(ask);
    }
    let mut report = Report { unseen: demand.unseen.clone(), by_digest: demand.by_digest.clone(), ..Report::default() };
    for (wanted, asks) in by_wanted {
        for ask in &asks {
            *report.askers.entry(ask.who.clone()).or_default() += 1;
        }
        let entries = answers.of(&wanted);
        if entries.is_empty() {
            report.findings.push(unlocked(&answers, &wanted, &asks));
        }
        report.answered.push(Answered { wanted: wanted_text(&wanted), entries, asks });
    }
    let used = used(lock, &report.answered);
    let unasked = lock.artifacts().into_iter().map(|artifact| artifact.name).filter(|name| !used.contains(name));
    for entry in unasked {
        // Somebody whom nobody has read may ask for it.
        if demand.unknown.is_empty() && demand.unseen.is_empty() {
            report.findings.push(Finding {
                found: "locked, and nobody asks for it".to_owned(),
                allowed: "what something asks for".to_owned(),
                place: None,
                fix: format!("remove [{entry}] from lock/ztlab.toml, then `ztlab lock`; or add what was to use it"),
                rule: "unasked",
                entry,
            });
        } else {
            report.undecided.push(entry);
        }
    }
    report.findings.extend(demand.unknown.iter().map(|unknown| Finding {
        entry: unknown.who.clone(),
        rule: "unknown",
        found: "nobody has read what it asks for".to_owned(),
        allowed: unknown.known.clone(),
        place: None,
        fix: "take a version that is known, or add a row with its source to src/demand; `ztlab install --record FILE` shows what a cluster really asked for".to_owned(),
    }));
    report
}

fn unlocked(answers: &Answers<'_>, wanted: &Wanted, asks: &[Ask]) -> Finding {
    let first = asks.first();
    let more = if asks.len() > 1 { format!(", and {} more", asks.len() - 1) } else { String::new() };
    let found = format!("asked for by {}{more}", first.map_or("somebody", |ask| ask.who.as_str()));
    let place = first.map(|ask| match &ask.source {
        Some(source) => format!("{} ({source})", ask.place),
        None => ask.place.clone(),
    });
    let (allowed, fix) = match wanted {
        Wanted::Program { name, version } => {
            let locked = answers.lock.tool.get(name).map_or("nothing", |entry| entry.want.as_str());
            let address = format!("locked is {locked}");
            (
                address,
                format!("give [tool.{name}] in lock/ztlab.toml the address of version {version}, then `ztlab lock`"),
            )
        }
        Wanted::Image(_) | Wanted::Repository(_) => {
            let text = wanted_text(wanted);
            let repository = text.split([':', ',', '@']).next().unwrap_or_default().to_owned();
            let same =
                answers.images.keys().filter(|image| image.split([':', '@']).next() == Some(repository.as_str()));
            let same: Vec<&str> = same.map(String::as_str).collect();
            let locked = if same.is_empty() {
                "locked is no tag of it".to_owned()
            } else {
                format!("locked is {}", same.join(", "))
            };
            let name = repository.rsplit('/').next().unwrap_or_default();
            let fix = match (same.is_empty(), wanted) {
                (_, Wanted::Repository(_)) => {
                    format!("add [image.{name}] with ref = \"{repository}:TAG\" to lock/ztlab.toml, then `ztlab lock`")
                }
                (true, _) => format!("add [image.{name}] with ref = \"{text}\" to lock/ztlab.toml, then `ztlab lock`"),
                (false, _) => {
                    "make both name the same tag: the version in lock/ztlab.toml, or what asks; then `ztlab lock`"
                        .to_owned()
                }
            };
            (locked, fix)
        }
    };
    Finding { entry: wanted_text(wanted), rule: "unlocked", found, allowed, place, fix }
}

/// The findings of a profile that the whole lab does not have as well: an image that something asks for and the profile
/// leaves out, or one that nothing of the profile asks for any more.
pub fn of_profile(profile: &Profile, found: Report, whole: &Report) -> Vec<Finding> {
    let table = format!("[profile.{}]", profile.name);
    let known = |finding: &Finding| {
        whole.findings.iter().any(|other| (other.rule, &other.entry) == (finding.rule, &finding.entry))
    };
    let told = found.findings.into_iter().filter(|finding| !known(finding)).map(|finding| {
        let (allowed, fix) = match finding.rule {
            "unlocked" => (
                format!("what {table} does not leave out"),
                format!(
                    "take the image out of `without` of {table} in lock/ztlab.toml, or leave out what asks for it too"
                ),
            ),
            "unasked" => (
                format!("what the profile {} asks for", profile.name),
                format!("add \"{}\" to `without` of {table} in lock/ztlab.toml, then `ztlab lock`", finding.entry),
            ),
            _ => (finding.allowed.clone(), finding.fix.clone()),
        };
        let found = format!("in the profile {}: {}", profile.name, finding.found);
        Finding { found, allowed, fix, ..finding }
    });
    told.collect()
}

/// Entries that something uses: those that answer a request, what they are built of, and what the steps themselves
/// apply or run.
fn used(lock: &Lock, answered: &[Answered]) -> BTreeSet<String> {
    let mut used: BTreeSet<String> = answered.iter().flat_map(|one| one.entries.iter().cloned()).collect();
    used.extend(
        lock.artifacts().into_iter().map(|artifact| artifact.name).filter(|name| !own_uses(lock, name).is_empty()),
    );
    used
}

/// What ztlab itself uses an entry for: step or verb, and how. Not images that others ask for.
pub fn own_uses(lock: &Lock, entry: &str) -> Vec<(&'static str, String)> {
    let Some((kind, name)) = entry.split_once('.') else { return Vec::new() };
    match kind {
        "manifest" => vec![("calico", "applied as it is".to_owned())],
        "file" => {
            let members = lock.file.get(name).into_iter().flat_map(|file| &file.member);
            let of_member = members.filter_map(|(member, pin)| {
                if member == "istioctl" {
                    Some(("istio", format!("its member {} installs the mesh", pin.path)))
                } else if pin.path.ends_with(".yaml") {
                    Some(("addons", format!("its member {} is applied, with pull policy IfNotPresent", pin.path)))
                } else {
                    None
                }
            });
            of_member.collect()
        }
        "tool" => match name {
            "istioctl" => vec![("istio", "installs the mesh".to_owned())],
            "kubectl" => vec![("-", "for people: the kubectl that fits the cluster".to_owned())],
            _ => Vec::new(),
        },
        "image" => lock
            .app
            .iter()
            .filter(|(_, app)| app.request.base == entry)
            .map(|(app, _)| ("fetch", format!("app.{app} is built on it")))
            .collect(),
        "wheel" => lock
            .app
            .iter()
            .filter(|(_, app)| app.request.wheels.iter().any(|wheel| wheel == name))
            .map(|(app, _)| ("fetch", format!("app.{app} is built with it")))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{demand::Unknown, lockfile};

    fn shipped() -> Lock {
        lockfile::parse(include_str!("../../lock/ztlab.lock")).unwrap()
    }

    fn ask(wanted: Wanted, shows: Shows) -> Ask {
        Ask {
            wanted,
            who: "a.yaml".to_owned(),
            place: "Pod a, container c".to_owned(),
            source: None,
            step: "app",
            shows,
        }
    }

    fn image(reference: &str) -> Ask {
        ask(Wanted::Image(reference.to_owned()), Shows::Pod)
    }

    fn demand(asks: Vec<Ask>) -> Demand {
        Demand { asks, ..Demand::default() }
    }

    fn small(entries: &str) -> Lock {
        const HEAD: &str = "# Written by `ztlab lock` from ztlab.toml. Edit that file, not this one.\nschema = 1\nname = \"x\"\nhost = [\"linux-amd64\"]\nnode = [\"linux-amd64\"]\n\n";
        lockfile::parse(&format!("{HEAD}{entries}")).unwrap()
    }

    const WEB: &str = "[image.web]\nwant = \"quay.io/a/web:1\"\npending = [\"linux-amd64 manifest\"]\n";

    fn rules(report: &Report) -> Vec<(&'static str, &str)> {
        report.findings.iter().map(|finding| (finding.rule, finding.entry.as_str())).collect()
    }

    #[test]
    fn both_ways() {
        let clean = audit(&small(WEB), &demand(vec![image("quay.io/a/web:1")]));
        assert_eq!(rules(&clean), []);
        assert_eq!(clean.answered[0].entries, ["image.web"]);
        let both = audit(&small(WEB), &demand(vec![image("quay.io/a/web:2")]));
        assert_eq!(rules(&both), [("unlocked", "quay.io/a/web:2"), ("unasked", "image.web")]);
        assert_eq!(both.findings[0].allowed, "locked is quay.io/a/web:1");
        assert_eq!(both.findings[0].found, "asked for by a.yaml");
    }

    #[test]
    fn who_is_unknown_or_unseen_may_be_the_one_that_asks() {
        let unknown = Unknown { who: "Istio 9".to_owned(), known: "1.20.0".to_owned() };
        let report = audit(&small(WEB), &Demand { unknown: vec![unknown], ..Demand::default() });
        assert_eq!((rules(&report), &report.undecided), (vec![("unknown", "Istio 9")], &vec!["image.web".to_owned()]));
        let report = audit(&small(WEB), &Demand { unseen: vec!["manifest.a".to_owned()], ..Demand::default() });
        assert_eq!((rules(&report), report.undecided.len(), report.unseen.len()), (vec![], 1, 1));
    }

    #[test]
    fn a_program_of_another_version_does_not_answer() {
        let lock = shipped();
        let program = |version: &str| {
            let wanted = Wanted::Program { name: "kubelet".to_owned(), version: version.to_owned() };
            let report = audit(&lock, &demand(vec![ask(wanted, Shows::Nothing)]));
            report.findings.iter().any(|finding| finding.rule == "unlocked")
        };
        assert_eq!([program("1.28.3"), program("1.28.30"), program("1.28"), program("8.3")], [false, true, true, true]);
    }

    #[test]
    fn an_address_names_its_version_whole() {
        for (address, named) in [
            ("https://x/v1.28.3/kubelet", true),
            ("https://x/kubelet-1.28.3.tar.gz", true),
            ("https://x/v1.28.31/kubelet", false),
            ("https://x/v11.28.3/kubelet", false),
            ("https://x/v0.1.28.3/kubelet", false),
        ] {
            assert_eq!(names_version(address, "1.28.3"), named, "{address}");
        }
    }

    #[test]
    fn what_apps_are_built_of_and_steps_apply_is_used() {
        let lock = shipped();
        let unused: Vec<String> = audit(&lock, &Demand::default()).findings.into_iter().map(|one| one.entry).collect();
        for used in
            ["image.python", "image.nginx", "wheel.flask", "file.istio", "manifest.tigera-operator", "tool.kubectl"]
        {
            assert!(!unused.contains(&used.to_owned()), "{used}");
        }
        for unused_name in ["image.kiali", "tool.kubelet", "app.backend"] {
            assert!(unused.contains(&unused_name.to_owned()), "{unused_name}");
        }
    }
}

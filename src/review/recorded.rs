//! What a cluster really asked for, against what was foreseen and what is locked. Both ways.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::{
    base::normalize_reference,
    demand::{
        Ask, Demand, Shows, Wanted,
        record::{Record, RecordedContainer},
    },
    lockfile::Lock,
};

/// What differs. Of a cluster that was there before, only the namespaces in `own` are the lab's.
pub fn compare(lock: &Lock, demand: &Demand, record: &Record, own: &[&str]) -> Vec<Finding> {
    let pulled = lock.image.values().map(|entry| entry.want.as_str());
    let built = lock.app.values().map(|app| app.request.reference.as_str());
    let locked: BTreeSet<String> = pulled.chain(built).map(normalize_reference).collect();
    let foreseen: BTreeSet<&str> = demand.asks.iter().filter_map(|ask| image(&ask.wanted)).collect();
    let mut findings = Vec::new();

    let mut asked: BTreeMap<&str, Vec<&RecordedContainer>> = BTreeMap::new();
    let ours = |one: &&RecordedContainer| record.own_cluster || own.contains(&one.namespace.as_str());
    for container in record.containers.iter().filter(ours) {
        asked.entry(&container.image).or_default().push(container);
    }
    for (image, containers) in &asked {
        let finding = |rule, found: &str, allowed: &str, fix: &str| Finding {
            entry: (*image).to_owned(),
            rule,
            found: found.to_owned(),
            allowed: allowed.to_owned(),
            place: Some(places(containers)),
            fix: fix.to_owned(),
        };
        if !locked.contains(*image) {
            let fix = "add it to lock/ztlab.toml, then `ztlab lock`; or take away what asked for it";
            findings.push(finding("recorded-unlocked", "the cluster asked for it", "what is locked", fix));
        }
        if !foreseen.contains(image) {
            let fix =
                "find out who made the pod; what an upstream program makes belongs into src/demand with its source";
            findings.push(finding("unforeseen", "the cluster asked for it", "what somebody is known to ask for", fix));
        }
    }
    for (reference, id) in record.node_images.iter().filter(|_| record.own_cluster) {
        if !locked.contains(reference) && !asked.contains_key(reference.as_str()) {
            findings.push(Finding {
                entry: reference.clone(),
                rule: "recorded-unlocked",
                found: format!("the node has it ({id})"),
                allowed: "what is locked".to_owned(),
                place: None,
                fix: "somebody loaded it by hand, or a program pulled it: `ztlab uninstall` and a new install tell"
                    .to_owned(),
            });
        }
    }
    let mut silent: BTreeMap<&str, Vec<&Ask>> = BTreeMap::new();
    for ask in &demand.asks {
        let Some(image) = image(&ask.wanted) else { continue };
        let shown = match ask.shows {
            Shows::Pod => asked.contains_key(image),
            Shows::ClusterPod => !record.own_cluster || asked.contains_key(image),
            Shows::Runtime => !record.own_cluster || record.node_images.contains_key(image),
            Shows::Nothing => true,
        };
        if !shown {
            silent.entry(image).or_default().push(ask);
        }
    }
    findings.extend(silent.into_iter().map(|(image, asks)| {
        Finding {
            entry: image.to_owned(),
            rule: "not-recorded",
            found: "foreseen, and the cluster did not ask for it".to_owned(),
            allowed: "what was recorded".to_owned(),
            place: asks.first().map(|ask| format!("{}: {}", ask.who, ask.place)),
            fix: "was the install whole (no --until), and every pod there? Else what is known of who asks is wrong"
                .to_owned(),
        }
    }));
    findings
}

fn image(wanted: &Wanted) -> Option<&str> {
    match wanted {
        Wanted::Image(reference) => Some(reference),
        Wanted::Repository(_) | Wanted::Program { .. } => None,
    }
}

fn places(containers: &[&RecordedContainer]) -> String {
    let first = containers
        .first()
        .map_or_else(String::new, |one| format!("{} in {}, {}", one.owner, one.namespace, one.container));
    if containers.len() > 1 { format!("{first}, and {} more", containers.len() - 1) } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        crate::lockfile::parse(
            "# Written by `ztlab lock` from ztlab.toml. Edit that file, not this one.\nschema = 1\nname = \"x\"\nhost = [\"linux-amd64\"]\nnode = [\"linux-amd64\"]\n\n[image.pause]\nwant = \"registry.k8s.io/pause:3.9\"\npending = [\"linux-amd64 manifest\"]\n\n[image.web]\nwant = \"docker.io/a/web:1\"\npending = [\"linux-amd64 manifest\"]\n",
        )
        .unwrap()
    }

    fn ask(image: &str, shows: Shows) -> Ask {
        let (who, place) = ("somebody".to_owned(), "Pod a".to_owned());
        Ask { wanted: Wanted::Image(image.to_owned()), who, place, source: None, step: "app", shows }
    }

    fn demand() -> Demand {
        let asks = vec![ask("docker.io/a/web:1", Shows::Pod), ask("registry.k8s.io/pause:3.9", Shows::Runtime)];
        Demand { asks, ..Demand::default() }
    }

    fn record(namespace: &str, images: &[&str]) -> Record {
        let container = |image: &&str| RecordedContainer {
            namespace: namespace.to_owned(),
            owner: "Deployment web".to_owned(),
            container: "container web".to_owned(),
            image: (*image).to_owned(),
            image_id: None,
        };
        Record {
            schema: 1,
            lab: "x".to_owned(),
            lab_id: String::new(),
            profile: "full".to_owned(),
            own_cluster: true,
            containers: images.iter().map(container).collect(),
            node_images: [("registry.k8s.io/pause:3.9".to_owned(), "sha256:00".to_owned())].into(),
        }
    }

    fn rules(record: &Record) -> Vec<(&'static str, String)> {
        let findings = compare(&lock(), &demand(), record, &["webapp"]);
        findings.into_iter().map(|finding| (finding.rule, finding.entry)).collect()
    }

    #[test]
    fn the_same_on_both_sides_is_no_finding() {
        assert_eq!(rules(&record("webapp", &["docker.io/a/web:1"])), []);
    }

    #[test]
    fn what_the_cluster_asked_for_beyond_that_is_found_twice() {
        let found = rules(&record("webapp", &["docker.io/a/web:1", "docker.io/b/evil:1"]));
        let evil = "docker.io/b/evil:1".to_owned();
        assert_eq!(found, [("recorded-unlocked", evil.clone()), ("unforeseen", evil)]);
    }

    #[test]
    fn what_was_foreseen_and_did_not_come_is_found() {
        assert_eq!(rules(&record("webapp", &[])), [("not-recorded", "docker.io/a/web:1".to_owned())]);
        let mut without_pause = record("webapp", &["docker.io/a/web:1"]);
        without_pause.node_images.clear();
        assert_eq!(rules(&without_pause), [("not-recorded", "registry.k8s.io/pause:3.9".to_owned())]);
        without_pause.own_cluster = false;
        assert_eq!(rules(&without_pause), [], "the other cluster brought its own");
    }

    #[test]
    fn an_image_that_only_the_node_has_is_found_in_an_own_cluster() {
        let mut loaded = record("webapp", &["docker.io/a/web:1"]);
        loaded.node_images.insert("docker.io/b/evil:1".to_owned(), "sha256:01".to_owned());
        assert_eq!(rules(&loaded), [("recorded-unlocked", "docker.io/b/evil:1".to_owned())]);
        loaded.own_cluster = false;
        assert_eq!(rules(&loaded), []);
    }

    #[test]
    fn pods_of_others_are_judged_in_an_own_cluster_only() {
        let mut others = record("somebody", &["docker.io/a/web:1"]);
        others.containers.extend(record("webapp", &["docker.io/a/web:1"]).containers);
        others.containers[0].image = "docker.io/b/theirs:1".to_owned();
        assert_eq!(rules(&others).len(), 2);
        others.own_cluster = false;
        assert_eq!(rules(&others), []);
    }
}

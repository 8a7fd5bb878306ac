//! A lab with any one policy removed or weakened must turn at least one probe red.
//!
//! Here by the rules alone, without a cluster: the policies are the lab's own files, their mutations follow from their own
//! fields, so a new policy that no call of the matrix feels fails this test. What a cluster makes of them the rig sees
//! (`rig/harness/mutations_test.py`), and `docs/mutations.md` has the table.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic like the test")]

use std::{collections::BTreeSet, path::Path};

use kube::api::DynamicObject;
use ztlab::{
    cluster::manifest,
    proof::mutation::{foreseen_red, mutated, mutations},
    step::objects::own_yaml,
};

const APP: &str = "webapp";

fn objects() -> Vec<DynamicObject> {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = own_yaml(lab).unwrap();
    let objects = files
        .iter()
        .flat_map(|path| manifest::parse(&path.display().to_string(), &fs_err::read_to_string(path).unwrap()).unwrap());
    objects.filter(|object| !mutations(object, APP).is_empty()).collect()
}

#[test]
fn the_lab_as_it_is_turns_nothing_red() {
    let red: Vec<String> =
        foreseen_red(&objects(), APP).iter().map(|(probe, call)| format!("{probe}: {call:?}")).collect();
    assert_eq!(red, [""; 0], "the policies do not say what the matrix expects of them");
}

#[test]
fn every_weakened_policy_turns_a_probe_red() {
    let objects = objects();
    assert!(objects.len() >= 10, "seven network policies, three authorization policies, one peer authentication");
    let mut unnoticed = Vec::new();
    for object in &objects {
        for mutation in mutations(object, APP) {
            if foreseen_red(&mutated(&objects, object, &mutation), APP).is_empty() {
                unnoticed.push(format!("{}: {}", mutation.policy, mutation.change));
            }
        }
    }
    assert_eq!(unnoticed, [""; 0], "no probe notices");
}

#[test]
fn a_policy_that_no_call_feels_is_found() {
    let mut objects = objects();
    let new = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: new, namespace: webapp}\n\
               spec: {podSelector: {matchLabels: {app: nobody}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}\n";
    let new = manifest::parse("new.yaml", new).unwrap().remove(0);
    objects.push(new.clone());
    let noticed =
        mutations(&new, APP).iter().all(|mutation| !foreseen_red(&mutated(&objects, &new, mutation), APP).is_empty());
    assert!(!noticed, "a policy for pods that nobody calls was counted as proved");
}

#[test]
fn the_document_has_a_row_for_every_mutation_and_no_other() {
    let expected: BTreeSet<String> = objects()
        .iter()
        .flat_map(|object| mutations(object, APP))
        .map(|mutation| format!("| {} | {} |", mutation.policy, mutation.change))
        .collect();
    let text = include_str!("../docs/mutations.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() >= 3);
    let found: BTreeSet<String> = rows
        .filter(|row| !row.starts_with("| policy |"))
        .map(|row| format!("| {} |", row.trim_start_matches("| ").split(" | ").take(2).collect::<Vec<_>>().join(" | ")))
        .collect();
    assert_eq!(found, expected, "make docs/mutations.md anew: its first lines say how");
}

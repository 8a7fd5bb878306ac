//! What programs read: one JSON value on each line of stdout, as `docs/events.schema.json` says.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;
use ztlab::base::report::Event;

use crate::home::Home;

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.schema.json");
    serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
}

/// The schema's definition of an event: the names that `required` lists, and those that `properties` has.
fn fields(schema: &Value, event: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let definition = &schema["$defs"][event];
    assert!(definition.is_object(), "the schema has no `{event}`");
    assert_eq!(definition["properties"]["event"]["const"], event);
    let required = definition["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    (required.collect(), definition["properties"].as_object().unwrap().keys().cloned().collect())
}

/// Holds one line against its definition. Types are compared by name; that is all the schema says about them.
fn assert_valid(schema: &Value, line: &Value) {
    let event = line["event"].as_str().unwrap_or_else(|| panic!("no event in {line}"));
    let (required, properties) = fields(schema, event);
    let found: BTreeSet<String> = line.as_object().unwrap().keys().cloned().collect();
    assert!(required.is_subset(&found), "{event} lacks a required field: {line}");
    assert!(found.is_subset(&properties), "{event} has a field that the schema does not know: {line}");
    for (name, value) in line.as_object().unwrap() {
        let expected = &schema["$defs"][event]["properties"][name]["type"];
        let allowed: Vec<&str> = match expected {
            Value::Null => continue,
            Value::String(one) => vec![one],
            several => several.as_array().unwrap().iter().filter_map(Value::as_str).collect(),
        };
        assert!(allowed.iter().any(|kind| is(value, kind)), "{event}.{name}: {value} is none of {allowed:?}");
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("the schema uses the type `{other}`, which this test does not know"),
    }
}

/// One of each. The match has no wildcard: a new variant does not compile until it stands here.
fn one_of_each() -> Vec<Event> {
    let text = || "text".to_owned();
    let events = vec![
        Event::TransfersPlanned { transfers: 3, bytes: 4 },
        Event::TransferStarted { id: 1, name: text(), total: Some(2) },
        Event::TransferStarted { id: 1, name: text(), total: None },
        Event::TransferResumed { id: 1, bytes: 2 },
        Event::TransferFrom { id: 1, source: text() },
        Event::TransferProgress { id: 1, bytes: 2 },
        Event::TransferFinished { id: 1 },
        Event::TransferFailed { id: 1, error: text(), retrying: true },
        Event::SourceDropped { source: text(), what: text(), lied: true },
        Event::EntryResolved { artifact: text(), done: 1, total: 2 },
        Event::StepStarted { step: "calico", title: text() },
        Event::StepWaiting { step: "calico", on: text() },
        Event::StepProgress { step: "cluster", done: 13, total: 19 },
        Event::StepFinished { step: "calico", changed: true, detail: text(), seconds: 0.5 },
        Event::Serving {
            lab: text(),
            lab_id: text(),
            blobs: 1,
            bytes: 2,
            addresses: vec![text()],
            beyond_this_machine: false,
        },
        Event::RoomChanged { machines: 1, transfers: 2, bytes: 3, rate: 4, sharing: 5 },
        Event::Sharing { address: text(), server: text(), beyond_this_machine: true, complete: false },
        Event::SeatReported { seat: text(), said: text() },
        Event::Note { text: text() },
        Event::Warning { text: text() },
    ];
    for event in &events {
        match event {
            Event::TransfersPlanned { .. }
            | Event::TransferStarted { .. }
            | Event::TransferResumed { .. }
            | Event::TransferFrom { .. }
            | Event::SourceDropped { .. }
            | Event::TransferProgress { .. }
            | Event::TransferFinished { .. }
            | Event::TransferFailed { .. }
            | Event::EntryResolved { .. }
            | Event::StepStarted { .. }
            | Event::StepWaiting { .. }
            | Event::StepProgress { .. }
            | Event::StepFinished { .. }
            | Event::Serving { .. }
            | Event::RoomChanged { .. }
            | Event::Sharing { .. }
            | Event::SeatReported { .. }
            | Event::Note { .. }
            | Event::Warning { .. } => {}
        }
    }
    events
}

#[test]
fn every_event_has_its_definition_and_every_definition_its_event() {
    let schema = schema();
    let mut names = BTreeSet::from(["outcome".to_owned(), "error".to_owned()]);
    for event in one_of_each() {
        let line = serde_json::to_value(&event).unwrap();
        assert_valid(&schema, &line);
        let (required, properties) = fields(&schema, line["event"].as_str().unwrap());
        assert_eq!(required, properties, "events leave no field out: {line}");
        names.insert(line["event"].as_str().unwrap().to_owned());
    }
    let defined: BTreeSet<String> = schema["$defs"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, defined);
    let offered = schema["oneOf"].as_array().unwrap().iter().map(|one| one["$ref"].as_str().unwrap());
    let offered: BTreeSet<String> = offered.map(|path| path.trim_start_matches("#/$defs/").to_owned()).collect();
    assert_eq!(names, offered);
}

#[test]
fn an_error_is_one_line_on_stdout() {
    let schema = schema();
    let home = Home::with_small_lab();
    let cases = [
        (&["--json", "install", "--offline"][..], 20, "fetch::incomplete"),
        (&["--json", "verify", "--context", "none", "--node", "docker:none"], 20, "fetch::incomplete"),
        (&["--json", "install", "--from", "nowhere"], 2, "usage::step"),
        (&["--json", "fetch", "--only", "image.nothing"], 2, "usage::name"),
        (&["--json", "fetch", "--mirror", "nonsense"], 2, "usage::mirror"),
    ];
    for (arguments, exit, code) in cases {
        let ran = home.run(arguments);
        assert_eq!((ran.exit, ran.stderr.as_str()), (exit, ""), "{arguments:?}");
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        let line: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_valid(&schema, &line);
        assert_eq!(line["event"], "error");
        assert_eq!(line["code"], code);
        assert_eq!(line["exit"], exit, "the line says what the process says");
    }
}

#[test]
fn a_run_is_events_and_then_its_end() {
    let schema = schema();
    let home = Home::with_small_lab();
    for (arguments, last) in
        [(&["--json", "fetch", "--offline"][..], "error"), (&["--json", "lock", "--check"], "outcome")]
    {
        let ran = home.run(arguments);
        assert_eq!(ran.stderr, "");
        let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.iter().for_each(|line| assert_valid(&schema, line));
        assert_eq!(lines.last().unwrap()["event"], last, "{}", ran.stdout);
    }
}

//! The shipped app: its manifests give no pod more than it needs, and what people build by hand is what ztlab builds.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic like the test")]

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};
use ztlab::{cluster::manifest, intent::Intent, lockfile};

fn read(name: &str) -> String {
    fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Pod templates of the app's Deployments, with the file that each is in.
fn pods() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let mut files: Vec<_> = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut pods = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        for object in manifest::parse(&name, &fs_err::read_to_string(&path).unwrap()).unwrap() {
            if object.types.is_some_and(|types| types.kind == "Deployment") {
                pods.push((name.clone(), object.data["spec"]["template"]["spec"].clone()));
            }
        }
    }
    assert_eq!(pods.len(), 3, "backend, frontend and load test");
    pods
}

#[test]
fn no_pod_of_the_app_may_more_than_it_needs() {
    for (file, pod) in pods() {
        let context = &pod["securityContext"];
        assert_eq!(context["runAsNonRoot"], json!(true), "{file}");
        assert!(context["runAsUser"].as_u64().is_some_and(|user| user > 0), "{file}: {context}");
        assert_eq!(context["seccompProfile"]["type"], json!("RuntimeDefault"), "{file}");
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(pod[field], Value::Null, "{file}: {field}");
        }
        let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
        assert!(volumes.iter().all(|volume| volume["emptyDir"].is_object()), "{file}: {volumes:?}");
        for container in pod["containers"].as_array().unwrap() {
            let own = &container["securityContext"];
            assert_eq!(own["readOnlyRootFilesystem"], json!(true), "{file}");
            assert_eq!(own["allowPrivilegeEscalation"], json!(false), "{file}");
            assert_eq!(own["capabilities"], json!({ "drop": ["ALL"] }), "{file}");
            // A container's own words would win over the pod's.
            for field in ["privileged", "runAsUser", "runAsNonRoot", "seccompProfile", "procMount"] {
                assert_eq!(own[field], Value::Null, "{file}: {field}");
            }
        }
    }
}

#[test]
fn images_and_manifests_name_the_same_user() {
    let intent = Intent::parse(&read("lock/ztlab.toml")).unwrap();
    for (file, pod) in pods() {
        let image = pod["containers"][0]["image"].as_str().unwrap();
        let Some(app) = intent.app.values().find(|app| app.reference == image) else { continue };
        let context = &pod["securityContext"];
        assert_eq!(app.user, format!("{}:{}", context["runAsUser"], context["runAsGroup"]), "{file}");
    }
}

/// Instruction → its arguments, one entry for each line; continued lines are one.
fn dockerfile(app: &str) -> BTreeMap<String, Vec<String>> {
    let mut instructions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let text = read(&format!("app/{app}/Dockerfile")).replace("\\\n", " ");
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (instruction, arguments) = line.split_once(' ').unwrap();
        instructions.entry(instruction.to_owned()).or_default().push(arguments.trim().to_owned());
    }
    instructions
}

#[test]
fn the_dockerfiles_say_what_the_intent_says() {
    let intent = Intent::parse(&read("lock/ztlab.toml")).unwrap();
    let lock = lockfile::request(&intent).unwrap();
    for (name, app) in &lock.app {
        let app = &app.request;
        let file = dockerfile(name);
        let one = |instruction: &str| file.get(instruction).map(|lines| lines.join(" ")).unwrap_or_default();
        let base = app.base.strip_prefix("image.").unwrap();
        assert_eq!(one("FROM"), lock.image[base].want, "{name}");
        assert_eq!(one("USER"), app.user, "{name}");
        assert_eq!(one("WORKDIR"), app.workdir, "{name}");
        assert_eq!(one("EXPOSE"), app.ports.join(" "), "{name}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&one("CMD")).unwrap(), app.command, "{name}");
        let env: BTreeMap<String, String> = one("ENV")
            .split_whitespace()
            .map(|pair| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap())
            .collect();
        assert_eq!(env, app.env, "{name}");
        let labels: BTreeMap<String, String> = file["LABEL"]
            .iter()
            .map(|label| label.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        assert_eq!(labels, app.labels, "{name}");
        let place = |to: &str| if to == "." { format!("{}/", app.workdir) } else { to.to_owned() };
        let copied: BTreeMap<String, String> = file["COPY"]
            .iter()
            .map(|line| line.split_once(' ').unwrap())
            .filter(|(from, _)| *from != "requirements.txt")
            .map(|(from, to)| (from.to_owned(), format!("{}{}", place(to), if to == "." { from } else { "" })))
            .collect();
        assert_eq!(copied, app.files, "{name}");
    }
}

#[test]
fn the_requirements_are_the_wheels_of_the_lock() {
    let lock = lockfile::parse(&read("lock/ztlab.lock")).unwrap();
    let requirements = read("app/backend/requirements.txt").replace("\\\n", " ");
    for name in &lock.app["backend"].request.wheels {
        let entry = &lock.wheel[name];
        let wanted = entry.request().unwrap();
        let start = format!("{}=={} ", wanted.name, wanted.version);
        let line = requirements.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("requirements.txt has no `{start}`"));
        for download in entry.platforms.values() {
            let digest = download.digest.unwrap().hex();
            assert!(line.contains(&format!("--hash=sha256:{digest}")), "{name}: {digest}");
        }
    }
}

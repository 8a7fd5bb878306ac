//! `ztlab doctor` as a user runs it, on machines that a `docker` of our own makes up. The small lab's node is amd64, and
//! a machine of another kind has no lab in it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::home::Home;

/// Docker Desktop's words, with what a test changes in them.
fn info(change: &str, with: &str) -> String {
    let text = r#"{"ServerVersion":"28.5.2","MemTotal":8321794048,"NCPU":8,"Architecture":"x86_64","OSType":"linux",
        "OperatingSystem":"Docker Desktop","Driver":"overlayfs","DockerRootDir":"/var/lib/docker","SystemTime":"NOW","ServerErrors":null}"#;
    assert!(change.is_empty() || text.contains(change), "{change}");
    text.replace('\n', " ").replace(change, with)
}

/// A home with a lab and a `docker` that answers so; `ztlab doctor --json` in it.
fn diagnosed(info: &str, container: &str) -> (i32, Value, Value) {
    diagnosed_by(&Home::with_small_lab(), info, container, &[])
}

fn diagnosed_by(home: &Home, info: &str, container: &str, arguments: &[&str]) -> (i32, Value, Value) {
    let programs = home.path("programs");
    // The clock is the machine's unless the answer says another time.
    let script = format!(
        "#!/bin/sh\ncase $1 in\ninfo) printf '%s\\n' '{info}' | sed \"s/NOW/$(date -u +%Y-%m-%dT%H:%M:%SZ)/\" ;;\n\
         context) echo unix:///var/run/docker.sock ;;\nps) printf '%s\\n' '{container}' ;;\nesac\n"
    );
    home.write("programs/docker", &script);
    fs_err::set_permissions(programs.join("docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let arguments = [&["--json", "doctor"], arguments].concat();
    let ran = home.take(&home.command(&arguments).env("PATH", path).output().unwrap());
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcome = lines.iter().find(|line| line["event"] == "outcome").cloned().unwrap_or_default();
    let error = lines.iter().find(|line| line["event"] == "error").cloned().unwrap_or_default();
    (ran.exit, outcome["outcome"]["findings"].clone(), error)
}

fn finding<'a>(findings: &'a Value, check: &str) -> &'a Value {
    findings.as_array().unwrap().iter().find(|finding| finding["check"] == check).unwrap()
}

#[test]
fn a_fit_machine_is_called_so() {
    let (exit, findings, error) = diagnosed(&info("", ""), "");
    assert_eq!((exit, &error), (0, &Value::Null), "{findings:#}");
    for check in ["docker", "docker-context", "image-store", "architecture", "memory", "cpus", "clock", "cluster"] {
        assert_eq!(finding(&findings, check)["grade"], "fit", "{findings:#}");
    }
}

#[test]
fn what_would_make_an_install_fail_is_named_with_what_to_type() {
    let no_daemon = r#"{"ServerErrors":["Cannot connect to the Docker daemon"]}"#;
    let own = r#"{"Names":"ztlab","State":"running","Labels":""}"#;
    for (info, container, check) in [
        (info("8321794048", "4113248256"), "", "memory"),
        (info("\"NCPU\":8", "\"NCPU\":2"), "", "cpus"),
        (info("x86_64", "aarch64"), "", "architecture"),
        (info("NOW", "2020-01-01T00:00:00Z"), "", "clock"),
        (info("\"linux\"", "\"windows\""), "", "docker-kind"),
        (info("28.5.2", "19.03.1"), "", "docker-version"),
        (no_daemon.to_owned(), "", "docker"),
        (info("", ""), own, "cluster"),
    ] {
        let (exit, findings, error) = diagnosed(&info, container);
        assert_eq!((exit, error["code"].as_str()), (30, Some("machine::unfit")), "{check}: {findings:#}");
        let found = finding(&findings, check);
        assert_eq!(found["grade"], "fault", "{found:#}");
        assert!(found["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{found:#}");
        assert_eq!(error["message"], format!("this machine is not fit for the lab: {check}"));
    }
}

/// What Docker Desktop says when it was given 4 GB.
#[test]
fn a_laptop_with_four_gigabytes_is_sent_to_the_small_lab_and_fit_for_it() {
    let home = Home::with_small_lab();
    let profile = "\n[profile.small]\nmemory = 3072\ncpus = 2\nwithout = []\n";
    for file in ["lab/lock/ztlab.toml", "lab/lock/ztlab.lock"] {
        let text = fs_err::read_to_string(home.path(file)).unwrap();
        home.write(file, &format!("{text}{profile}"));
    }
    let four = info("8321794048", "4109926400");
    let (exit, findings, error) = diagnosed_by(&home, &four, "", &[]);
    assert_eq!((exit, error["code"].as_str()), (30, Some("machine::unfit")), "{findings:#}");
    let fix = finding(&findings, "memory")["fix"].as_str().unwrap();
    assert!(fix.starts_with("ztlab install --profile small"), "{fix}");
    let (exit, findings, error) = diagnosed_by(&home, &four, "", &["--profile", "small"]);
    assert_eq!((exit, &error), (0, &Value::Null), "{findings:#}");
    let (exit, _, error) = diagnosed_by(&home, &four, "", &["--profile", "ztlab-2"]);
    assert_eq!((exit, error["code"].as_str()), (2, Some("usage::profile")));
    assert!(error["help"].as_str().unwrap().contains("--cluster ztlab-2"), "{error}");
}

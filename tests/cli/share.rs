//! `fetch --share` from the outside: what listens, what Ctrl-C means, and how it ends by itself.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use ztlab::{base::report::Silent, store::Store};

use crate::{home::Home, sockets::network_calls};

const INTENT: &str = r#"schema = 1
name = "shared"
host = ["linux-amd64"]
node = ["linux-amd64"]

[manifest.operator]
url = "https://upstream.invalid/operator.yaml"
"#;

/// A program that runs, and its lines.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut child = home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next event for which this holds.
    fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let events = self.lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        events.into_iter().find(wanted)
    }

    fn interrupt(&self) {
        let done = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A teacher with a lab of one large file, and the address of their server.
fn room() -> (Home, Running, String) {
    let home = Home::new();
    let store = Store::open(home.path("teacher")).unwrap();
    let blob = store.put(&vec![b'x'; 200_000], &Silent).unwrap().descriptor();
    let lock = format!(
        "# Written by `ztlab lock` from ztlab.toml. Edit that file, not this one.\nschema = 1\nname = \"shared\"\n\
         host = [\"linux-amd64\"]\nnode = [\"linux-amd64\"]\n\n[manifest.operator]\n\
         want = \"https://upstream.invalid/operator.yaml\"\ndigest = \"{}\"\nsize = {}\n",
        blob.digest, blob.size
    );
    home.write("lab/lock/ztlab.toml", INTENT);
    home.write("lab/lock/ztlab.lock", &lock);
    let teacher = home.path("teacher").display().to_string();
    let mut server = Running::start(&home, &["--json", "--store", &teacher, "serve", "--port", "0"]);
    let serving = server.event(|event| event["event"] == "serving").unwrap();
    let address = serving["addresses"][0].as_str().unwrap().to_owned();
    (home, server, address)
}

#[test]
fn ctrl_c_ends_sharing_well_and_a_fetch_as_always() {
    let (home, _server, address) = room();
    let mut student = Running::start(
        &home,
        &["--json", "fetch", "--from", &address, "--share", "--seat", "A3", "--roster", &address],
    );
    let begun = student.event(|event| event["event"] == "sharing").unwrap();
    assert_eq!((&begun["complete"], &begun["beyond_this_machine"]), (&Value::Bool(false), &Value::Bool(false)));
    assert!(begun["address"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{begun}");
    assert!(student.event(|event| event["event"] == "sharing" && event["complete"] == true).is_some());
    student.interrupt();
    let outcome = student.event(|event| event["event"] == "outcome").unwrap();
    let shared = &outcome["outcome"]["shared"];
    assert_eq!((&shared["from_server"], &shared["given"]), (&Value::from(200_000), &Value::from(0)), "{outcome}");
    assert!(student.child.wait().unwrap().success());

    // A server that takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", silent.local_addr().unwrap());
    let fresh = home.path("fresh").display().to_string();
    let mut waiting = Running::start(&home, &["--json", "--store", &fresh, "fetch", "--from", &address, "--share"]);
    assert!(waiting.event(|event| event["event"] == "transfers-planned").is_some());
    std::thread::sleep(Duration::from_millis(200));
    waiting.interrupt();
    assert_eq!(waiting.child.wait().unwrap().code(), Some(130));
}

#[test]
#[expect(clippy::print_stderr, reason = "whoever runs the tests should know what was not tested")]
fn nothing_listens_unless_it_is_asked_to_share_and_sharing_ends_by_itself() {
    if cfg!(not(target_os = "linux")) || Command::new("strace").arg("--version").output().is_err() {
        eprintln!("skipped: there is no strace to ask the kernel with");
        assert!(std::env::var_os("ZTLAB_TEST_TOOLS").is_none(), "strace is required here and absent");
        return;
    }
    let (home, _server, address) = room();
    let listens = |arguments: &[&str]| {
        let calls = network_calls(&home, arguments).unwrap();
        assert!(calls.iter().any(|call| call.contains("connect(")), "{arguments:?} asked nobody: {calls:?}");
        calls.iter().any(|call| call.contains("listen("))
    };
    let (one, two) = (home.path("one").display().to_string(), home.path("two").display().to_string());
    assert!(!listens(&["--store", &one, "fetch", "--from", &address]));
    assert!(listens(&["--store", &two, "fetch", "--from", &address, "--share", "--share-for", "1s"]));
}

#[test]
fn sharing_wants_a_room_and_a_time_that_makes_sense() {
    let home = Home::with_small_lab();
    for (arguments, said) in [
        (&["fetch", "--share"][..], "--from"),
        (&["fetch", "--from", "upstream", "--share=nonsense"], "invalid value 'nonsense'"),
        (&["fetch", "--from", "upstream", "--share", "--share-for", "soon"], "invalid value 'soon'"),
        (&["fetch", "--from", "upstream", "--share-port", "1"], "--share"),
    ] {
        let ran = home.run(arguments);
        assert_eq!(ran.exit, 2, "{arguments:?}");
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    let ran = home.run(&["fetch", "--from", "upstream", "--share"]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.contains("needs the server of a room"), "{}", ran.stderr);
}

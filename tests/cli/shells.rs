//! `ztlab shell` and `ztlab run`: what a command in there finds, and that nothing of the user's own gets in its way.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use ztlab::{
    base::{Platform, report::Silent},
    store::Store,
};

use crate::home::{Home, Ran};

/// A kubectl that says what it was given, and ends as it is told.
const KUBECTL: &str = "#!/bin/sh\necho \"pinned kubectl $*\"\necho \"kubeconfig $KUBECONFIG\"\nexit ${CODE:-0}\n";
/// The user's own, which comes first on their `PATH`.
const OTHER: &str = "#!/bin/sh\necho \"the user's own kubectl\"\n";
const KUBECONFIG: &str = "apiVersion: v1
kind: Config
current-context: work
clusters:
- {name: work, cluster: {server: 'https://work.example'}}
- {name: ztlab, cluster: {server: 'https://127.0.0.1:32771'}}
users:
- {name: work, user: {token: the-secret-of-work}}
- {name: ztlab, user: {token: the-secret-of-the-lab}}
contexts:
- {name: work, context: {cluster: work, user: work}}
- {name: ztlab, context: {cluster: ztlab, user: ztlab}}
";

/// A user with a lab that pins a kubectl, a kubeconfig of two clusters, and a kubectl of their own.
fn user() -> Home {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let platform = Platform::current().unwrap();
    let store = Store::open(home.path("data/ztlab/store")).unwrap();
    let blob = store.put(KUBECTL.as_bytes(), &Silent).unwrap();
    let head = format!("schema = 1\nname = \"small\"\nhost = [\"{platform}\"]\nnode = [\"linux-amd64\"]\n");
    let (digest, size) = (blob.descriptor().digest, blob.descriptor().size);
    home.write("lab/lock/ztlab.toml", &format!("{head}\n[tool.kubectl]\nurl = \"https://upstream.invalid/kubectl\"\n"));
    home.write(
        "lab/lock/ztlab.lock",
        &format!(
            "# Written by `ztlab lock` from ztlab.toml. Edit that file, not this one.\n{head}\n[tool.kubectl]\n\
             want = \"https://upstream.invalid/kubectl\"\n\
             {platform} = {{ url = \"https://upstream.invalid/kubectl\", digest = \"{digest}\", size = {size} }}\n"
        ),
    );
    home.write(".kube/config", KUBECONFIG);
    home.write("bin/kubectl", OTHER);
    fs_err::set_permissions(home.path("bin/kubectl"), std::fs::Permissions::from_mode(0o755)).unwrap();
    home
}

fn command(home: &Home, arguments: &[&str]) -> Command {
    let mut command = home.command(arguments);
    command.env("PATH", format!("{}:/usr/bin:/bin", home.path("bin").display()));
    command
}

fn run(home: &Home, arguments: &[&str]) -> Ran {
    home.take(&command(home, arguments).output().unwrap())
}

/// What a shell says that is told this on its stdin.
fn shell(home: &Home, program: &str, variables: &[(&str, &str)], script: &str) -> Ran {
    let mut command = command(home, &["shell"]);
    command.env("SHELL", program).envs(variables.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    home.take(&child.wait_with_output().unwrap())
}

#[test]
fn a_command_is_the_pinned_one_and_its_arguments_and_exit_code_are_its_own() {
    let home = user();
    let ran = home
        .take(&command(&home, &["run", "kubectl", "get", "pods", "-A", "--json"]).env("CODE", "7").output().unwrap());
    assert_eq!(ran.exit, 7, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("pinned kubectl get pods -A --json\n"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    // Input passes through, and a program that the lab does not pin is the user's.
    let mut child = command(&home, &["run", "cat"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"through\n").unwrap();
    assert_eq!(home.take(&child.wait_with_output().unwrap()).stdout, "through\n");
}

#[test]
fn a_signal_is_the_commands_own() {
    use std::os::unix::process::ExitStatusExt as _;
    let home = user();
    let mut child = command(&home, &["run", "sleep", "600"]).spawn().unwrap();
    let name = || fs_err::read_to_string(format!("/proc/{}/comm", child.id())).unwrap_or_default();
    if cfg!(target_os = "linux") {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while name().trim() != "sleep" {
            assert!(std::time::Instant::now() < end, "ztlab did not become the command");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    } else {
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn the_kubeconfig_has_the_lab_alone_and_is_the_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = user();
    let ran = run(&home, &["run", "sh", "-c", "echo $KUBECONFIG"]);
    let path = home.path(ran.stdout.trim().strip_prefix("[HOME]/").unwrap());
    let text = fs_err::read_to_string(&path).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(file["current-context"], "ztlab");
    assert!(text.contains("the-secret-of-the-lab") && !text.contains("work"), "{text}");
    assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let folder = fs_err::metadata(path.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    // It is made anew each time: the API server's port is another one after a restart.
    home.edit(".kube/config", "32771", "40000");
    run(&home, &["run", "true"]);
    assert!(fs_err::read_to_string(&path).unwrap().contains("40000"));
}

#[test]
fn minikube_is_pointed_at_the_lab_and_a_name_is_there_for_the_prompt() {
    let home = user();
    let ran = run(&home, &["run", "sh", "-c", "echo $MINIKUBE_HOME $MINIKUBE_PROFILE $ZTLAB_SHELL"]);
    assert_eq!(ran.stdout, "[HOME]/.minikube ztlab ztlab\n", "{}", ran.stderr);
}

#[test]
fn without_a_lab_nothing_is_asked_and_it_is_said() {
    let home = user();
    home.edit(".kube/config", "- {name: ztlab, context", "- {name: another, context");
    let ran = run(&home, &["run", "sh", "-c", "cat $KUBECONFIG"]);
    assert_eq!(ran.exit, 0);
    assert!(!ran.stdout.contains("secret") && !ran.stdout.contains("example"), "{}", ran.stdout);
    assert!(ran.stderr.contains("no lab `ztlab` yet"), "{}", ran.stderr);
    // A cluster that was named has to be there.
    let ran = run(&home, &["run", "--context", "nowhere", "--node", "docker:n", "true"]);
    assert_eq!(ran.exit, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("cluster::context"), "{}", ran.stderr);
}

/// The user's start file does what many do: it puts a folder of its own before all others.
#[test]
fn bash_has_the_pinned_programs_first_whatever_its_start_file_does() {
    let home = user();
    let bin = home.path("bin").display().to_string();
    home.write(".bashrc", &format!("export PATH='{bin}':\"$PATH\" KUBECONFIG=/nowhere\nalias greet='echo mine'\n"));
    let script = "kubectl version\ngreet\necho \"prompt: $PS1\"\nexit 5\n";
    // A bash that reads a pipe takes no start file unless it is told that somebody is there.
    let interactive = home.path("bin/bash");
    home.write("bin/bash", "#!/bin/sh\nexec /bin/bash \"$@\" -i\n");
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(&interactive, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = shell(&home, interactive.to_str().unwrap(), &[], script);
    assert_eq!(ran.exit, 5, "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with("pinned kubectl version\nkubeconfig [HOME]/data/ztlab/shells/ztlab-"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("\nmine\n") && ran.stdout.contains("prompt: (ztlab) "), "{}", ran.stdout);
    let first = ran.stderr.lines().next().unwrap();
    assert!(first.contains("kubectl") && first.contains("`ztlab`") && first.contains("`exit`"), "{first}");
    assert!(!ran.stderr.contains("secret") && !ran.stdout.contains("secret"));
}

#[test]
fn zsh_has_the_pinned_programs_first_and_its_own_files_where_they_are() {
    if Command::new("zsh").arg("--version").output().is_err() {
        assert_ne!(std::env::var("ZTLAB_TEST_TOOLS").as_deref(), Ok("required"), "zsh is absent");
        return;
    }
    let home = user();
    let bin = home.path("bin").display().to_string();
    home.write("dot/.zshenv", "MINE=environment\n");
    home.write("dot/.zshrc", &format!("path=('{bin}' $path)\nalias greet='echo mine'\n"));
    let wrapper = home.path("bin/zsh");
    home.write("bin/zsh", "#!/bin/sh\nPATH=/usr/bin:/bin:$PATH exec /usr/bin/env zsh \"$@\" -i\n");
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let dot = home.path("dot").display().to_string();
    let script = "kubectl version\ngreet\necho $MINE $ZDOTDIR\nprint -r -- \"prompt: $PROMPT\"\nexit 5\n";
    let ran = shell(&home, wrapper.to_str().unwrap(), &[("ZDOTDIR", &dot)], script);
    assert_eq!(ran.exit, 5, "{}", ran.stderr);
    assert!(ran.stdout.contains("pinned kubectl version\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("mine\n") && ran.stdout.contains("environment [HOME]/dot\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("prompt: (ztlab) "), "{}", ran.stdout);
}

#[test]
fn a_shell_in_a_shell_is_refused_and_a_command_is_not() {
    let home = user();
    let program = env!("CARGO_BIN_EXE_ztlab");
    let script = format!("'{program}' shell; echo \"ended with $?\"; '{program}' run kubectl nested\n");
    let ran = shell(&home, "/bin/sh", &[], &script);
    assert!(
        ran.stderr.contains("usage::nested") && ran.stdout.contains("ended with 2\n"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert!(ran.stdout.contains("pinned kubectl nested\n"), "{}", ran.stdout);
}

/// Minikube writes the kubeconfig that it is given: an install in the lab's shell must give it the user's own.
#[test]
fn ztlab_in_the_shell_works_on_the_users_own_kubeconfig() {
    let home = user();
    let program = env!("CARGO_BIN_EXE_ztlab");
    home.edit(".kube/config", "{name: ztlab, context", "{name: later, context");
    // The shell began before there was a context `later`; its kubeconfig has none.
    let script = format!("'{program}' run --context later --node docker:n sh -c 'cat $KUBECONFIG'\n");
    for variables in [&[][..], &[("KUBECONFIG", home.path(".kube/config").to_str().unwrap())]] {
        let ran = shell(&home, "/bin/sh", variables, &script);
        assert!(ran.stdout.contains("\"current-context\":\"later\""), "{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn json_is_refused_and_an_absent_program_is_named() {
    let home = user();
    for verb in [&["--json", "shell"][..], &["--json", "run", "kubectl"]] {
        let ran = run(&home, verb);
        assert_eq!(ran.exit, 2, "{}", ran.stderr);
        assert!(ran.stdout.contains("usage::json"), "{}", ran.stdout);
    }
    let ran = run(&home, &["run", "kubectx"]);
    assert_eq!(ran.exit, 30);
    assert!(ran.stderr.contains("no `kubectx` on PATH"), "{}", ran.stderr);
}

#[test]
fn a_program_that_was_never_fetched_is_named_with_what_to_type() {
    let home = user();
    fs_err::remove_dir_all(home.path("data/ztlab/store")).unwrap();
    let ran = run(&home, &["run", "kubectl"]);
    assert_eq!(ran.exit, 20, "{}", ran.stderr);
    assert!(ran.stderr.contains("pinned kubectl") && ran.stderr.contains("ztlab fetch"), "{}", ran.stderr);
}

#[test]
fn an_offline_command_has_no_way_out_but_to_the_cluster() {
    let home = user();
    let ran = run(&home, &["--offline", "run", "sh", "-c", "echo $HTTPS_PROXY $NO_PROXY"]);
    assert_eq!(ran.stdout, "http://127.0.0.1:9 localhost,127.0.0.1,::1,127.0.0.1\n", "{}", ran.stderr);
}

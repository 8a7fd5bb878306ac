//! `lock --check` opens no socket: the kernel is asked, through strace.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
};

use crate::home::Home;

/// Every system call that makes a socket or uses one, of the program and of whatever it starts.
pub(crate) fn network_calls(home: &Home, arguments: &[&str]) -> Option<Vec<String>> {
    let trace = home.path("trace");
    let plain = home.command(arguments);
    let mut traced = Command::new("strace");
    traced.args(["--follow-forks", "--trace=%network,io_uring_setup", "--quiet=all", "--output"]).arg(&trace);
    traced.arg(plain.get_program()).args(plain.get_args()).env_clear().current_dir(plain.get_current_dir().unwrap());
    traced.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.output().ok()?;
    Some(fs_err::read_to_string(trace).unwrap().lines().map(str::to_owned).collect())
}

#[test]
#[expect(clippy::print_stderr, reason = "whoever runs the tests should know what was not tested")]
fn checking_the_lock_opens_no_socket() {
    if cfg!(not(target_os = "linux")) || Command::new("strace").arg("--version").output().is_err() {
        eprintln!("skipped: there is no strace to ask the kernel with");
        assert!(std::env::var_os("ZTLAB_TEST_TOOLS").is_none(), "strace is required here and absent");
        return;
    }
    for home in [Home::with_small_lab(), Home::with_shipped_lab()] {
        assert_eq!(network_calls(&home, &["lock", "--check"]).unwrap(), Vec::<String>::new());
    }
    // The control: the same eyes see the socket of a verb that asks somebody.
    let mirror = format!("https://upstream.invalid={}", server_without_files());
    let seen =
        network_calls(&Home::with_small_lab(), &["lock", "--upgrade", "--dry-run", "--mirror", &mirror]).unwrap();
    assert!(seen.iter().any(|call| call.contains("connect(")), "strace saw nothing of a request: {seen:?}");
}

/// A server on loopback that says 404 to everybody.
fn server_without_files() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    format!("http://{address}")
}

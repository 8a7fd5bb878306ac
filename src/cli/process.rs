//! What concerns the process as a whole: threads, signals, a panic, colours, the log.

use std::io::IsTerminal as _;

use super::{args::ColorChoice, render};

/// Threads for tasks: each hashes and writes some 800 MB/s, so that four are ahead of any line and any disk. More
/// would only be more memory.
const WORKERS: usize = 4;

/// The runtime of the verbs that talk to somebody.
///
/// # Errors
/// When the system gives no threads.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread().worker_threads(cores.min(WORKERS)).enable_all().build()
}

/// A panic is a bug of ours, on whatever thread: the process says so and ends with the exit code that means it. What
/// is half-done stays for the next run, as after any other end.
pub(super) fn end_at_a_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        render::error_line("this is a bug in ztlab: please report it with the lines above and the command");
        std::process::exit(70);
    }));
}

/// Until somebody types Ctrl-C, or a program asks this one to end.
pub(super) async fn interrupted() {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Colours of everything that is printed.
pub(super) fn set_color(choice: ColorChoice) {
    let choice = match choice {
        ColorChoice::Auto => return,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

/// What happens underneath, for `--verbose`; `ZTLAB_LOG` takes tracing's own filter language.
pub(super) fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "ztlab=debug",
        _ => "debug",
    };
    let filter = std::env::var("ZTLAB_LOG").unwrap_or_else(|_| level.to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Tells this test's own process, started again, to panic.
    const PANIC: &str = "ZTLAB_TEST_PANIC";

    #[test]
    fn a_panic_on_any_thread_ends_the_process_as_a_bug_of_ours() {
        if std::env::var_os(PANIC).is_some() {
            end_at_a_panic();
            let _ = std::thread::spawn(|| panic!("out of order")).join();
            return;
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args([
            "--exact",
            "--nocapture",
            "cli::process::tests::a_panic_on_any_thread_ends_the_process_as_a_bug_of_ours",
        ]);
        let done = again.env(PANIC, "1").output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(70), "{told}");
        assert!(told.contains("out of order") && told.contains("this is a bug in ztlab"), "{told}");
    }
}

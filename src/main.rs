//! The `ztlab` command.

fn main() -> std::process::ExitCode {
    ztlab::cli::main()
}

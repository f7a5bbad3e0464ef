//! The `tamslake` command: flags -> configuration -> app -> run.

use std::process::ExitCode;

fn main() -> ExitCode {
    tamslake::cli::main()
}

//! The `tamslake` command: flags -> configuration -> app -> run.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Decoding a page takes buffers of all sizes for a moment, which the system's allocator gets anew each time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tamslake::cli::main()
}

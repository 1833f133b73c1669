//! The `streamwatch` program.

use std::process::ExitCode;

/// Gives back what a wave of viewers needed once they are gone; the system's allocator would keep
/// most of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    streamwatch::cli::Cli::main().await
}

//! The `streamwatch` program.

use std::process::ExitCode;

/// Gives back what a wave of viewers needed once they are gone; the system's allocator would keep
/// most of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("streamwatch: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(streamwatch::cli::Cli::main());
    // Where one thread has failed, the others are not waited for.
    runtime.shutdown_background();
    code
}

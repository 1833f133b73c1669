//! The `streamwatch` program.

use std::process::ExitCode;

/// Made to give back what a wave of viewers needed; of the system's allocator's pages most would stay.
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

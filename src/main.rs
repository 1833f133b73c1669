//! The `streamwatch` program.

mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::keep_little();
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

//! The `streamwatch` program.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    streamwatch::cli::Cli::main().await
}

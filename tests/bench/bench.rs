//! What streamwatch costs beside the least that could do its job, in the same run. `tests/bench/run`
//! runs it.

mod in_process;
mod pairs;
mod report;

use std::process::ExitCode;

use clap::Parser;

use report::Report;

/// The worker's, for the baselines too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures streamwatch beside bare baselines, in pairs, and prints ratios
///
/// Nothing is asserted: machines differ, and so do their moods.
#[derive(Parser)]
#[command(name = "tests/bench/run")]
struct Args {
    /// Only what needs no broker
    #[arg(long)]
    in_process: bool,
    /// Numbers of active streams to measure at
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "10000,100000,1000000"
    )]
    streams: Vec<usize>,
    /// Pairs of measurements: medians are taken of so many
    #[arg(long, value_name = "N", default_value_t = 5)]
    pairs: usize,
    /// Only measures whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// One part of a measurement, as a process of its own
    #[arg(long, hide = true, value_name = "WHAT", num_args = 1..)]
    child: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !args.child.is_empty() {
        in_process::child(&args.child);
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new(args.only.clone(), args.pairs);
    in_process::run(&args.streams, &mut report);
    report.print(args.json);
    ExitCode::SUCCESS
}

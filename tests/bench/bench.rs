//! Measures the cost of streamwatch beside minimal baselines in the same run. Started by
//! `tests/bench/run`.

/// The worker's, for the baselines too.
#[path = "../../src/allocator.rs"]
mod allocator;
#[path = "../broker"]
mod broker {
    pub mod fixture;
}
mod in_process;
mod on_a_broker;
mod pairs;
mod report;

use std::process::ExitCode;

use clap::Parser;

use on_a_broker::Plan;
use report::Report;

/// Measures streamwatch beside bare baselines, in pairs, and prints ratios
///
/// Nothing is asserted: machines differ, and so do their moods.
#[derive(Parser)]
#[command(name = "tests/bench/run")]
struct Args {
    /// Only what needs no broker
    #[arg(long, conflicts_with = "on_a_broker")]
    in_process: bool,
    /// Only what needs one
    #[arg(long)]
    on_a_broker: bool,
    /// Numbers of active streams to measure at; on a broker the largest and the smallest
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "10000,100000,1000000"
    )]
    streams: Vec<usize>,
    /// Heartbeats in a log that is drained
    #[arg(long, value_name = "N", default_value_t = 300_000)]
    events: usize,
    /// Heartbeats behind the snapshot that a restart begins with
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    tail: usize,
    /// Pairs of measurements: medians are taken of so many
    #[arg(long, value_name = "N", default_value_t = 5)]
    pairs: usize,
    /// Only measures whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Cargo passes this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
    /// One part of a measurement, as a process of its own
    #[arg(long, hide = true, value_name = "WHAT", num_args = 1..)]
    child: Vec<String>,
}

fn main() -> ExitCode {
    allocator::limit_resident_memory();
    let args = Args::parse();
    if let Some(what) = args.child.first() {
        if what.starts_with("bare-") {
            on_a_broker::child(&args.child);
        } else {
            in_process::child(&args.child);
        }
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new(args.only.clone(), args.pairs);
    if !args.on_a_broker {
        in_process::run(&args.streams, &mut report);
    }
    if !args.in_process {
        let plan = Plan::new(&args.streams, args.events, args.tail);
        on_a_broker::run(&plan, &mut report);
    }
    report.print(args.json);
    ExitCode::SUCCESS
}

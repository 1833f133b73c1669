//! Measures the cost of streamwatch, compared with minimal baselines in the same run. Started by
//! `tests/bench/run`.

/// The worker's allocator, for the baselines too.
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

/// Measures streamwatch and minimal baselines in pairs, and prints ratios
///
/// Nothing is asserted, since machines and their load differ.
#[derive(Parser)]
#[command(name = "tests/bench/run")]
struct Args {
    /// Only measurements without a broker
    #[arg(long, conflicts_with = "on_a_broker")]
    in_process: bool,
    /// Only measurements with a broker
    #[arg(long)]
    on_a_broker: bool,
    /// Numbers of active streams; with a broker, only the largest and the smallest
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "10000,100000,1000000"
    )]
    streams: Vec<usize>,
    /// Heartbeats in a drained log; a log of batches contains ten times as many
    #[arg(long, value_name = "N", default_value_t = 300_000)]
    events: usize,
    /// Heartbeats after the snapshot of a restart
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    tail: usize,
    /// Pairs of each measurement, of which medians are taken
    #[arg(long, value_name = "N", default_value_t = 5)]
    pairs: usize,
    /// Only measurements whose name contains this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Ignored; cargo passes it to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
    /// Run one part of a measurement in its own process
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

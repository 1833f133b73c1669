//! The soak: viewers with real timing, a hostile player, one fault after another, and a client that
//! compares all replies with the viewers' streams. Started by `tests/soak`.

#[path = ".."]
mod broker {
    pub mod fixture;
}
mod checker;
mod counters;
mod faults;
mod follower;
mod hostile;
mod ledger;
mod lifecycle;
mod log_time;
mod logs;
mod messages;
mod report;
mod run;
mod skipped;
mod targets;
mod viewers;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use broker::fixture::{Broker, Cluster};
use run::Plan;
use targets::Nodes;

/// Run viewers with real timing, a hostile player and one fault every 10 s, and check all replies
///
/// Exits with 1 if a promise was broken.
#[derive(Parser)]
#[command(name = "tests/soak")]
struct Args {
    /// Duration of the faults; the run takes some minutes more
    #[arg(long, value_name = "N")]
    minutes: f64,
    /// Seed that repeats the choices of faults and viewers [default: a random one]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of viewers, three per account [default: 2000, with --cluster 300]
    #[arg(long, value_name = "N")]
    viewers: Option<usize>,
    /// Use a cluster of three nodes instead of one
    #[arg(long)]
    cluster: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    // `cargo test` also runs this program, which would take minutes.
    if !std::env::args().any(|argument| argument.starts_with("--minutes") || argument == "--help") {
        println!("run it with tests/soak");
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    let random = || uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000;
    let viewers = args
        .viewers
        .unwrap_or(if args.cluster { 300 } else { 2_000 });
    let plan = Plan {
        seconds: args.minutes * 60.0,
        seed: args.seed.unwrap_or_else(random),
        viewers,
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let report = runtime.block_on(async {
        if args.cluster {
            let cluster = Cluster::start().await;
            let nodes = Nodes {
                nodes: &cluster.nodes,
                all: &cluster.all,
            };
            run::run(&plan, nodes).await
        } else {
            let nodes = [Broker::start().await];
            let nodes = Nodes {
                nodes: &nodes,
                all: &nodes[0],
            };
            run::run(&plan, nodes).await
        }
    });
    if args.json {
        println!("{}", report.json(plan.seed));
    } else {
        print!("{}", report.text());
    }
    if report.kept() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

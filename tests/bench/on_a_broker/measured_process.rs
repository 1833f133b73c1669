//! A measured process, which logs its progress with times.
//!
//! Both sides log "attached to the log" and "consuming requests" with a time in microseconds. Their
//! CPU time is read from outside when the line appears, at most some milliseconds late.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::broker::fixture::{Broker, Process, Worker};

/// Interval of checks for a line.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longest wait for a line.
const PATIENCE: Duration = Duration::from_secs(600);

pub const ATTACHED: &str = "attached to the log";
pub const TAKING: &str = "consuming requests";

/// A process under measurement.
pub trait MeasuredProcess {
    fn pid(&self) -> u32;
    /// The log of the process.
    fn log(&self) -> String;
    /// CPU time, in seconds.
    fn cpu(&self) -> f64 {
        cpu(self.pid())
    }
}

impl MeasuredProcess for Worker {
    fn pid(&self) -> u32 {
        self.probe().pid
    }

    fn log(&self) -> String {
        self.stderr()
    }
}

impl MeasuredProcess for Process {
    fn pid(&self) -> u32 {
        Self::pid(self)
    }

    fn log(&self) -> String {
        self.stderr()
    }
}

/// The time and the CPU time at a line of the log.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The wall clock, in seconds.
    pub at: f64,
    /// CPU time, in seconds.
    pub cpu: f64,
    /// The line of the log.
    pub line: Value,
}

/// Starts a worker with a JSON log.
pub fn worker(broker: &Broker, namespace: &str) -> Worker {
    let environment = [("STREAMWATCH_LOG_FORMAT", "json")];
    Worker::start_with(broker, namespace, &[], &environment)
}

/// Starts a part of this program in its own process.
pub fn bare(broker: &Broker, arguments: &[&str]) -> Process {
    let program = std::env::current_exe().expect("this program");
    let arguments = [&["--child"], arguments].concat();
    Process::of(
        Path::new(&program),
        &[("AMQP_URL", broker.url())],
        &arguments,
    )
}

/// Waits until the process logs `message` for the `n`th time.
pub async fn moment(process: &impl MeasuredProcess, message: &str, n: usize) -> Moment {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(line) = lines(&process.log(), message).into_iter().nth(n - 1) {
            let cpu = process.cpu();
            return Moment {
                at: at(&line),
                cpu,
                line,
            };
        }
        assert!(
            is_running(process.pid()) && Instant::now() < end,
            "it never logged {message:?}: {}",
            process.log()
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// All lines with this message.
pub fn lines(log: &str, message: &str) -> Vec<Value> {
    // The last line may be incomplete.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let lines = whole.lines().filter(|line| line.contains(message));
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

/// The wall clock of a line, in seconds.
pub fn at(line: &Value) -> f64 {
    let stamp = line["timestamp"].as_str().expect("a line has its time");
    let stamp: jiff::Timestamp = stamp.parse().expect("a time");
    stamp.as_microsecond() as f64 / 1e6
}

/// The present wall clock, in seconds.
pub fn now() -> f64 {
    stamp().as_microsecond() as f64 / 1e6
}

#[allow(
    clippy::disallowed_methods,
    reason = "it is compared with the times of other processes' lines"
)]
pub fn stamp() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// CPU time of all threads of a process, in seconds.
pub fn cpu(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let ns: u64 = threads
        .filter_map(|thread| {
            let schedstat = std::fs::read_to_string(thread.ok()?.path().join("schedstat"));
            schedstat.ok()?.split(' ').next()?.parse::<u64>().ok()
        })
        .sum();
    if ns > 0 {
        return ns as f64 / 1e9;
    }
    // Without it, the kernel counts ticks of 10 ms.
    let fields = stat(pid).expect("it runs");
    let ticks: u64 = fields[11..13]
        .iter()
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    ticks as f64 / 100.0
}

fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

/// The fields of `/proc/PID/stat`, from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit_once(") ")?.1;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// The resident memory of a process, in bytes.
pub fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.expect("a size") as f64 * 1_024.0
}

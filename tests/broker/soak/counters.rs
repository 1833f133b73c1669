//! Metrics of rejected messages.

use std::collections::BTreeMap;

use super::broker::fixture::Probe;
use super::targets::WORKERS;

/// A worker's metrics by name and labels.
pub type Series = BTreeMap<String, f64>;

/// Rejected log entries since the start of each log, equal on all replicas.
const ENTRIES: &str = "streamwatch_bad_entries_total";
/// Counters of each worker by itself, which begin at 0 when it starts.
const OF_WORKERS: [&str; 4] = [
    "streamwatch_bad_input_total",
    "streamwatch_intake_total",
    "streamwatch_replies_dropped_total",
    "streamwatch_requests_interrupted_total",
];

/// Sums over workers and partitions. Counts between the last scrape of a worker and its end are
/// missing.
#[derive(Debug, Default)]
pub struct Counted {
    last: [(u32, Series); WORKERS],
    sums: BTreeMap<String, f64>,
}

impl Counted {
    /// Adds the increments since the last scrape of the worker in that place.
    pub fn add(&mut self, place: usize, probe: Probe, series: Series) {
        let (pid, last) = &mut self.last[place];
        if *pid != probe.pid {
            (*pid, *last) = (probe.pid, Series::new());
        }
        for (name, value) in series {
            if OF_WORKERS.iter().any(|family| name.starts_with(family)) {
                let before = last.get(&name).copied().unwrap_or_default();
                *self.sums.entry(without_partition(&name)).or_default() += value - before;
                last.insert(name, value);
            }
        }
    }

    /// The sums above 0, by metric and labels.
    pub fn sums(&self) -> BTreeMap<String, u64> {
        let sums = self.sums.iter().filter(|(_, sum)| **sum > 0.0);
        sums.map(|(name, sum)| (name.clone(), *sum as u64))
            .collect()
    }
}

/// Rejected entries of all logs by code; `None` while the replicas of these workers disagree.
pub fn entries(workers: &[Series]) -> Option<BTreeMap<String, u64>> {
    let mut each = workers.iter().map(|series| {
        let entries = series.iter().filter(|(name, _)| name.starts_with(ENTRIES));
        entries.collect::<Vec<_>>()
    });
    let first = each.next()?;
    if first.is_empty() || each.any(|other| other != first) {
        return None;
    }
    let mut sums = BTreeMap::new();
    for (name, value) in first {
        let (_, code) = name.split_once("reason=\"")?;
        let code = code.split('"').next()?;
        *sums.entry(code.to_owned()).or_default() += *value as u64;
    }
    Some(sums)
}

/// The name of a series and its labels' values, except for the partition.
fn without_partition(series: &str) -> String {
    let name = series.trim_start_matches("streamwatch_");
    let Some((name, labels)) = name.split_once('{') else {
        return name.to_owned();
    };
    let labels = labels.trim_end_matches('}').split(',');
    let values = labels.filter(|label| !label.starts_with("partition="));
    let values = values.filter_map(|label| label.split('"').nth(1));
    std::iter::once(name)
        .chain(values)
        .collect::<Vec<_>>()
        .join(" ")
}

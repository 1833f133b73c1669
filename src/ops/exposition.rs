//! The metrics of `/metrics` that are computed from the state at each scrape: contents and counters
//! of the replicas, and the health of the worker.
//!
//! They are not in the registry, because its series stay for ever. These disappear with the state:
//! a tenant without streams, a replica that is no longer fresh.

mod values;

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
};

use super::{
    figures::{Active, PartitionFigures, ReplicaContents},
    health::{Report, STALE_MS},
};
use crate::domain::{Counters, Durations, RefusedReason};

/// Label of all tenants without a series of their own. No tenant's name has parentheses.
pub(super) const OTHERS: &str = "(other)";

/// A page of metric families, each with help and type.
struct Exposition(String);

impl Exposition {
    /// Writes a gauge of the partitions that have a value.
    fn gauge<T, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        all: &Partitions<T>,
        value: impl Fn(&T) -> Option<V>,
    ) {
        self.family(name, "gauge", help);
        for (partition, of) in all {
            if let Some(value) = value(of) {
                self.value(name, &[("partition", partition)], value);
            }
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes one value. Labels need no escaping: they are numbers, fixed words and tenants' names.
    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (n, (label, of)) in labels.iter().enumerate() {
            let begin = if n == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{begin}{label}=\"{of}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}

/// Streams or accounts.
type Read = fn(&Active) -> u64;

/// A partition's label and its value.
type Partitions<T> = Vec<(String, T)>;

/// Renders the page. `reasons` has the names of the reasons of bad entries, by their number.
pub(super) fn render(
    report: &Report,
    figures: &BTreeMap<u16, PartitionFigures>,
    reasons: &[&str],
    now_ms: u64,
) -> String {
    let mut page = Exposition(String::with_capacity(16 * 1024));
    about_this_worker(&mut page, report);
    let all: Partitions<&PartitionFigures> = figures
        .iter()
        .map(|(partition, figures)| (format!("{partition:02}"), figures))
        .collect();
    age(&mut page, &all, now_ms);
    let fresh = |f: &PartitionFigures| now_ms.saturating_sub(f.reported_at_ms) <= STALE_MS;
    let held: Partitions<&ReplicaContents> = all
        .iter()
        .filter(|(_, f)| fresh(f))
        .filter_map(|(p, f)| Some((p.clone(), f.held.as_ref()?)))
        .collect();
    holds(&mut page, &held);
    let counters: Partitions<&Counters> = all
        .iter()
        .filter_map(|(p, f)| Some((p.clone(), f.counters.as_ref()?)))
        .collect();
    counted(&mut page, &counters, reasons);
    page.0
}

fn about_this_worker(page: &mut Exposition, report: &Report) {
    let name = "streamwatch_build_info";
    let help = "1, with the version of this worker's program.";
    page.family(name, "gauge", help);
    page.value(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);

    let name = "streamwatch_ready";
    let help = "1 if this worker's replica of the partition is connected, caught up and fresh, as on \
                /readyz: sum() over workers is the number of workers that answer.";
    page.family(name, "gauge", help);
    for p in &report.partitions {
        let partition = format!("{:02}", p.partition);
        page.value(name, &[("partition", &partition)], u8::from(p.ready));
    }
    if let Some(intake) = &report.intake {
        let name = "streamwatch_intake_ready";
        let help = "1 if this worker consumes the intake of messages without the header account: \
                    sum() over workers is the number that do.";
        page.family(name, "gauge", help);
        page.value(name, &[], u8::from(intake.ready));
    }
}

fn age(page: &mut Exposition, all: &Partitions<&PartitionFigures>, now_ms: u64) {
    let help = "Age of this replica's state: time since it appended its last marker that it has \
                read back. Grows while the log is unavailable. Absent before the first marker.";
    page.gauge("streamwatch_log_lag_seconds", help, all, |figures| {
        let at = figures.fresh_at_ms?;
        Some(seconds(now_ms.saturating_sub(at)))
    });
    let help = "Offset of the last log entry that this replica applied.";
    page.gauge("streamwatch_log_offset", help, all, |it| it.offset);
    let help = "The TTL in force: time after its last heartbeat until a stream expires. Equal on \
                every replica.";
    page.gauge("streamwatch_ttl_seconds", help, all, |it| {
        it.ttl_ms.map(seconds)
    });
}

fn holds(page: &mut Exposition, held: &Partitions<&ReplicaContents>) {
    let same = "Equal on every replica, absent if it is not fresh: max() over workers, then sum() \
                over partitions.";
    let of: [(_, _, Read); 2] = [
        ("streams", "Active streams.", |a| a.streams),
        ("accounts", "Accounts with an active stream.", |a| {
            a.accounts
        }),
    ];
    for (what, help, read) in of {
        let name = format!("streamwatch_active_{what}");
        let help = format!("{help} {same}");
        page.gauge(&name, &help, held, |it| Some(read(&it.active)));
    }
    let help = "Records of streams, active or not, bounded by --max-streams-per-partition.";
    let help = format!("{help} {same}");
    page.gauge("streamwatch_records", &help, held, |it| Some(it.records));
    let name = "streamwatch_concurrent_accounts";
    let help = format!("Accounts by number of active streams. {same}");
    page.family(name, "gauge", &help);
    for (partition, held) in held {
        for (n, accounts) in held.levels.iter().enumerate() {
            let streams = if n + 1 < held.levels.len() {
                (n + 1).to_string()
            } else {
                "more".to_owned()
            };
            let labels = [("partition", partition.as_str()), ("streams", &streams)];
            page.value(name, &labels, accounts);
        }
    }
    for (what, help, read) in of {
        let name = format!("streamwatch_tenant_active_{what}");
        let help = format!(
            "{help} By tenant: the {} with the most streams of each partition, all others as \
             {OTHERS}. Replicas may choose at different times: for a total use \
             streamwatch_active_{what}. {same}",
            super::figures::MAX_TENANTS
        );
        page.family(&name, "gauge", &help);
        for (partition, held) in held {
            let others = (OTHERS.to_owned(), held.others);
            for (tenant, active) in held.tenants.iter().chain([&others]) {
                let labels = [("partition", partition.as_str()), ("tenant", tenant)];
                page.value(&name, &labels, read(active));
            }
        }
    }
    values::by_value(page, held, same);
}

/// Help of families whose values belong to the log and not to a worker.
const OF_THE_LOG: &str = "Counted from the log's first entry on, also before this worker started, and \
    equal on every replica that has caught up: max() over workers, then sum() over partitions. A \
    restart does not reset it, so rate() counts nothing twice.";

fn counted(page: &mut Exposition, counters: &Partitions<&Counters>, reasons: &[&str]) {
    let name = "streamwatch_entries_total";
    let help = format!("Log entries by outcome. {OF_THE_LOG}");
    page.family(name, "counter", &help);
    for (partition, t) in counters {
        for (kind, outcome, count) in [
            ("heartbeat", "refreshed", t.refreshed),
            ("heartbeat", "started", t.started),
            ("heartbeat", "stopped", t.heartbeat_stopped),
            ("heartbeat", "dropped", t.dropped),
            ("stop", "ended", t.ended),
            ("stop", "unchanged", t.stop_unchanged),
            ("open", "opened", t.opened),
            ("open", "refused", t.refused),
            ("open", "late", t.late),
        ] {
            let labels = [
                ("partition", partition.as_str()),
                ("kind", kind),
                ("outcome", outcome),
            ];
            page.value(name, &labels, count);
        }
    }
    let name = "streamwatch_bad_entries_total";
    let help = format!("Log entries rejected as bad input, by error code. {OF_THE_LOG}");
    page.family(name, "counter", &help);
    for (partition, t) in counters {
        for (reason, count) in reasons.iter().zip(t.bad) {
            let labels = [("partition", partition.as_str()), ("reason", reason)];
            page.value(name, &labels, count);
        }
    }
    admissions(page, counters);
    durations(page, counters);
}

fn admissions(page: &mut Exposition, counters: &Partitions<&Counters>) {
    let name = "streamwatch_admissions_total";
    let help = format!(
        "Decisions on init. A repeated request is counted once if it was opened or refused, and \
         each time if it was late. {OF_THE_LOG}"
    );
    page.family(name, "counter", &help);
    for (partition, t) in counters {
        let mut value = |outcome, reason, count| {
            let labels = [
                ("partition", partition.as_str()),
                ("outcome", outcome),
                ("reason", reason),
            ];
            page.value(name, &labels, count);
        };
        value("opened", "", t.admitted);
        value("late", "", t.late);
        for (reason, count) in RefusedReason::ALL.into_iter().zip(t.refusals) {
            value("refused", reason.as_str(), count);
        }
    }
}

fn durations(page: &mut Exposition, counters: &Partitions<&Counters>) {
    let name = "streamwatch_stream_duration_seconds";
    let help = format!(
        "Duration of streams that have ended, by cause; of expired streams up to their last \
         heartbeat. {OF_THE_LOG}"
    );
    page.family(name, "histogram", &help);
    for (partition, t) in counters {
        for (cause, durations) in [
            ("stopped", &t.stopped),
            ("replaced", &t.replaced),
            ("expired", &t.expired),
        ] {
            let labels = [("partition", partition.as_str()), ("cause", cause)];
            let mut below = 0;
            let bounds = Durations::BOUNDS_S.iter().map(ToString::to_string);
            let bounds = bounds.chain(["+Inf".to_owned()]);
            for (bound, count) in bounds.zip(durations.counts) {
                below += count;
                let labels = [labels[0], labels[1], ("le", bound.as_str())];
                page.value(&format!("{name}_bucket"), &labels, below);
            }
            page.value(&format!("{name}_sum"), &labels, seconds(durations.sum_ms));
            page.value(&format!("{name}_count"), &labels, below);
        }
    }
}

/// Milliseconds as seconds, with three decimals.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::PartitionHealth;

    fn page(figures: PartitionFigures, now_ms: u64) -> String {
        let ready = PartitionHealth {
            partition: 3,
            ready: true,
            ..PartitionHealth::default()
        };
        let report = Report {
            partitions: vec![ready],
            ..Report::default()
        };
        render(
            &report,
            &BTreeMap::from([(3, figures)]),
            &["bad_json", "too_large"],
            now_ms,
        )
    }

    fn figures() -> PartitionFigures {
        let mut counters = Counters::default();
        counters.stopped.counts = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        counters.stopped.sum_ms = 1_234_567;
        counters.bad[1] = 9;
        let active = Active {
            streams: 5,
            accounts: 3,
        };
        PartitionFigures {
            counters: Some(counters),
            held: Some(ReplicaContents {
                active,
                records: 6,
                levels: vec![2, 0, 1],
                tenants: vec![("acme".to_owned(), active)],
                others: Active::default(),
                values: Vec::new(),
            }),
            offset: Some(77),
            ttl_ms: Some(90_000),
            fresh_at_ms: Some(8_500),
            reported_at_ms: 9_000,
        }
    }

    fn has(page: &str, line: &str) {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }

    #[test]
    fn the_figures_of_a_partition_are_written_with_its_labels() {
        let page = page(figures(), 10_000);
        for line in [
            "streamwatch_ready{partition=\"03\"} 1",
            "streamwatch_log_lag_seconds{partition=\"03\"} 1.500",
            "streamwatch_log_offset{partition=\"03\"} 77",
            "streamwatch_ttl_seconds{partition=\"03\"} 90.000",
            "streamwatch_active_streams{partition=\"03\"} 5",
            "streamwatch_records{partition=\"03\"} 6",
            "streamwatch_concurrent_accounts{partition=\"03\",streams=\"1\"} 2",
            "streamwatch_concurrent_accounts{partition=\"03\",streams=\"more\"} 1",
            "streamwatch_tenant_active_accounts{partition=\"03\",tenant=\"acme\"} 3",
            "streamwatch_tenant_active_streams{partition=\"03\",tenant=\"(other)\"} 0",
            "streamwatch_bad_entries_total{partition=\"03\",reason=\"too_large\"} 9",
            "streamwatch_stream_duration_seconds_bucket{partition=\"03\",cause=\"stopped\",le=\"604800\"} 1",
            "streamwatch_stream_duration_seconds_bucket{partition=\"03\",cause=\"stopped\",le=\"+Inf\"} 3",
            "streamwatch_stream_duration_seconds_count{partition=\"03\",cause=\"stopped\"} 3",
            "streamwatch_stream_duration_seconds_sum{partition=\"03\",cause=\"stopped\"} 1234.567",
        ] {
            has(&page, line);
        }
    }

    #[test]
    fn outdated_gauges_are_left_out_and_counters_stay() {
        let page = page(figures(), 9_001 + STALE_MS);
        assert!(!page.contains("streamwatch_active_streams{"), "{page}");
        has(&page, "streamwatch_log_offset{partition=\"03\"} 77");
        assert!(page.contains("streamwatch_entries_total{"), "{page}");
    }

    #[test]
    fn each_family_has_one_help_and_one_type() {
        let page = page(figures(), 10_000);
        let mut kinds: Vec<_> = page.lines().filter(|l| l.starts_with("# TYPE")).collect();
        let all = kinds.len();
        kinds.dedup();
        assert!(all >= 12 && kinds.len() == all, "{kinds:?}");
        let helps = page.lines().filter(|l| l.starts_with("# HELP")).count();
        assert_eq!(helps, all);
    }
}

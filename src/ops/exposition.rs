//! The part of `/metrics` that is read off the state at each scrape: what the partitions' replicas
//! hold and have counted, and how this worker is.
//!
//! A registry's handles can only be set and added to, and stay for ever. These come and go with
//! the state: a tenant that is gone, a replica that is not fresh any more.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
};

use super::{
    figures::{Active, Held, PartitionFigures},
    health::Report,
};
use crate::domain::{Durations, RefusedReason, Tally};

/// What all tenants that are not shown on their own are called: no tenant's name has parentheses.
const OTHERS: &str = "(other)";

/// A report older than this is not what is held now, in milliseconds.
const STALE_MS: u64 = 5_000;

/// Writes families one after another, each with its help and its type.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail; so everywhere here.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One value. No label of ours needs an escape: numbers, words of ours, tenants' names.
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

/// A partition's label and what it says.
type Partitions<T> = Vec<(String, T)>;

/// Writes it down. `reasons` are what those of bad entries are called, each in the place of its
/// number.
pub(super) fn render(
    report: &Report,
    figures: &BTreeMap<u16, PartitionFigures>,
    reasons: &[&str],
    now_ms: u64,
) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    about_this_worker(&mut page, report);
    let all: Partitions<&PartitionFigures> = figures
        .iter()
        .map(|(partition, figures)| (format!("{partition:02}"), figures))
        .collect();
    age(&mut page, &all, now_ms);
    let fresh = |f: &PartitionFigures| now_ms.saturating_sub(f.said_at_ms) <= STALE_MS;
    let held: Partitions<&Held> = all
        .iter()
        .filter(|(_, f)| fresh(f))
        .filter_map(|(p, f)| Some((p.clone(), f.held.as_ref()?)))
        .collect();
    holds(&mut page, &held);
    let tallies: Partitions<&Tally> = all
        .iter()
        .filter_map(|(p, f)| Some((p.clone(), f.tally.as_ref()?)))
        .collect();
    counted(&mut page, &tallies, reasons);
    page.0
}

fn about_this_worker(page: &mut Page, report: &Report) {
    let name = "streamwatch_build_info";
    let help = "1, with the version of this worker's program.";
    page.family(name, "gauge", help);
    page.value(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);

    let name = "streamwatch_ready";
    let help = "1 where this worker's replica of the partition is connected, caught up and fresh, as \
                /readyz says: sum() over workers is how many answer.";
    page.family(name, "gauge", help);
    for p in &report.partitions {
        let partition = format!("{:02}", p.partition);
        page.value(name, &[("partition", &partition)], u8::from(p.health.ready));
    }
    if let Some(intake) = &report.intake {
        let name = "streamwatch_intake_ready";
        let help = "1 where this worker serves the intake, which messages without the header \
                    account come by: sum() over workers is how many do.";
        page.family(name, "gauge", help);
        page.value(name, &[], u8::from(intake.ready));
    }
}

fn age(page: &mut Page, all: &Partitions<&PartitionFigures>, now_ms: u64) {
    let name = "streamwatch_log_lag_seconds";
    let help = "Age of this replica's state: when its last mark that came back from the log was \
                written. It grows while the log is away. Absent until one has come back.";
    page.family(name, "gauge", help);
    for (partition, figures) in all {
        if let Some(at) = figures.fresh_at_ms {
            let seconds = seconds(now_ms.saturating_sub(at));
            page.value(name, &[("partition", partition)], seconds);
        }
    }
    let name = "streamwatch_log_offset";
    let help = "Offset of the last log entry that this replica applied.";
    page.family(name, "gauge", help);
    for (partition, figures) in all {
        if let Some(offset) = figures.offset {
            page.value(name, &[("partition", partition)], offset);
        }
    }
    let name = "streamwatch_ttl_seconds";
    let help = "How long a stream counts after its last sign of life, by the settings in force: the \
                same on every replica.";
    page.family(name, "gauge", help);
    for (partition, figures) in all {
        if let Some(ttl_ms) = figures.ttl_ms {
            page.value(name, &[("partition", partition)], seconds(ttl_ms));
        }
    }
}

fn holds(page: &mut Page, held: &Partitions<&Held>) {
    let same = "The same on every replica, absent where it is not fresh: max() over workers, then \
                sum() over partitions.";
    let of: [(_, _, Read); 2] = [
        ("streams", "Active streams.", |a| a.streams),
        ("accounts", "Accounts with an active stream.", |a| {
            a.accounts
        }),
    ];
    for (what, help, read) in of {
        let name = format!("streamwatch_active_{what}");
        page.family(&name, "gauge", &format!("{help} {same}"));
        for (partition, held) in held {
            page.value(&name, &[("partition", partition)], read(&held.active));
        }
    }
    let name = "streamwatch_records";
    let help =
        "Streams that are remembered, active or not: what --max-streams-per-partition bounds.";
    page.family(name, "gauge", &format!("{help} {same}"));
    for (partition, held) in held {
        page.value(name, &[("partition", partition)], held.records);
    }
    let name = "streamwatch_concurrent_accounts";
    let help = format!("Accounts by how many active streams they have now. {same}");
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
             {OTHERS}. Replicas may choose at different moments: for a total take \
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
}

/// What a family says whose numbers belong to the log and not to a worker.
const OF_THE_LOG: &str = "Counted from the log's first entry on, with what was applied before this \
    worker began, and the same on every replica that has caught up: max() over workers, then sum() \
    over partitions; no restart of a worker changes that, so rate() counts nothing twice.";

fn counted(page: &mut Page, tallies: &Partitions<&Tally>, reasons: &[&str]) {
    let name = "streamwatch_entries_total";
    let help = format!("Log entries by what became of them. {OF_THE_LOG}");
    page.family(name, "counter", &help);
    for (partition, t) in tallies {
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
    let help = format!("Log entries refused as bad input, by the error code. {OF_THE_LOG}");
    page.family(name, "counter", &help);
    for (partition, t) in tallies {
        for (reason, count) in reasons.iter().zip(t.bad) {
            let labels = [("partition", partition.as_str()), ("reason", reason)];
            page.value(name, &labels, count);
        }
    }
    admissions(page, tallies);
    durations(page, tallies);
}

fn admissions(page: &mut Page, tallies: &Partitions<&Tally>) {
    let name = "streamwatch_admissions_total";
    let help = format!(
        "Requests to open a stream by what was decided, each stream opened or request refused once \
         however often it is repeated; late ones by proposal. {OF_THE_LOG}"
    );
    page.family(name, "counter", &help);
    for (partition, t) in tallies {
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
            value("refused", word(reason), count);
        }
    }
}

fn durations(page: &mut Page, tallies: &Partitions<&Tally>) {
    let name = "streamwatch_stream_duration_seconds";
    let help = format!(
        "How long streams had played when they ended, by what ended them; expired ones up to their \
         last sign of life. {OF_THE_LOG}"
    );
    page.family(name, "histogram", &help);
    for (partition, t) in tallies {
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

const fn word(reason: RefusedReason) -> &'static str {
    match reason {
        RefusedReason::MaxActive => "max_active",
        RefusedReason::AccountCap => "account_cap",
        RefusedReason::OverCapacity => "over_capacity",
        RefusedReason::Stopped => "stopped",
    }
}

/// Milliseconds as seconds, with three decimals.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Numbered, PartitionHealth};

    fn page(figures: PartitionFigures, now_ms: u64) -> String {
        let ready = PartitionHealth {
            ready: true,
            ..PartitionHealth::default()
        };
        let report = Report {
            partitions: vec![Numbered {
                partition: 3,
                health: ready,
            }],
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
        let mut tally = Tally::default();
        tally.stopped.counts = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        tally.stopped.sum_ms = 1_234_567;
        tally.bad[1] = 9;
        let active = Active {
            streams: 5,
            accounts: 3,
        };
        PartitionFigures {
            tally: Some(tally),
            held: Some(Held {
                active,
                records: 6,
                levels: vec![2, 0, 1],
                tenants: vec![("acme".to_owned(), active)],
                others: Active::default(),
            }),
            offset: Some(77),
            ttl_ms: Some(90_000),
            fresh_at_ms: Some(8_500),
            said_at_ms: 9_000,
        }
    }

    fn has(page: &str, line: &str) {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }

    #[test]
    fn what_a_partition_says_is_written_with_its_labels() {
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
    fn what_is_held_is_not_shown_when_it_may_be_old_and_what_was_counted_stays() {
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

//! The `/metrics` page of one worker.

use std::collections::BTreeMap;

use super::scrape::{Sample, samples};

/// Longest accepted name of a tenant, in characters.
const LONGEST: usize = 64;

words! {
    /// A counter whose rate is shown: of the log, equal on every replica that has caught up, or of a
    /// worker's own actions. Its word is the name of the rate.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Counter {
        Heartbeats = "heartbeats",
        Opened = "opened",
        Refused = "refused",
        Stopped = "stopped",
        Replaced = "replaced",
        Expired = "expired",
        InitAnswered = "init_answered",
        StatusAnswered = "status_answered",
        /// Of both.
        BadInput = "bad_input",
    }
}

/// A number for each [`Counter`].
pub(super) type Counts<T> = [T; Counter::ALL.len()];

/// Streams and accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Active {
    pub(super) streams: u64,
    pub(super) accounts: u64,
}

/// The contents of a replica, of a partition, or of all partitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// Absent if no replica is fresh.
    pub(super) active: Option<Active>,
    pub(super) records: u64,
    /// Number of accounts by number of streams: 1, 2, … and `more`.
    pub(super) levels: BTreeMap<String, u64>,
    pub(super) tenants: BTreeMap<String, Active>,
    /// Streams by tenant, metadata key and value.
    pub(super) values: BTreeMap<(String, String, String), u64>,
}

impl Contents {
    /// Combines each figure with the one of `other`: the larger of two replicas, which are equal,
    /// or the sum of two partitions.
    pub(super) fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        let both = |a: Active, b: Active| Active {
            streams: with(a.streams, b.streams),
            accounts: with(a.accounts, b.accounts),
        };
        if let Some(active) = other.active {
            self.active = Some(both(self.active.unwrap_or_default(), active));
        }
        self.records = with(self.records, other.records);
        combine(&mut self.levels, &other.levels, with);
        combine(&mut self.tenants, &other.tenants, both);
        combine(&mut self.values, &other.values, with);
    }

    fn tenant(&mut self, sample: &Sample<'_>) -> &mut Active {
        let tenant = name(sample.label("tenant"));
        self.tenants.entry(tenant).or_default()
    }
}

fn combine<K: Clone + Ord, V: Copy + Default>(
    all: &mut BTreeMap<K, V>,
    others: &BTreeMap<K, V>,
    with: impl Fn(V, V) -> V,
) {
    for (key, other) in others {
        let value = all.entry(key.clone()).or_default();
        *value = with(*value, *other);
    }
}

/// One worker's replica of one partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ReplicaMetrics {
    pub(super) ready: bool,
    pub(super) leads: bool,
    pub(super) lag_ms: Option<u64>,
    pub(super) offset: Option<u64>,
    pub(super) ttl_ms: Option<u64>,
    pub(super) contents: Contents,
    /// Absent until the replica has caught up.
    pub(super) counted: Option<Counts<u64>>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct WorkerMetrics {
    pub(super) version: String,
    pub(super) replicas: BTreeMap<u16, ReplicaMetrics>,
    pub(super) counted: Counts<u64>,
}

impl WorkerMetrics {
    /// Reads a page; `None` where it is not a worker's.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut page = Self::default();
        let mut is_workers = false;
        for sample in samples(text) {
            if sample.name == "streamwatch_build_info" {
                is_workers = true;
                page.version = name(sample.label("version"));
            } else if sample.name.starts_with("streamwatch_") {
                page.note(&sample);
            }
        }
        is_workers.then_some(page)
    }

    fn note(&mut self, sample: &Sample<'_>) {
        match sample.name {
            "streamwatch_requests_total" if sample.label("outcome") == "answered" => {
                match sample.label("kind") {
                    "init" => self.count(Counter::InitAnswered, sample),
                    "status" => self.count(Counter::StatusAnswered, sample),
                    _ => {}
                }
            }
            "streamwatch_bad_input_total" => self.count(Counter::BadInput, sample),
            _ => {
                if let Ok(partition) = sample.label("partition").parse() {
                    self.replicas.entry(partition).or_default().note(sample);
                }
            }
        }
    }

    fn count(&mut self, what: Counter, sample: &Sample<'_>) {
        let counted = &mut self.counted[what as usize];
        *counted = counted.saturating_add(sample.whole().unwrap_or(0));
    }
}

impl ReplicaMetrics {
    fn note(&mut self, sample: &Sample<'_>) {
        let whole = sample.whole();
        let count = whole.unwrap_or(0);
        let held = &mut self.contents;
        match sample.name {
            "streamwatch_ready" => self.ready = whole == Some(1),
            "streamwatch_leader" => self.leads = whole == Some(1),
            "streamwatch_log_lag_seconds" => self.lag_ms = sample.seconds_as_ms(),
            "streamwatch_log_offset" => self.offset = whole,
            "streamwatch_ttl_seconds" => self.ttl_ms = sample.seconds_as_ms(),
            "streamwatch_active_streams" => {
                held.active.get_or_insert_default().streams = count;
            }
            "streamwatch_active_accounts" => {
                held.active.get_or_insert_default().accounts = count;
            }
            "streamwatch_records" => held.records = count,
            "streamwatch_concurrent_accounts" => {
                held.levels.insert(name(sample.label("streams")), count);
            }
            "streamwatch_tenant_active_streams" => {
                held.tenant(sample).streams = count;
            }
            "streamwatch_tenant_active_streams_by" => {
                let of = ["tenant", "key", "value"].map(|label| name(sample.label(label)));
                *held.values.entry(of.into()).or_default() += count;
            }
            "streamwatch_tenant_active_accounts" => {
                held.tenant(sample).accounts = count;
            }
            "streamwatch_entries_total" if sample.label("kind") == "heartbeat" => {
                self.count(Counter::Heartbeats, sample);
            }
            "streamwatch_bad_entries_total" => self.count(Counter::BadInput, sample),
            "streamwatch_admissions_total" => {
                let outcome = Counter::from_word(sample.label("outcome"));
                if let Some(of @ (Counter::Opened | Counter::Refused)) = outcome {
                    self.count(of, sample);
                }
            }
            "streamwatch_stream_duration_seconds_count" => {
                let cause = Counter::from_word(sample.label("cause"));
                if let Some(of @ (Counter::Stopped | Counter::Replaced | Counter::Expired)) = cause
                {
                    self.count(of, sample);
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, what: Counter, sample: &Sample<'_>) {
        let counted = &mut self.counted.get_or_insert_default()[what as usize];
        *counted = counted.saturating_add(sample.whole().unwrap_or(0));
    }
}

/// Shortens a name to a length that can be shown.
fn name(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A worker's page of partition 0.
    pub(in crate::cli::top) const PAGE: &str = r#"
# HELP streamwatch_requests_total Requests.
# TYPE streamwatch_requests_total counter
streamwatch_requests_total{partition="00",kind="init",outcome="answered"} 7
streamwatch_requests_total{partition="00",kind="status",outcome="answered"} 9
streamwatch_requests_total{partition="00",kind="any",outcome="released"} 1
streamwatch_bad_input_total{source="init",reason="bad_json"} 2
streamwatch_bad_input_total{source="status",reason="bad_field"} 3
streamwatch_leader{partition="00"} 1
streamwatch_build_info{version="0.1.0"} 1
streamwatch_ready{partition="00"} 1
streamwatch_log_lag_seconds{partition="00"} 0.250
streamwatch_log_offset{partition="00"} 77
streamwatch_ttl_seconds{partition="00"} 90.000
streamwatch_active_streams{partition="00"} 5
streamwatch_active_accounts{partition="00"} 3
streamwatch_records{partition="00"} 6
streamwatch_concurrent_accounts{partition="00",streams="1"} 2
streamwatch_concurrent_accounts{partition="00",streams="3"} 1
streamwatch_tenant_active_streams{partition="00",tenant="acme"} 4
streamwatch_tenant_active_streams{partition="00",tenant="(other)"} 1
streamwatch_tenant_active_accounts{partition="00",tenant="acme"} 2
streamwatch_tenant_active_accounts{partition="00",tenant="(other)"} 1
streamwatch_entries_total{partition="00",kind="heartbeat",outcome="refreshed"} 100
streamwatch_entries_total{partition="00",kind="heartbeat",outcome="started"} 10
streamwatch_entries_total{partition="00",kind="stop",outcome="ended"} 4
streamwatch_bad_entries_total{partition="00",reason="bad_json"} 1
streamwatch_admissions_total{partition="00",outcome="opened",reason=""} 20
streamwatch_admissions_total{partition="00",outcome="refused",reason="max_active"} 2
streamwatch_admissions_total{partition="00",outcome="refused",reason="stopped"} 1
streamwatch_stream_duration_seconds_count{partition="00",cause="stopped"} 4
streamwatch_stream_duration_seconds_count{partition="00",cause="replaced"} 5
streamwatch_stream_duration_seconds_count{partition="00",cause="expired"} 6
"#;

    #[test]
    fn a_workers_page_is_read() {
        let page = WorkerMetrics::read(PAGE).unwrap();
        assert_eq!(page.version, "0.1.0");
        assert_eq!(page.counted, [0, 0, 0, 0, 0, 0, 7, 9, 5]);
        let replica = &page.replicas[&0];
        assert!(replica.ready && replica.leads);
        assert_eq!((replica.lag_ms, replica.offset), (Some(250), Some(77)));
        assert_eq!(replica.ttl_ms, Some(90_000));
        let active = |streams, accounts| Active { streams, accounts };
        let held = &replica.contents;
        assert_eq!(held.active, Some(active(5, 3)));
        assert_eq!(held.tenants["acme"], active(4, 2));
        assert_eq!(held.tenants["(other)"], active(1, 1));
        let levels = [("1".to_owned(), 2), ("3".to_owned(), 1)];
        assert_eq!(held.levels, levels.into());
        assert_eq!(replica.counted, Some([110, 20, 3, 4, 5, 6, 0, 0, 1]));
    }

    #[test]
    fn a_page_of_another_service_is_none() {
        assert_eq!(WorkerMetrics::read("go_goroutines 7\n"), None);
        assert_eq!(WorkerMetrics::read("<html>streamwatch</html>"), None);
    }

    #[test]
    fn a_replica_that_is_not_fresh_has_no_active_streams() {
        let page =
            "streamwatch_build_info{version=\"1\"} 1\nstreamwatch_ready{partition=\"07\"} 0\n";
        let replica = &WorkerMetrics::read(page).unwrap().replicas[&7];
        assert!(!replica.ready);
        assert_eq!((replica.contents.active, replica.counted), (None, None));
    }
}

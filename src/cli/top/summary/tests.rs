use std::time::Duration;

use serde_json::Value;

use super::{
    super::{
        state::{
            Round, State,
            tests::{NOW, event, key, status},
        },
        worker_metrics::{WorkerMetrics, tests::PAGE},
    },
    *,
};

/// The state after one round with these pages of the workers.
fn after(pages: &[Result<&str, &str>]) -> State {
    let urls = (0..pages.len()).map(|n| format!("http://w{n}:9419/metrics"));
    let mut state = State::new(urls.collect(), true);
    let pages = pages.iter().map(|page| match page {
        Ok(text) => Ok(WorkerMetrics::read(text).unwrap()),
        Err(error) => Err((*error).to_owned()),
    });
    let round = Round {
        listed: Vec::new(),
        pages: pages.collect(),
        answers: Vec::new(),
    };
    state.take(round, Duration::ZERO);
    state
}

fn summary(state: &State) -> Summary {
    Summary::new(state, NOW, 2_000)
}

#[test]
fn two_replicas_of_a_partition_are_not_added_up_and_two_partitions_are() {
    let other = PAGE.replace("partition=\"00\"", "partition=\"01\"");
    for (pages, times) in [
        (vec![Ok(PAGE)], 1),
        (vec![Ok(PAGE), Ok(PAGE)], 1),
        (vec![Ok(PAGE), Ok(other.as_str()), Ok(PAGE)], 2),
    ] {
        let summary = summary(&after(&pages));
        let totals = &summary.totals;
        assert_eq!(totals.streams, Some(5 * times), "{pages:?}");
        assert_eq!(
            (totals.accounts, totals.records),
            (Some(3 * times), Some(6 * times))
        );
        assert_eq!(totals.accounts_by_streams["1"], 2 * times);
        assert_eq!(totals.ttl_ms, Some(90_000));
        let acme = TenantRow {
            tenant: "acme".to_owned(),
            streams: 4 * times,
            accounts: 2 * times,
        };
        assert_eq!(summary.tenants[0], acme);
        assert_eq!(summary.answering(), pages.len());
    }
}

#[test]
fn rates_of_workers_are_added_up_and_rates_of_the_log_are_not() {
    let mut state = after(&[Ok(PAGE), Ok(PAGE)]);
    let later = PAGE
        .replace("outcome=\"refreshed\"} 100", "outcome=\"refreshed\"} 140")
        .replace(
            "kind=\"init\",outcome=\"answered\"} 7",
            "kind=\"init\",outcome=\"answered\"} 11",
        );
    let page = WorkerMetrics::read(&later).unwrap();
    let round = Round {
        listed: Vec::new(),
        pages: vec![Ok(page.clone()), Ok(page)],
        answers: Vec::new(),
    };
    state.take(round, Duration::from_secs(2));
    let summary = summary(&state);
    let per_second = summary.per_second.0;
    assert_eq!(per_second[Counter::Heartbeats as usize], Some(20.0));
    assert_eq!(per_second[Counter::InitAnswered as usize], Some(4.0));
    assert_eq!(per_second[Counter::Expired as usize], Some(0.0));
    assert_eq!(summary.partitions[0].heartbeats_per_second, Some(20.0));
}

#[test]
fn a_partition_shows_each_of_its_replicas() {
    let behind = PAGE
        .replace(
            "lag_seconds{partition=\"00\"} 0.250",
            "lag_seconds{partition=\"00\"} 12.500",
        )
        .replace("leader{partition=\"00\"} 1", "leader{partition=\"00\"} 0")
        .replace("ready{partition=\"00\"} 1", "ready{partition=\"00\"} 0");
    let summary = summary(&after(&[Ok(&behind), Err("gone"), Ok(PAGE)]));
    let row = &summary.partitions[0];
    assert_eq!((row.lag_ms, row.ready, row.leaders), (Some(250), 1, 1));
    let lags: Vec<_> = row
        .replicas
        .iter()
        .map(|it| (it.worker, it.lag_ms, it.ready))
        .collect();
    assert_eq!(lags, [(0, Some(12_500), false), (2, Some(250), true)]);
    assert_eq!(summary.problems, ["gone"]);
    assert_eq!(summary.answering(), 2);
}

#[test]
fn missing_figures_are_not_shown_as_zero() {
    let stale: String = PAGE
        .lines()
        .filter(|line| !line.contains("active_"))
        .collect::<Vec<_>>()
        .join("\n");
    let other = stale.replace("partition=\"00\"", "partition=\"01\"");
    let unknown = summary(&after(&[Ok(&stale)]));
    assert_eq!(
        (unknown.totals.streams, unknown.totals.partitions_missing),
        (None, 1)
    );
    let half = summary(&after(&[Ok(PAGE), Ok(&other)]));
    assert_eq!(
        (half.totals.streams, half.totals.partitions_missing),
        (Some(5), 1)
    );
    let none = summary(&after(&[Err("gone")]));
    let json = serde_json::to_value(&none).unwrap();
    assert_eq!(json["totals"]["streams"], Value::Null);
    assert_eq!(json["per_second"]["heartbeats"], Value::Null);
}

#[test]
fn json_has_the_account_in_the_format_of_replies() {
    let mut state = after(&[Ok(PAGE)]);
    state.subscribed(NOW);
    state.apply_event(&event("opened", "alice", 1), None, Duration::ZERO);
    state.open(Some(key("alice")));
    let request = state.requests().remove(0);
    let round = Round {
        listed: Vec::new(),
        pages: Vec::new(),
        answers: vec![(request, Ok(status("alice", 1)))],
    };
    state.take(round, Duration::ZERO);
    let json = serde_json::to_value(summary(&state)).unwrap();
    let activity = &json["account"]["activity"];
    assert_eq!(
        (&activity["account"], &activity["count"]),
        (&"alice".into(), &1.into())
    );
    assert_eq!(activity["streams"][0]["metadata"]["device"], "tv");
    assert_eq!(activity["by"]["device"]["tv"], 1);
    assert_eq!(json["accounts"]["largest"][0]["streams"], 1);
    assert_eq!(json["lifecycle"]["opened"], 1);
    assert_eq!(json["type"], "top");
}

#[test]
fn missing_figures_are_reported_with_a_remedy() {
    let alone = State::new(vec!["http://w0:9419/metrics".to_owned()], false);
    let problems = summary(&alone).problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("AMQP_URL is not set"));
}

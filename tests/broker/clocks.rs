//! Wrong clocks: publishers' clocks are ignored, and workers' clocks only appear in output.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use streamwatch::client::{Consistency, StreamId};

use crate::fixture::{
    Asker, Broker, Caller, Clock, Crowd, Folder, Habits, Installation, PATIENCE, Worker, account,
    eventually, heavy, playing, seconds, strong, tenant,
};

const HOUR_S: i64 = 3_600;

#[tokio::test]
async fn a_publisher_s_clock_has_no_effect() {
    let installation = Installation::declared(Broker::shared().await, "3s").await;
    let _worker = installation.ready_worker().await;
    let channel = installation.broker.confirming_channel().await;
    let mut streams = Vec::new();
    for wrong_s in [-HOUR_S, 0, HOUR_S] {
        let stream = StreamId::generate();
        streams.push(stream);
        let stamp = (seconds() + wrong_s).cast_unsigned();
        let mut headers = FieldTable::default();
        headers.insert("account".into(), AMQPValue::LongString("alice".into()));
        let stamp_ms = AMQPValue::LongLongInt((stamp * 1_000).cast_signed());
        headers.insert("timestamp_in_ms".into(), stamp_ms);
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_timestamp(stamp);
        let body =
            serde_json::json!({ "account": "alice", "stream": stream.to_string() }).to_string();
        let confirm = channel
            .basic_publish(
                installation.names().exchange().into(),
                "acme.heartbeat".into(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                properties,
            )
            .await
            .expect("it is written");
        assert!(confirm.await.expect("it is confirmed").is_ack());
    }
    let backend = installation.backend();
    let mut counted = playing(&backend, "alice").await;
    counted.sort_unstable();
    streams.sort_unstable();
    assert_eq!(counted, streams);
    eventually(PATIENCE, "they are gone one TTL later", async || {
        let playing = playing(&backend, "alice").await;
        playing.is_empty().then_some(()).ok_or(playing)
    })
    .await;
}

/// Checks which requests a worker of a new broker refuses by their time of arrival. The broker keeps
/// the time of a header that exists, so that the test can set it.
async fn refuses_late_requests(worker: impl AsyncFn(&Installation<'_>) -> Worker) {
    if Broker::version().await < (4, 0) {
        return;
    }
    let folder = Folder::new();
    let keeps = "message_interceptors.incoming.set_header_timestamp.overwrite = false\n";
    let configuration = folder.write("timestamps.conf", keeps);
    let broker = Broker::start_with(&["--config", &configuration]).await;
    let installation = Installation::declared(&broker, "30s").await;
    let mut worker = worker(&installation).await;
    worker.ready().await;
    let mut caller = Caller::new(&installation).await;
    let mut ask = async |kind, seconds_ago: i64| {
        let at_ms = (seconds() - seconds_ago) * 1_000;
        let headers = [("timestamp_in_ms", AMQPValue::LongLongInt(at_ms))];
        let reply = caller.ask(kind, "alice", headers).await;
        let reply: serde_json::Value = serde_json::from_slice(&reply.data).expect("JSON");
        let code = &reply["error"]["code"];
        code.as_str().unwrap_or("none").to_owned()
    };
    for (kind, seconds_ago, code) in [
        ("init", 18, "late"),
        ("status", 18, "late"),
        ("init", 12, "none"),
        ("status", 0, "none"),
        ("status", -HOUR_S, "none"),
    ] {
        assert_eq!(
            ask(kind, seconds_ago).await,
            code,
            "{kind}, {seconds_ago} s"
        );
    }
    let late = worker
        .metric("streamwatch_requests_total", r#"outcome="late""#)
        .await;
    assert_eq!(late, 2.0);
}

#[tokio::test]
async fn a_request_that_rabbitmq_received_more_than_15_s_ago_is_late() {
    refuses_late_requests(async |installation| installation.worker()).await;
}

#[tokio::test]
#[ignore = "it needs faketime: `tests/run --all`"]
async fn the_lateness_of_a_request_does_not_depend_on_the_worker_s_clock() {
    for offset in ["+1h", "-1h"] {
        let clock = Clock::wrong_by(offset);
        refuses_late_requests(async |installation| clock.worker(installation)).await;
    }
}

#[tokio::test]
async fn a_time_in_a_request_has_no_effect_if_rabbitmq_adds_none() {
    let installation = Installation::declared(Broker::shared().await, "30s").await;
    let _worker = installation.ready_worker().await;
    let mut caller = Caller::new(&installation).await;
    let long_ago = [("timestamp_in_ms", AMQPValue::LongLongInt(1))];
    let reply = caller.ask("init", "alice", long_ago).await;
    let reply: serde_json::Value = serde_json::from_slice(&reply.data).expect("JSON");
    assert_eq!(reply["type"], "opened", "{reply}");
}

#[tokio::test]
#[ignore = "it needs faketime: `tests/run --all`"]
async fn workers_with_wrong_and_stepped_wall_clocks_expire_no_stream_early_or_late() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, "3s").await;
    let clocks = ["+1h", "-1h"].map(Clock::wrong_by);
    let mut workers = clocks.each_ref().map(|clock| clock.worker(&installation));
    for worker in &mut workers {
        worker.ready().await;
    }
    let habits = Habits {
        accounts: 30,
        devices: 4,
        session: Duration::from_secs(4),
        crash_every: 3,
        gone_after: Duration::from_millis(3_000 + 4 * 150 + 1_500),
    };
    let crowd = Crowd::start(&installation, habits).await;
    // Times in replies are from the clock of a worker, which is wrong.
    let alice = account("alice");
    let shown = crowd.backend.status(&tenant(), &alice, &strong()).await;
    let shown_s = shown.expect("it is answered").activity.as_of.0 / 1_000;
    let wrong_s = (shown_s - seconds()).abs();
    assert!((wrong_s - HOUR_S).abs() < HOUR_S / 10, "{wrong_s} s");

    let patience = Duration::from_secs(12);
    let asker = Asker::start(
        installation.backend().with_patience(patience),
        &crowd.truth,
        Consistency::Strong,
        Duration::ZERO,
    );
    for (clock, offset) in [(0, "-2h"), (1, "+30d"), (0, "+0"), (1, "-1d")] {
        clocks[clock].step(offset);
        crowd.compare().await;
        // A stream that the clock step could expire would expire meanwhile.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let answers = asker.finish().await;
    assert_eq!(answers.mistakes, Vec::<String>::new());
    assert_eq!(answers.unanswered, 0, "{answers:?}");
    crowd.settle().await;
    crowd.compare().await;
    crowd.leave().await;
    for worker in &mut workers {
        assert!(worker.stop().await.success());
    }
}

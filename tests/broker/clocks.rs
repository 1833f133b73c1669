//! Wrong clocks: publishers' clocks are ignored, and workers' clocks only appear in output.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use streamwatch::client::{Consistency, StreamId};

use crate::fixture::{
    Asker, Broker, Crowd, Habits, Installation, PATIENCE, Worker, account, eventually, heavy,
    playing, strong, tenant,
};

const HOUR_S: i64 = 3_600;

#[allow(
    clippy::disallowed_methods,
    reason = "the test compares with the right time"
)]
fn seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .expect("it is later than 1970")
        .as_secs()
        .cast_signed()
}

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

/// A wall clock with the offset in a file.
struct Clock {
    file: PathBuf,
    library: String,
}

impl Clock {
    fn wrong_by(offset: &str) -> Self {
        let mut faketime = Command::new("faketime");
        let preloaded = faketime
            .args(["-f", "+0", "printenv", "LD_PRELOAD"])
            .output();
        let library = preloaded.expect("faketime is installed").stdout;
        let name = format!("streamwatch-test-clock-{}", uuid::Uuid::new_v4());
        let clock = Self {
            file: std::env::temp_dir().join(name),
            library: String::from_utf8_lossy(&library).trim().to_owned(),
        };
        clock.step(offset);
        clock
    }

    fn step(&self, offset: &str) {
        std::fs::write(&self.file, offset).expect("a temporary file can be written");
    }

    fn worker(&self, installation: &Installation<'_>) -> Worker {
        let environment = [
            ("LD_PRELOAD", self.library.as_str()),
            (
                "FAKETIME_TIMESTAMP_FILE",
                self.file.to_str().expect("letters"),
            ),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let namespace = &installation.namespace;
        Worker::start_with(installation.broker, namespace, &[], &environment)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

#[tokio::test]
#[ignore = "it needs faketime: `tests/run --all`"]
async fn workers_with_wrong_and_stepped_wall_clocks_expire_no_stream_early_or_late() {
    let _alone = heavy().await;
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

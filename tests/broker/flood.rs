//! Floods of invalid messages: each is counted, one line per second is logged, and none is quoted.

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use serde_json::Value;
use tokio::time::Instant;

use crate::fixture::{Broker, Installation, PATIENCE, Worker, eventually, heavy};

/// Number of messages of each kind.
const MESSAGES: usize = 2_000;
const SECRET: &str = "s3cr3t-payload";

async fn publish(channel: &Channel, installation: &Installation<'_>, kind: &str) {
    let body =
        format!("{{\"account\":\"{SECRET}\",\"stream\":\"{SECRET}\",\"metadata\":\"{SECRET}\"}}");
    let mut headers = FieldTable::default();
    headers.insert("account".into(), AMQPValue::LongString(SECRET.into()));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_message_id(SECRET.into())
        .with_correlation_id(SECRET.into());
    let mut sent = Vec::new();
    for _ in 0..MESSAGES {
        let publishing = channel.basic_publish(
            installation.names().exchange().into(),
            format!("acme.{kind}").into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties.clone(),
        );
        sent.push(publishing.await.expect("it is sent"));
    }
    for confirm in sent {
        confirm.await.expect("it is confirmed");
    }
}

#[tokio::test]
async fn a_flood_of_invalid_messages_is_counted_completely_and_logs_a_line_a_second() {
    heavy().await;
    let installation = Installation::declared(Broker::shared().await, "10m").await;
    let json = [("STREAMWATCH_LOG_FORMAT", "json")];
    let mut worker = Worker::start_with(installation.broker, &installation.namespace, &[], &json);
    worker.ready().await;
    let channel = installation.broker.confirming_channel().await;
    let began = Instant::now();
    for kind in ["heartbeat", "stop", "init", "status", "nonsense"] {
        publish(&channel, &installation, kind).await;
    }
    eventually(PATIENCE, "all are counted", async || {
        let of_the_log = worker.metric("streamwatch_bad_entries_total", "").await;
        let of_queues = worker.metric("streamwatch_bad_input_total", "").await;
        let counted = (of_the_log as usize, of_queues as usize);
        let all = (2 * MESSAGES, 3 * MESSAGES);
        if counted == all { Ok(()) } else { Err(counted) }
    })
    .await;
    let seconds = began.elapsed().as_secs() as usize + 1;

    let log = worker.stderr();
    let lines: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let warnings: Vec<_> = lines
        .iter()
        .filter(|line| line["level"] == "WARN")
        .collect();
    let suppressed: Vec<usize> = warnings
        .iter()
        .filter(|line| line["message"] == "rejected a message")
        .map(|line| line["suppressed"].as_u64().expect("a number") as usize)
        .collect();
    assert!(!suppressed.is_empty(), "no line was logged: {log}");
    assert!(
        suppressed.len() <= seconds + 1,
        "{} in {seconds} s",
        suppressed.len()
    );
    // Each line has the number of suppressed lines before it.
    let received = suppressed.len() + suppressed.iter().sum::<usize>();
    assert!(received <= 5 * MESSAGES, "{received}");
    assert!(
        !log.contains(SECRET),
        "the log quotes what was refused: {log}"
    );
    assert_eq!(
        warnings.len(),
        suppressed.len(),
        "no other line came of it: {log}"
    );
    let (_, page) = worker.get("/metrics").await.expect("it has metrics");
    assert!(
        !page.contains(SECRET),
        "the metrics quote rejected messages"
    );
}

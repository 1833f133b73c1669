//! RabbitMQ blocks publishing, or confirms nothing: the memory of a client, and the messages that
//! it sends afterwards.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use lapin::{
    BasicProperties, Confirmation,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use streamwatch::client::{Backend, ClientError, StreamId};

use crate::fixture::{Broker, Cluster, Installation, PATIENCE, eventually, heartbeat, heavy};

/// The heartbeats of 30 s at 3,400 per second.
const HEARTBEATS: usize = 102_000;
/// Concurrent senders. Each times out soon, and the next one follows.
const SENDERS: usize = 200;
const GIVES_UP_AFTER: Duration = Duration::from_millis(20);
/// Upper bound of a client's unconfirmed messages: 256 KiB, with more than 512 bytes for each.
const HANDED_OVER: u32 = 512;
/// Most additional memory of the client, in MB. Concurrent tests use some of it.
const FLAT_MB: f64 = 48.0;

fn resident_mb() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<f64>().ok());
    pages.expect("pages") * 4_096.0 / 1e6
}

/// The number of entries in the log, read up to a marker, since RabbitMQ's own count lags.
async fn entries(installation: &Installation<'_>) -> u32 {
    let end = StreamId::generate().to_string();
    let log = installation.names().log(0);
    let channel = installation.broker.confirming_channel().await;
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default();
    let published = channel.basic_publish(
        "".into(),
        log.as_str().into(),
        options,
        end.as_bytes(),
        properties,
    );
    let confirmed = published.await.expect("it is written").await;
    assert!(matches!(confirmed, Ok(Confirmation::Ack(None))));

    let qos = channel.basic_qos(100, BasicQosOptions::default());
    qos.await.expect("a prefetch");
    let mut from = FieldTable::default();
    from.insert(
        "x-stream-offset".into(),
        AMQPValue::LongString("first".into()),
    );
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(log.into(), "".into(), options, from);
    let mut consumer = consumer.await.expect("a consumer");
    let mut count = 0;
    loop {
        let entry = consumer.next().await.expect("an entry").expect("an entry");
        if entry.data == end.as_bytes() {
            return count;
        }
        count += 1;
        let acked = entry.ack(BasicAckOptions::default());
        acked.await.expect("it is acknowledged");
    }
}

/// Sends heartbeats whose senders all time out. Returns the number of those rejected by a full
/// backlog, those blocked, and those not sent for lack of confirms.
async fn send_in_vain(backend: &Backend) -> [usize; 3] {
    let hasty = backend.clone().with_patience(GIVES_UP_AFTER);
    let beats = (0..HEARTBEATS).map(|_| heartbeat(&hasty, "alice", StreamId::generate()));
    let outcomes = stream::iter(beats).buffer_unordered(SENDERS);
    let counted = outcomes.fold([0; 3], async |mut counted, outcome| {
        match outcome {
            Err(ClientError::Backlog) => counted[0] += 1,
            Err(ClientError::Blocked(_)) => counted[1] += 1,
            Err(ClientError::NotSent(_)) => counted[2] += 1,
            Err(ClientError::NotTaken(_) | ClientError::Broker(_)) => {}
            other => panic!("{other:?}"),
        }
        counted
    });
    counted.await
}

#[tokio::test]
async fn a_client_s_memory_is_bounded_during_an_alarm_and_it_sends_nothing_stale_after_it() {
    let _alone = heavy().await;
    let broker = Broker::start().await;
    let installation = Installation::declared(&broker, "10m").await;
    let backend = installation.backend().with_patience(PATIENCE);
    let stream = StreamId::generate();
    heartbeat(&backend, "alice", stream)
        .await
        .expect("confirmed");
    let before = entries(&installation).await;

    let alarm = "{resource_limit, memory, node()}";
    let raise = format!("rabbit_alarm:set_alarm({{{alarm}, []}}).");
    broker.ctl(&["eval", &raise]).await;
    let mb = resident_mb();
    let [_, blocked, _] = send_in_vain(&backend).await;
    let grown = resident_mb() - mb;
    let clear = format!("rabbit_alarm:clear_alarm({alarm}).");
    broker.ctl(&["eval", &clear]).await;

    heartbeat(&backend, "alice", stream)
        .await
        .expect("confirmed");
    // Without the marker of the first count, and the last heartbeat.
    let stale = entries(&installation).await - before - 2;
    eprintln!("{blocked} were blocked, {stale} were sent late; {grown:.1} MB more");
    assert!(blocked > HEARTBEATS * 9 / 10, "{blocked}");
    assert!(stale <= HANDED_OVER, "{stale}");
    assert!(grown < FLAT_MB, "{grown} MB");
}

#[tokio::test]
#[ignore = "a cluster of three: `tests/run --all`"]
async fn a_client_s_memory_is_bounded_while_a_log_has_no_majority_and_it_resumes_after_it() {
    let _alone = heavy().await;
    let cluster = Cluster::start().await;
    let installation = Installation::declared(&cluster.nodes[0], "10m").await;
    let log = installation.names().log(0);
    assert_eq!(cluster.replicas(&log).await, 3);
    cluster.sync_declarations().await;
    let backend = installation.backend().with_patience(PATIENCE);
    let stream = StreamId::generate();
    heartbeat(&backend, "alice", stream)
        .await
        .expect("confirmed");

    let (_, _) = tokio::join!(cluster.nodes[1].kill(), cluster.nodes[2].kill());
    eventually(PATIENCE, "the log confirms nothing", async || {
        let hasty = backend.clone().with_patience(Duration::from_secs(1));
        let outcome = heartbeat(&hasty, "alice", stream).await;
        outcome.is_err().then_some(()).ok_or("it does")
    })
    .await;
    let mb = resident_mb();
    let [_, _, unsent] = send_in_vain(&backend).await;
    let grown = resident_mb() - mb;
    eprintln!("{unsent} were not sent; {grown:.1} MB more");
    assert!(unsent > HEARTBEATS / 2, "{unsent}");
    assert!(grown < FLAT_MB, "{grown} MB");

    tokio::join!(
        cluster.nodes[1].start_again(),
        cluster.nodes[2].start_again()
    );
    eventually(2 * PATIENCE, "heartbeats are confirmed again", async || {
        heartbeat(&backend, "alice", stream).await
    })
    .await;
}

//! RabbitMQ blocks publishing, or confirms nothing: the memory of a client, and the messages that
//! it sends afterwards.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use lapin::{
    BasicProperties, Confirmation,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use streamwatch::client::{Backend, Client, ClientError, Names, StreamId};

use crate::fixture::{
    Broker, Cluster, Installation, PATIENCE, Process, eventually, heartbeat, heavy,
};

/// The heartbeats of 30 s at 3,400 per second.
const HEARTBEATS: usize = 102_000;
/// Concurrent senders. Each times out soon, and the next one follows.
const SENDERS: usize = 200;
const GIVES_UP_AFTER: Duration = Duration::from_millis(20);
/// Upper bound of a client's unconfirmed messages: 256 KiB, with more than 512 bytes for each.
const HANDED_OVER: u32 = 512;
/// Most additional memory of the client, in MB.
const FLAT_MB: f64 = 48.0;
/// The namespace of the sender's installation, whose broker is in `AMQP_URL`.
const NAMESPACE: &str = "STREAMWATCH_NAMESPACE";

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

/// The outcome of heartbeats whose senders all time out.
struct InVain {
    /// Heartbeats that were blocked, and those not sent for lack of confirms.
    blocked: usize,
    unsent: usize,
    /// Additional memory of the client, in MB.
    grown: f64,
}

/// Sends heartbeats whose senders all time out, from a process of their own: other tests of this
/// process use memory too.
async fn send_in_vain(installation: &Installation<'_>) -> InVain {
    let program = std::env::current_exe().expect("the tests' program");
    let sender = "overload::a_process_that_sends_in_vain";
    let mut process = Process::of(
        &program,
        &[
            ("AMQP_URL", installation.broker.url()),
            (NAMESPACE, &installation.namespace),
        ],
        &["--exact", sender, "--ignored", "--nocapture"],
    );
    assert!(process.ended().await.success());
    let output = process.stdout();
    let figures = output
        .lines()
        .find_map(|line| line.strip_prefix("in vain:"));
    let figures: Vec<_> = figures.expect("figures").split_whitespace().collect();
    let [blocked, unsent, grown] = figures[..] else {
        panic!("{figures:?}");
    };
    InVain {
        blocked: blocked.parse().expect("a number"),
        unsent: unsent.parse().expect("a number"),
        grown: grown.parse().expect("a number"),
    }
}

#[tokio::test]
#[ignore = "part of other tests"]
async fn a_process_that_sends_in_vain() {
    let Ok(namespace) = std::env::var(NAMESPACE) else {
        return;
    };
    let url = std::env::var("AMQP_URL").expect("the broker");
    let names = Names::new(&namespace).expect("a namespace");
    let client = Client::connect(url.parse().expect("an address"), names);
    let hasty = Backend::new(client).with_patience(GIVES_UP_AFTER);
    let mb = resident_mb();
    let beats = (0..HEARTBEATS).map(|_| heartbeat(&hasty, "alice", StreamId::generate()));
    let outcomes = stream::iter(beats).buffer_unordered(SENDERS);
    let counted = outcomes.fold([0; 2], async |mut counted, outcome| {
        match outcome {
            Err(ClientError::Blocked(_)) => counted[0] += 1,
            Err(ClientError::NotSent(_)) => counted[1] += 1,
            Err(ClientError::Backlog | ClientError::NotTaken(_) | ClientError::Broker(_)) => {}
            other => panic!("{other:?}"),
        }
        counted
    });
    let [blocked, unsent] = counted.await;
    println!("in vain: {blocked} {unsent} {}", resident_mb() - mb);
}

#[tokio::test]
async fn a_client_s_memory_is_bounded_during_an_alarm_and_it_sends_nothing_stale_after_it() {
    heavy().await;
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
    let InVain { blocked, grown, .. } = send_in_vain(&installation).await;
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
    heavy().await;
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
    let InVain { unsent, grown, .. } = send_in_vain(&installation).await;
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

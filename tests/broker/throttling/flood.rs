//! One tenant's flood beside another's questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use streamwatch::client::Tenant;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::{Outcome, ask, set};
use crate::fixture::{Broker, Installation, account, heavy, patient};

/// Connections of a flood.
const CONNECTIONS: usize = 3;
/// Unanswered requests of each, if the flood waits for replies.
const IN_FLIGHT: usize = 400;
/// Questions of another tenant, one every 10 ms.
const QUESTIONS: usize = 400;
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// The limit of each tenant.
const PER_SECOND: &str = "200";

#[tokio::test]
async fn a_flood_of_one_tenant_costs_another_no_replies() {
    answers_beside(Way::Waits).await;
}

/// RabbitMQ 4.3.6 and a worker on two busy cores answered all of 400 in each of four runs, beside 17,600
/// to 21,900 requests a second, at p50 36 to 116 ms: the worker's prefetch was exhausted, and requests
/// moved to the shared queue.
#[tokio::test]
#[ignore = "floods a broker beyond the rate of RabbitMQ and a worker: in the long tests alone"]
async fn a_flood_of_one_tenant_without_waits_costs_another_no_replies() {
    answers_beside(Way::Blind).await;
}

async fn answers_beside(way: Way) {
    heavy().await;
    for limited in [false, true] {
        // A broker of its own: a flood leaves requests behind.
        let broker = Broker::start().await;
        let installation = Installation::declared(&broker, "10m").await;
        if limited {
            set(&installation, &["--tenant-statuses-per-second", PER_SECOND]).await;
        }
        let _worker = installation.ready_worker().await;
        report("alone", &questions(&installation).await);
        let when = if limited { "with" } else { "without" };
        let waits = beside(way, &installation, &format!("{when} throttling")).await;
        assert!(!limited || waits.len() == QUESTIONS, "{way:?}");
    }
}

/// The questions beside a flood.
async fn beside(way: Way, installation: &Installation<'_>, when: &str) -> Vec<Duration> {
    let flood = Flood::start(way, installation).await;
    let waits = questions(installation).await;
    report(
        &format!("{when}, {way:?} ({})", flood.finish().await),
        &waits,
    );
    waits
}

/// Questions of one tenant at a constant rate: the time to the reply of each, in order.
async fn questions(installation: &Installation<'_>) -> Vec<Duration> {
    let backend = patient(&installation.backend());
    let mut timer = interval(Duration::from_millis(10));
    let mut questions = JoinSet::new();
    for _ in 0..QUESTIONS {
        timer.tick().await;
        let backend = backend.clone();
        questions.spawn(async move {
            let quiet = Tenant::new("quiet").expect("letters");
            let asked = Instant::now();
            let outcome = ask(&backend, &quiet, &account("alice")).await;
            (outcome == Outcome::Answered).then(|| asked.elapsed())
        });
    }
    let mut waits: Vec<_> = questions.join_all().await.into_iter().flatten().collect();
    waits.sort_unstable();
    waits
}

fn report(when: &str, waits: &[Duration]) {
    let at = |part: usize| waits.get(QUESTIONS * part / 100);
    let (p50, p99, answered) = (at(50), at(99), waits.len());
    eprintln!("{when}: p50 {p50:?}, p99 {p99:?}, {answered} of {QUESTIONS} answered");
}

/// How a flood sends its requests.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Each connection has a number of unanswered requests.
    Waits,
    /// As fast as RabbitMQ reads, whatever the replies.
    Blind,
}

/// Numbers of requests and replies of a flood.
#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    answered: AtomicU64,
    throttled: AtomicU64,
    stop: AtomicBool,
}

/// Requests of the tenant `flood` from three connections.
struct Flood {
    counts: Arc<Counts>,
    tasks: JoinSet<()>,
    began: Instant,
}

impl Flood {
    async fn start(way: Way, installation: &Installation<'_>) -> Self {
        let counts = Arc::new(Counts::default());
        let mut tasks = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let counts = Arc::clone(&counts);
            match way {
                Way::Waits => {
                    let backend = installation.backend();
                    tasks.spawn(async move {
                        let flood = Tenant::new("flood").expect("letters");
                        let account = account("mallory");
                        let asked = stream::repeat(()).map(|()| {
                            counts.sent.fetch_add(1, Ordering::Relaxed);
                            ask(&backend, &flood, &account)
                        });
                        let mut outcomes = asked.buffer_unordered(IN_FLIGHT);
                        while let Some(outcome) = outcomes.next().await
                            && !counts.stop.load(Ordering::Relaxed)
                        {
                            match outcome {
                                Outcome::Answered => {
                                    counts.answered.fetch_add(1, Ordering::Relaxed)
                                }
                                Outcome::Throttled(_) => {
                                    counts.throttled.fetch_add(1, Ordering::Relaxed)
                                }
                                Outcome::Silent => 0,
                            };
                        }
                    });
                }
                Way::Blind => {
                    let channel = installation.broker.channel().await;
                    let options = BasicConsumeOptions {
                        no_ack: true,
                        ..BasicConsumeOptions::default()
                    };
                    let none = FieldTable::default();
                    let replies = channel.basic_consume(REPLY_TO.into(), "".into(), options, none);
                    let mut replies = replies.await.expect("replies can be consumed");
                    let counted = Arc::clone(&counts);
                    tasks.spawn(async move {
                        while let Some(Ok(reply)) = replies.next().await {
                            let kind = reply.properties.kind().as_ref();
                            match kind.map(lapin::types::ShortString::as_str) {
                                Some("error") => counted.throttled.fetch_add(1, Ordering::Relaxed),
                                _ => counted.answered.fetch_add(1, Ordering::Relaxed),
                            };
                        }
                    });
                    let exchange = installation.names().exchange().to_owned();
                    tasks.spawn(blind(channel, exchange, counts));
                }
            }
        }
        Self {
            counts,
            tasks,
            began: Instant::now(),
        }
    }

    async fn finish(self) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let Self {
            counts, mut tasks, ..
        } = self;
        let rate = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / seconds;
        let (sent, answered) = (rate(&counts.sent), rate(&counts.answered));
        let throttled = rate(&counts.throttled);
        counts.stop.store(true, Ordering::Relaxed);
        tasks.shutdown().await;
        format!(
            "a second: {sent:.0} sent, {answered:.0} answered, {throttled:.0} throttled replies"
        )
    }
}

async fn blind(channel: Channel, exchange: String, counts: Arc<Counts>) {
    let mut headers = FieldTable::default();
    headers.insert("account".into(), AMQPValue::LongString("mallory".into()));
    let properties = BasicProperties::default()
        .with_reply_to(REPLY_TO.into())
        .with_correlation_id("1".into())
        .with_headers(headers);
    while !counts.stop.load(Ordering::Relaxed) {
        let sent = channel.basic_publish(
            exchange.as_str().into(),
            "flood.status".into(),
            BasicPublishOptions::default(),
            br#"{"account":"mallory"}"#,
            properties.clone(),
        );
        sent.await.expect("it is sent");
        counts.sent.fetch_add(1, Ordering::Relaxed);
    }
}

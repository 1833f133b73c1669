//! Batches. A log is drained by a worker, by a consumer that reads only offsets, and by one that
//! parses each batch with serde. Batches are published with a worker that applies them, and without
//! any reader.

use tokio::time::Instant;

use super::Plan;
use super::drained::{Drained, by_consumer, by_worker};
use super::filled::{Filled, batches};
use super::filling::{BATCH, publish_only};
use crate::broker::fixture::{Broker, PATIENCE, Worker, eventually};
use crate::pairs::Pairs;
use crate::report::{Report, Target};

fn names(plan: &Plan) -> [String; 4] {
    let (size, events) = (BATCH.events, plan.batched);
    [
        format!("batches of {size} drained / parsed, {events} events"),
        format!("CPU per event, batches drained / parsed, {events} events"),
        format!("batches of {size} drained, {events} events"),
        format!("batches of {size} published and applied, {events} events"),
    ]
}

pub fn wants(plan: &Plan, report: &Report) -> bool {
    names(plan).iter().any(|name| report.wants(name))
}

pub async fn run(broker: &Broker, plan: &Plan, report: &mut Report) {
    let filled = Filled::with_batches(broker, plan, BATCH).await;
    let messages = plan.batched.div_ceil(BATCH.events);
    let (mut ours, mut parsed, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..report.pairs {
        let mut order = [0, 1, 2];
        order.rotate_left(n % 3);
        for turn in order {
            let (side, drained) = match turn {
                0 => (&mut ours, by_worker(&filled, messages).await),
                1 => (
                    &mut parsed,
                    by_consumer(&filled, "bare-parse", messages).await,
                ),
                _ => (
                    &mut read,
                    by_consumer(&filled, "bare-drain", messages).await,
                ),
            };
            side.push(drained.of(plan.batched));
        }
    }
    let of = |all: &[Drained], figure: fn(&Drained) -> f64| -> Vec<f64> {
        all.iter().map(figure).collect()
    };
    let [speed, cpu, bare, live] = names(plan);
    if report.wants(&speed) {
        let pairs = Pairs::of(of(&ours, Drained::rate), of(&parsed, Drained::rate));
        report.add(speed, "events/s", pairs, Target::AtLeast(0.9));
    }
    if report.wants(&cpu) {
        let pairs = Pairs::of(of(&ours, Drained::cpu_us), of(&parsed, Drained::cpu_us));
        report.add(cpu, "us", pairs, Target::None);
    }
    if report.wants(&bare) {
        let pairs = Pairs::of(of(&ours, Drained::rate), of(&read, Drained::rate));
        report.add(bare, "events/s", pairs, Target::None);
    }
    filled.delete().await;
    if report.wants(&live) {
        let (mut with_worker, mut without) = (Vec::new(), Vec::new());
        for n in 0..report.pairs {
            for side in [n % 2, (n + 1) % 2] {
                match side {
                    0 => with_worker.push(published_and_applied(broker, plan).await),
                    _ => without.push(published(broker, plan).await),
                }
            }
        }
        report.add(
            live,
            "events/s",
            Pairs::of(with_worker, without),
            Target::None,
        );
    }
}

/// The rate at which batches are confirmed by RabbitMQ and applied by a worker meanwhile.
async fn published_and_applied(broker: &Broker, plan: &Plan) -> f64 {
    let filled = Filled::declared(broker, 1).await;
    let worker = filled.caught_up().await;
    // The streams begin first.
    let warm = batches(plan, plan.accounts, BATCH).into_iter();
    publish_only(&filled.at, "beginning all streams", BATCH, warm).await;
    eventually(PATIENCE, "all beginnings are published", async || {
        let streams = worker.metric("streamwatch_records", "").await;
        let left = worker.metric("streamwatch_unannounced", "").await;
        let done = streams >= plan.accounts as f64 && left == 0.0;
        done.then_some(()).ok_or((streams, left))
    })
    .await;
    let before = applied(&worker).await;
    let all = batches(plan, plan.batched, BATCH);
    let began = Instant::now();
    publish_only(&filled.at, "with a worker", BATCH, all.into_iter()).await;
    eventually(PATIENCE, "all batches are applied", async || {
        let so_far = applied(&worker).await - before;
        (so_far >= plan.batched as f64).then_some(()).ok_or(so_far)
    })
    .await;
    let seconds = began.elapsed().as_secs_f64();
    drop(worker);
    filled.delete().await;
    plan.batched as f64 / seconds
}

/// The events that the worker has applied.
async fn applied(worker: &Worker) -> f64 {
    worker.metric("streamwatch_entries_total", "").await
}

/// The rate at which batches are confirmed while no client reads the log.
async fn published(broker: &Broker, plan: &Plan) -> f64 {
    let filled = Filled::declared(broker, 1).await;
    let all = batches(plan, plan.batched, BATCH).into_iter();
    let took = publish_only(&filled.at, "without a worker", BATCH, all).await;
    filled.delete().await;
    plan.batched as f64 / took.as_secs_f64()
}

//! Log entries that workers skipped as undeliverable. Another client attaches at each of them, to
//! check that RabbitMQ really refuses to deliver it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::timeout;

use super::broker::fixture::Broker;
use super::targets::Targets;

/// The worker's log line about a skipped entry.
const SKIPPED: &str = "skipping an entry that RabbitMQ cannot deliver";
/// Most time until RabbitMQ delivers an entry or closes the connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// The partition and the offset of an entry.
pub type Place = (u16, u64);

/// Entries that any worker skipped.
#[derive(Default)]
pub struct Skipped(Mutex<BTreeSet<Place>>);

impl Skipped {
    /// Adds the entries that a worker skipped, from its log lines.
    pub fn add(&self, stderr: &str) {
        let lines = stderr.lines().filter(|line| line.contains(SKIPPED));
        let mut skipped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.extend(lines.map(place));
    }

    fn all(&self) -> BTreeSet<Place> {
        let skipped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.clone()
    }

    /// The number of skipped entries, and those among them that RabbitMQ delivers.
    pub async fn check(&self, targets: &Targets<'_>) -> (usize, Vec<Place>) {
        let skipped = self.all();
        let mut wrongly = Vec::new();
        for (partition, offset) in &skipped {
            let log = targets.installation.names().log(*partition);
            if delivers(&targets.nodes.nodes[0], &log, *offset).await {
                wrongly.push((*partition, *offset));
            }
        }
        (skipped.len(), wrongly)
    }
}

fn place(line: &str) -> Place {
    let field = |name: &str| {
        let (_, value) = line.split_once(name).expect("the line has this field");
        let digits = value.trim_start_matches(['=', ':', '"']);
        let end = digits.find(|c: char| !c.is_ascii_digit());
        let digits = &digits[..end.unwrap_or(digits.len())];
        digits.parse::<u64>().expect("a number")
    };
    let partition = u16::try_from(field("partition")).expect("a partition's number");
    (partition, field("offset"))
}

async fn delivers(broker: &Broker, log: &str, offset: u64) -> bool {
    let channel = broker.channel().await;
    let qos = channel.basic_qos(1, BasicQosOptions::default());
    qos.await.expect("a prefetch");
    let mut from = FieldTable::default();
    let at = i64::try_from(offset).expect("an offset of a short run");
    from.insert("x-stream-offset".into(), AMQPValue::LongLongInt(at));
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(log.into(), "".into(), options, from);
    let Ok(mut consumer) = consumer.await else {
        return false;
    };
    let next = timeout(PATIENCE, consumer.next()).await;
    let next = next.expect("RabbitMQ delivers the entry or closes the connection");
    matches!(next, Some(Ok(_)))
}

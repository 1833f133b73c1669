//! An installation with active streams, a complete snapshot of them, and later entries.

use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicPublishOptions};
use lapin::types::AMQPValue;
use streamwatch::wire::snapshot::{self, PartContent};
use uuid::Uuid;

use super::filled::ready;
use super::filling::{BATCH, HEARTBEAT, fill, from, offset, record_announced};
use super::measured_process::moment;
use crate::broker::fixture::{Broker, Installation, exit};
use crate::in_process::corpus;

pub const WROTE: &str = "wrote a snapshot";

pub struct Snapshotted<'b> {
    pub at: Installation<'b>,
    pub streams: usize,
    /// Heartbeats after the snapshot.
    pub beats: usize,
    pub snapshot: Snapshot,
    /// The last offset of the log.
    pub end: u64,
}

/// The newest complete snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// The offsets of the snapshot in the snapshot log.
    pub first: u64,
    pub last: u64,
    pub bytes: usize,
    /// The offset from which the log is read after the snapshot.
    pub start: u64,
}

impl<'b> Snapshotted<'b> {
    pub async fn with(broker: &'b Broker, streams: usize, tail: usize) -> Self {
        let at = Installation::bare(broker);
        // A worker that has caught up writes the first snapshot at once, and the next one much
        // later.
        let declare = ["topology", "declare", "--ttl", "1h", "--retention", "12h"];
        let room = (2 * streams).to_string();
        let declare = [
            declare.as_slice(),
            &[
                "--snapshot-every",
                "1h",
                "--max-streams-per-partition",
                &room,
            ],
        ]
        .concat();
        at.cli(&declare).await.exits(exit::DONE);
        let order = corpus::shuffled(0..streams, corpus::FIRST);
        let batches = order.chunks(BATCH.events);
        let batches = batches.map(|of| (of[0], corpus::first_batch(of, corpus::CHANNELS)));
        let what = format!("filling a log of {streams} streams");
        fill(&at, 1, &what, BATCH, batches).await;
        let worker = ready(&at, 1).await;
        let wrote = moment(&worker, WROTE, 1).await;
        assert_eq!(wrote.line["accounts"], streams, "it has all accounts");
        drop(worker);
        let mut random = fastrand::Rng::with_seed(2);
        let heartbeats = (0..tail).map(|_| random.usize(..streams));
        let what = format!("filling a tail behind {streams} streams");
        let heartbeats = heartbeats.map(|n| (n, corpus::later(n)));
        fill(&at, 1, &what, HEARTBEAT, heartbeats).await;
        let snapshot = newest(&at).await;
        let end = record_announced(&at, 0).await;
        Self {
            at,
            streams,
            beats: tail,
            snapshot,
            end,
        }
    }

    /// Entries that are read after the snapshot.
    pub fn tail(&self) -> f64 {
        (self.end - self.snapshot.start + 1) as f64
    }

    pub async fn delete(self) {
        let deleted = self.at.cli(&["topology", "delete", "--yes"]).await;
        deleted.exits(exit::DONE);
    }
}

/// Changes settings.
pub async fn set(at: &Installation<'_>, settings: &[&str]) {
    let set = [&["topology", "set"], settings].concat();
    at.cli(&set).await.exits(exit::DONE);
}

/// Finds the newest snapshot with its trailer.
async fn newest(at: &Installation<'_>) -> Snapshot {
    let queue = at.names().snapshots(0);
    let channel = at.broker.confirming_channel().await;
    // Readers skip messages that are not parts; this marks the end.
    let end = Uuid::new_v4();
    let append = channel.basic_publish(
        "".into(),
        queue.as_str().into(),
        BasicPublishOptions::default(),
        end.as_bytes(),
        BasicProperties::default(),
    );
    let confirm = append.await.expect("it is sent").await;
    assert!(confirm.expect("it is confirmed").is_ack());
    let first = AMQPValue::LongString("first".into());
    let mut consumer = from(&channel, &queue, first).await;
    let (mut whole, mut begun) = (None, None);
    loop {
        let delivery = consumer
            .next()
            .await
            .expect("it goes on")
            .expect("a message");
        let acked = delivery.ack(BasicAckOptions::default()).await;
        acked.expect("it is open");
        if delivery.data == end.as_bytes() {
            break;
        }
        let Ok(part) = snapshot::decode(&delivery.data) else {
            continue;
        };
        let offset = offset(&delivery);
        if let PartContent::Header(header) = &part.content {
            begun = Some(Snapshot {
                first: offset,
                last: offset,
                bytes: 0,
                start: header.start,
            });
        }
        if let Some(snapshot) = &mut begun {
            snapshot.last = offset;
            snapshot.bytes += delivery.data.len();
        }
        if let PartContent::Trailer(_) = &part.content {
            whole = begun.take();
        }
    }
    whole.expect("there is a complete snapshot")
}

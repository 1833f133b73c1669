//! A partition's snapshot log (RabbitMQ: stream): finding, reading and writing snapshots.
//!
//! RabbitMQ does not report the offsets of published messages. A reader therefore appends a marker
//! and reads the log's end up to it. Each part there contains the position of its own snapshot and
//! of the previous complete one.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Appender, BrokerError, Connection, LogDelivery, LogEntry, LogFollower, LogFrom,
    connect::in_time,
};
use crate::{
    domain::LogTime,
    wire::snapshot::{self, Part, PartContent, SnapshotError, SnapshotRef},
};

/// Longest wait for an entry while reading.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most unacknowledged parts. Most have a few KiB, and none more than 15 MiB.
const PREFETCH: u16 = 64;
/// The largest part, in bytes: RabbitMQ's default limit of a message. Only workers publish here.
const LARGEST_PART: usize = 16 * 1024 * 1024;
const CONTENT: &str = "application/octet-stream";
const MAX_UNCONFIRMED: usize = 16;
/// Distances from the log's end to search for snapshots, in turn, in entries.
const BACK: [u64; 3] = [64, 4_096, u64::MAX];

/// A partition's snapshot log, up to its end at the time of opening.
pub struct SnapshotLog {
    connection: Connection,
    queue: String,
    /// The body of the marker at the log's end.
    marker: Uuid,
    /// The marker's offset.
    end: u64,
}

/// Reads one snapshot.
pub struct SnapshotReader {
    follower: LogFollower,
    place: SnapshotRef,
    end: u64,
}

/// Writes one snapshot.
pub struct SnapshotWriter {
    connection: Connection,
    appender: Appender,
    unconfirmed: usize,
}

/// A source of numbered parts of one snapshot.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotParts {
    place: SnapshotRef,
    before: Option<SnapshotRef>,
    number: u32,
}

impl SnapshotLog {
    /// Opens the log `queue`, and appends a marker at its end.
    ///
    /// # Errors
    /// `NotFound` if the log does not exist.
    pub async fn open(connection: Connection, queue: String) -> Result<Self, BrokerError> {
        let mut log = Self {
            connection: connection.with_bodies_up_to(LARGEST_PART),
            queue,
            marker: Uuid::new_v4(),
            end: u64::MAX,
        };
        // Attached before the marker is appended: other workers append too, so the log's last chunk
        // could come after this marker.
        let mut follower = log.follow(LogFrom::Last).await?;
        let mut appender = Appender::of(&log.connection, &log.queue, CONTENT).await?;
        appender.append(0, "mark", log.marker.as_bytes().to_vec());
        appender.next().await.1.confirmed()?;
        loop {
            let delivery = next(&mut follower).await?;
            if delivery.message().body == log.marker.as_bytes() {
                log.end = delivery.offset;
                return Ok(log);
            }
        }
    }

    /// The positions of snapshots that may be complete, newest first.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn find(&self) -> Result<Vec<SnapshotRef>, BrokerError> {
        for back in BACK {
            let from = self.end.saturating_sub(back);
            let mut follower = self.follow(LogFrom::Offset(from)).await?;
            let mut found: Vec<(u64, SnapshotRef)> = Vec::new();
            while let Some((offset, part)) = self.next_part(&mut follower).await? {
                // A snapshot without a trailer is still being written, or was abandoned.
                if let PartContent::Trailer(_) = part.content {
                    found.push((offset, part.place));
                }
                if let Some(before) = part.before
                    && found.iter().all(|(_, place)| place.id != before.id)
                {
                    found.push((before.after.unwrap_or_default(), before));
                }
            }
            if !found.is_empty() {
                found.sort_unstable_by_key(|(offset, _)| std::cmp::Reverse(*offset));
                return Ok(found.into_iter().map(|(_, place)| place).collect());
            }
            if from == 0 {
                break;
            }
        }
        Ok(Vec::new())
    }

    /// Starts to read the snapshot at `place`.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn read(&self, place: SnapshotRef) -> Result<SnapshotReader, BrokerError> {
        let from = place.after.map_or(LogFrom::First, LogFrom::Offset);
        Ok(SnapshotReader {
            follower: self.follow(from).await?,
            place,
            end: self.end,
        })
    }

    /// Starts to write a snapshot of the log time `now`; `before` is the newest complete snapshot.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn write(
        self,
        now: LogTime,
        before: Option<SnapshotRef>,
    ) -> Result<(SnapshotWriter, SnapshotParts), BrokerError> {
        let place = SnapshotRef {
            id: Uuid::new_v4(),
            after: Some(self.end),
            now,
        };
        let writer = SnapshotWriter {
            appender: Appender::of(&self.connection, &self.queue, CONTENT).await?,
            connection: self.connection,
            unconfirmed: 0,
        };
        let parts = SnapshotParts {
            place,
            before,
            number: 0,
        };
        Ok((writer, parts))
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.connection.close().await;
    }

    async fn follow(&self, from: LogFrom) -> Result<LogFollower, BrokerError> {
        LogFollower::attach_with(&self.connection, &self.queue, from, PREFETCH).await
    }

    /// The next part of any snapshot; `None` at the log's end.
    async fn next_part(
        &self,
        follower: &mut LogFollower,
    ) -> Result<Option<(u64, Part)>, BrokerError> {
        loop {
            let delivery = next(follower).await?;
            if delivery.offset >= self.end {
                return Ok(None);
            }
            if let Ok(part) = snapshot::decode(delivery.message().body) {
                return Ok(Some((delivery.offset, part)));
            }
        }
    }
}

impl SnapshotReader {
    /// The snapshot's next part; `None` at the log's end. Missing parts are not detected here.
    ///
    /// # Errors
    /// If the log cannot be read. A part that cannot be decoded is `Ok(Some(Err))`; it may belong
    /// to another snapshot.
    pub async fn next(&mut self) -> Result<Option<Result<Part, SnapshotError>>, BrokerError> {
        loop {
            let delivery = next(&mut self.follower).await?;
            if delivery.offset >= self.end {
                return Ok(None);
            }
            match snapshot::decode(delivery.message().body) {
                Ok(part) if part.place.id == self.place.id => return Ok(Some(Ok(part))),
                // A part of another snapshot, or a marker.
                Ok(_) | Err(SnapshotError::Foreign) => {}
                Err(error) => return Ok(Some(Err(error))),
            }
        }
    }
}

impl SnapshotParts {
    /// The next part, with this content.
    pub const fn next(&mut self, content: PartContent) -> Part {
        let number = self.number;
        self.number += 1;
        Part {
            place: self.place,
            before: self.before,
            number,
            content,
        }
    }
}

impl SnapshotWriter {
    /// Appends an encoded part. Waits while too many parts are unconfirmed.
    ///
    /// # Errors
    /// If the broker does not confirm a part.
    pub async fn write(&mut self, part: Vec<u8>) -> Result<(), BrokerError> {
        while self.unconfirmed >= MAX_UNCONFIRMED {
            self.one_confirmed().await?;
        }
        self.appender.append(0, "snapshot", part);
        self.unconfirmed += 1;
        Ok(())
    }

    /// Waits until all parts are confirmed, and closes the connection.
    ///
    /// # Errors
    /// If the broker does not confirm a part: the snapshot is incomplete.
    pub async fn finish(mut self) -> Result<(), BrokerError> {
        while self.unconfirmed > 0 {
            self.one_confirmed().await?;
        }
        self.connection.close().await;
        Ok(())
    }

    async fn one_confirmed(&mut self) -> Result<(), BrokerError> {
        self.appender.next().await.1.confirmed()?;
        self.unconfirmed -= 1;
        Ok(())
    }
}

async fn next(follower: &mut LogFollower) -> Result<LogDelivery, BrokerError> {
    let delivered = async {
        loop {
            match follower.next().await? {
                LogEntry::Delivered(delivery) => return Ok(delivery),
                // Not a part of a snapshot: workers publish only deliverable entries.
                LogEntry::Undeliverable(_) => {}
            }
        }
    };
    in_time("reading the snapshot log", PATIENCE, delivered).await?
}

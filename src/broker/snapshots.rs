//! Finds, reads and writes snapshots in a partition's snapshot log (a RabbitMQ stream).
//!
//! Publishers do not learn offsets. So a reader appends a marker, reads the log's end up to it, and
//! continues from the positions in the messages there, of their own snapshot and the previous one.

use std::time::Duration;

use uuid::Uuid;

use super::{Appended, Appender, BrokerError, Link, LogDelivery, LogEntry, LogFollower, LogFrom};
use crate::{
    domain::LogTime,
    wire::snapshot::{self, Part, PartContent, Place, SnapshotError},
};

/// How long the log may deliver nothing while it is read.
const PATIENCE: Duration = Duration::from_secs(20);
/// Messages under way to us at once; most have some kilobytes, and none more than 15 MiB.
const PREFETCH: u16 = 64;
const CONTENT: &str = "application/octet-stream";
/// Messages written and not confirmed.
const UNCONFIRMED: usize = 16;
/// How far back from the log's end snapshots are looked for, one after another, in messages.
const BACK: [u64; 3] = [64, 4_096, u64::MAX];

/// A partition's snapshot log, read up to where it ended when it was opened.
pub struct SnapshotLog {
    link: Link,
    queue: String,
    /// The marker of the log's end.
    mark: Uuid,
    end: u64,
}

/// Reads one snapshot.
pub struct SnapshotReader {
    follower: LogFollower,
    place: Place,
    end: u64,
}

/// Writes one snapshot.
pub struct SnapshotWriter {
    link: Link,
    appender: Appender,
    unconfirmed: usize,
}

/// Numbers the parts of one snapshot.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotParts {
    place: Place,
    before: Option<Place>,
    number: u32,
}

impl SnapshotLog {
    /// Opens the log `queue`, and marks where it ends.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn open(link: Link, queue: String) -> Result<Self, BrokerError> {
        let mut log = Self {
            link,
            queue,
            mark: Uuid::new_v4(),
            end: u64::MAX,
        };
        // Attached before the mark is written: others write theirs, and the log's last chunk may
        // be one that lies behind it.
        let mut follower = log.follow(LogFrom::Last).await?;
        let mut appender = Appender::of(&log.link, &log.queue, CONTENT).await?;
        appender.append(0, "mark", log.mark.as_bytes().to_vec());
        confirmed(&mut appender).await?;
        loop {
            let delivery = next(&mut follower).await?;
            if log.is_mark(&delivery) {
                log.end = delivery.offset;
                return Ok(log);
            }
        }
    }

    /// Where the snapshots before the log's end lie that may be whole, the newest first.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub async fn find(&self) -> Result<Vec<Place>, BrokerError> {
        for back in BACK {
            let from = self.end.saturating_sub(back);
            let mut follower = self.follow(LogFrom::Offset(from)).await?;
            let mut found: Vec<(u64, Place)> = Vec::new();
            while let Some((offset, part)) = self.next_part(&mut follower).await? {
                // One without its trailer may still be being written, or never will be.
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

    /// Reads the snapshot at `place`.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub async fn read(&self, place: Place) -> Result<SnapshotReader, BrokerError> {
        let from = place.after.map_or(LogFrom::First, LogFrom::Offset);
        Ok(SnapshotReader {
            follower: self.follow(from).await?,
            place,
            end: self.end,
        })
    }

    /// Writes a snapshot that begins at the log time `now`; `before` is the newest one that is
    /// whole.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn write(
        self,
        now: LogTime,
        before: Option<Place>,
    ) -> Result<(SnapshotWriter, SnapshotParts), BrokerError> {
        let place = Place {
            id: Uuid::new_v4(),
            after: Some(self.end),
            now,
        };
        let writer = SnapshotWriter {
            appender: Appender::of(&self.link, &self.queue, CONTENT).await?,
            link: self.link,
            unconfirmed: 0,
        };
        let parts = SnapshotParts {
            place,
            before,
            number: 0,
        };
        Ok((writer, parts))
    }

    /// Closes in order.
    pub async fn close(self) {
        self.link.close().await;
    }

    async fn follow(&self, from: LogFrom) -> Result<LogFollower, BrokerError> {
        LogFollower::attach_with(&self.link, &self.queue, from, PREFETCH).await
    }

    fn is_mark(&self, delivery: &LogDelivery) -> bool {
        delivery.message().body == self.mark.as_bytes()
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
    /// The snapshot's next part; `None` where the log ends. Whether parts are missing is not looked
    /// at here.
    ///
    /// # Errors
    /// Where the log cannot be read. A part that cannot be decoded is an `Ok(Some(Err))`; it may
    /// be another snapshot's.
    pub async fn next(&mut self) -> Result<Option<Result<Part, SnapshotError>>, BrokerError> {
        loop {
            let delivery = next(&mut self.follower).await?;
            if delivery.offset >= self.end {
                return Ok(None);
            }
            match snapshot::decode(delivery.message().body) {
                Ok(part) if part.place.id == self.place.id => return Ok(Some(Ok(part))),
                // Another's, or a mark.
                Ok(_) | Err(SnapshotError::Foreign) => {}
                Err(error) => return Ok(Some(Err(error))),
            }
        }
    }
}

impl SnapshotParts {
    /// The part that comes next, with this content.
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
    /// Writes an encoded part. Waits while too many are not confirmed.
    ///
    /// # Errors
    /// Where the broker does not take it.
    pub async fn write(&mut self, part: Vec<u8>) -> Result<(), BrokerError> {
        while self.unconfirmed >= UNCONFIRMED {
            self.one_confirmed().await?;
        }
        self.appender.append(0, "snapshot", part);
        self.unconfirmed += 1;
        Ok(())
    }

    /// Waits until the broker has taken all of it, and closes.
    ///
    /// # Errors
    /// Where it has not: the snapshot is not whole.
    pub async fn finish(mut self) -> Result<(), BrokerError> {
        while self.unconfirmed > 0 {
            self.one_confirmed().await?;
        }
        self.link.close().await;
        Ok(())
    }

    async fn one_confirmed(&mut self) -> Result<(), BrokerError> {
        confirmed(&mut self.appender).await?;
        self.unconfirmed -= 1;
        Ok(())
    }
}

async fn confirmed(appender: &mut Appender) -> Result<(), BrokerError> {
    match appender.next().await.1 {
        Appended::Confirmed => Ok(()),
        Appended::Lost(error) => Err(error),
        Appended::Failed => Err(BrokerError::NotFound(
            "the snapshot log takes nothing: it is not there, or has lost its majority of nodes"
                .to_owned(),
        )),
    }
}

async fn next(follower: &mut LogFollower) -> Result<LogDelivery, BrokerError> {
    let delivered = async {
        loop {
            match follower.next().await? {
                LogEntry::Delivered(delivery) => return Ok(delivery),
                // Not a part of any snapshot: those are ours.
                LogEntry::Undeliverable(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, delivered)
        .await
        .map_err(|_| BrokerError::Timeout {
            doing: "reading the snapshot log",
            waited: PATIENCE,
        })?
}

//! Snapshots of a partition: read at startup, written by the leader.

mod encoding;

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use uuid::Uuid;

use super::Config;
use crate::{
    broker::{BrokerError, Connection, SnapshotLog, SnapshotReader, SnapshotWriter},
    domain::{
        Account, AccountKey, Announcement, LogTime, Settings, SnapshotHeader, SnapshotTrailer,
    },
    replica::Restoring,
    wire::snapshot::{Part, PartContent, SnapshotError, SnapshotRef},
};
use encoding::{EncodedPart, Encoding};

/// Most snapshots tried before the log is read from its first entry.
const MOST_TRIED: usize = 4;
/// Unannounced lifecycle events in one part.
const PART_EVENTS: usize = 1_000;
/// Most decoded parts that wait to be assembled.
const WAITING: usize = 2;
/// Pause after encoding a part, as a multiple of the encoding time. Requests may wait for the
/// processor.
const RESTS: u32 = 4;
/// Share of the interval of snapshots after which all accounts are to be copied. A snapshot that is
/// behind makes no pauses: the older the newest snapshot, the longer a worker takes to start.
const SHARE: u64 = 2;
const LONGEST_REST: Duration = Duration::from_millis(200);

pub(super) struct RestoredSnapshot {
    pub(super) id: Uuid,
    pub(super) snapshot: Restoring,
    pub(super) trailer: SnapshotTrailer,
    pub(super) accounts: u64,
}

/// Reads the newest complete snapshot of a partition that is not `rejected`.
pub(super) async fn load(
    config: &Config,
    partition: u16,
    n: usize,
    rejected: &[Uuid],
) -> Result<Option<RestoredSnapshot>, BrokerError> {
    let log = open(config, partition, n).await?;
    let mut places = log.find().await?;
    places.reverse();
    let mut tried = Vec::new();
    while let Some(place) = places.pop()
        && tried.len() < MOST_TRIED
    {
        if tried.contains(&place.id) {
            continue;
        }
        tried.push(place.id);
        let mut reader = log.read(place).await?;
        let (before, whole) = if rejected.contains(&place.id) {
            let first = reader.next().await?.and_then(Result::ok);
            (first.and_then(|part| part.before), None)
        } else {
            assemble(partition, place.id, reader).await?
        };
        if whole.is_some() {
            log.close().await;
            return Ok(whole);
        }
        // An older snapshot is found only through the next newer one.
        places.splice(0..0, before);
    }
    log.close().await;
    Ok(None)
}

async fn open(config: &Config, partition: u16, n: usize) -> Result<SnapshotLog, BrokerError> {
    let name = format!("streamwatch worker, partition {partition:02}, snapshots");
    let connection = Connection::open(&config.addresses, n, &name).await?;
    SnapshotLog::open(connection, config.names.snapshots(partition)).await
}

/// Assembles a snapshot: `None` if it is incomplete. Also returns the position of the previous one.
async fn assemble(
    partition: u16,
    id: Uuid,
    reader: SnapshotReader,
) -> Result<(Option<SnapshotRef>, Option<RestoredSnapshot>), BrokerError> {
    let mut before = None;
    let mut restoring: Option<Restoring> = None;
    let mut accounts = 0;
    let mut number = 0;
    let mut parts = decoded(reader);
    while let Some(part) = parts.recv().await {
        let part = match part? {
            Ok(part) => part,
            Err(error) => {
                // If the part belongs to this snapshot, its number will be missing.
                tracing::warn!(partition, %error, "skipping an unreadable part of a snapshot");
                continue;
            }
        };
        before = before.or(part.before);
        if part.number != number {
            break;
        }
        number += 1;
        let whole = match (part.content, &mut restoring) {
            (PartContent::Header(header), None) => match Restoring::new(header) {
                Ok(begun) => {
                    restoring = Some(begun);
                    true
                }
                Err(fault) => {
                    tracing::warn!(partition, %fault, "cannot use a snapshot; trying the previous one");
                    false
                }
            },
            (PartContent::Accounts(all), Some(restoring)) => {
                accounts += all.len() as u64;
                all.into_iter()
                    .all(|(key, last, account)| restoring.account(key, last, account))
            }
            (PartContent::Unannounced(all), Some(restoring)) => {
                restoring.unannounced(all);
                true
            }
            (PartContent::Trailer(trailer), Some(_)) => {
                let whole = restoring.take().map(|snapshot| RestoredSnapshot {
                    id,
                    snapshot,
                    trailer,
                    accounts,
                });
                return Ok((before, whole));
            }
            _ => false,
        };
        if !whole {
            break;
        }
    }
    tracing::warn!(
        partition,
        "a snapshot is incomplete; trying the previous one"
    );
    Ok((before, None))
}

/// Reads and decodes a snapshot's parts in a task of its own.
fn decoded(mut reader: SnapshotReader) -> mpsc::Receiver<Decoded> {
    let (sender, parts) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        while let Some(part) = reader.next().await.transpose() {
            let last = part.is_err();
            if sender.send(part).await.is_err() || last {
                return;
            }
        }
    });
    parts
}

/// A part, the error of an unreadable part, or the error that ended the reading.
type Decoded = Result<Result<Part, SnapshotError>, BrokerError>;

/// An account, with the offset of its last entry.
pub(super) type AccountCopy = (AccountKey, u64, Account);

/// A step of writing a snapshot, handled by the owner of the replica.
pub(super) enum SnapshotStep {
    /// A snapshot that started at this log time exists and may be complete. Should another be
    /// written?
    Found {
        newest: Option<LogTime>,
        begin: oneshot::Sender<Option<Begun>>,
    },
    /// Requests the accounts of the next part, in this vector; empty after the last.
    Copy {
        into: Vec<AccountCopy>,
        copied: oneshot::Sender<Vec<AccountCopy>>,
    },
    /// All accounts have been copied.
    Copied(oneshot::Sender<Option<(SnapshotTrailer, Vec<Announcement>)>>),
    /// The broker has confirmed all parts.
    Written(Written),
    /// The snapshot remains incomplete.
    Failed(BrokerError),
}

/// The header of a snapshot, and the number of accounts with an active stream.
pub(super) type Begun = (SnapshotHeader, u64);

/// Statistics of a written snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) accounts: u64,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Writes a snapshot, step by step. Ends early if the receiver of steps was dropped.
pub(super) async fn write(
    config: Config,
    partition: u16,
    n: usize,
    steps: mpsc::Sender<SnapshotStep>,
) {
    let step = match write_one(&config, partition, n, &steps).await {
        Ok(Some(written)) => SnapshotStep::Written(written),
        Ok(None) => return,
        Err(error) => SnapshotStep::Failed(error),
    };
    let _ = steps.send(step).await;
}

/// Sends a step to the owner of the replica; returns `None` if it does not answer.
async fn ask<T>(
    steps: &mpsc::Sender<SnapshotStep>,
    step: impl FnOnce(oneshot::Sender<T>) -> SnapshotStep,
) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    steps.send(step(answer)).await.ok()?;
    answered.await.ok()
}

async fn write_one(
    config: &Config,
    partition: u16,
    n: usize,
    steps: &mpsc::Sender<SnapshotStep>,
) -> Result<Option<Written>, BrokerError> {
    let log = open(config, partition, n).await?;
    let newest = log.find().await?.into_iter().next();
    let begin = |begin| SnapshotStep::Found {
        newest: newest.map(|place| place.now),
        begin,
    };
    let Some((header, accounts)) = ask(steps, begin).await.flatten() else {
        log.close().await;
        return Ok(None);
    };
    let (began, pace) = (Instant::now(), Pace::of(&header.settings, accounts));
    let (writer, parts) = log.write(header.now, newest).await?;
    let mut writing = Writing {
        writer,
        encoding: Encoding::begin(parts)?,
        written: Written::default(),
    };
    writing.part(PartContent::Header(header)).await?;
    let mut accounts = Vec::new();
    loop {
        let into = accounts;
        let Some(copied) = ask(steps, |copied| SnapshotStep::Copy { into, copied }).await else {
            return Ok(None);
        };
        if copied.is_empty() {
            break;
        }
        writing.written.accounts += copied.len() as u64;
        let encoded = writing.part(PartContent::Accounts(copied)).await?;
        let rest = pace.rest(began.elapsed(), writing.written.accounts, encoded.took);
        tokio::time::sleep(rest).await;
        accounts = match encoded.content {
            PartContent::Accounts(mut copied) => {
                copied.clear();
                copied
            }
            _ => Vec::new(),
        };
    }
    let Some((trailer, unannounced)) = ask(steps, SnapshotStep::Copied).await.flatten() else {
        return Ok(None);
    };
    for events in unannounced.chunks(PART_EVENTS) {
        writing
            .part(PartContent::Unannounced(events.to_vec()))
            .await?;
    }
    writing.part(PartContent::Trailer(trailer)).await?;
    writing.writer.finish().await?;
    Ok(Some(Written {
        took: began.elapsed(),
        ..writing.written
    }))
}

/// The schedule of a snapshot.
struct Pace {
    /// Time for all accounts.
    within_us: u64,
    accounts: u64,
}

impl Pace {
    fn of(settings: &Settings, accounts: u64) -> Self {
        Self {
            within_us: settings.snapshot_every_ms.saturating_mul(1_000) / SHARE,
            accounts: accounts.max(1),
        }
    }

    /// The pause after a part that took this time to encode, this time after the start, with this
    /// number of accounts written so far: none if the snapshot is behind.
    fn rest(&self, elapsed: Duration, written: u64, took: Duration) -> Duration {
        let due = self.within_us.saturating_mul(written) / self.accounts;
        let ahead = Duration::from_micros(due).saturating_sub(elapsed);
        (took * RESTS).min(LONGEST_REST).min(ahead)
    }
}

/// A snapshot being written.
struct Writing {
    writer: SnapshotWriter,
    encoding: Encoding,
    written: Written,
}

impl Writing {
    async fn part(&mut self, content: PartContent) -> Result<EncodedPart, BrokerError> {
        let mut encoded = self.encoding.encode(content).await?;
        let part = std::mem::take(&mut encoded.part);
        self.written.bytes += part.len() as u64;
        self.writer.write(part).await?;
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_makes_no_pauses_while_it_is_behind_its_schedule() {
        let settings = Settings {
            snapshot_every_ms: 120_000,
            ..Settings::default()
        };
        let pace = Pace::of(&settings, 1_000_000);
        let (took, half) = (Duration::from_millis(1), Duration::from_secs(30));
        let rest = |elapsed, written| pace.rest(elapsed, written, took);
        assert_eq!(rest(Duration::ZERO, 1_000), RESTS * took);
        assert_eq!(rest(half, 499_000), Duration::ZERO);
        assert_eq!(rest(half, 500_050), Duration::from_millis(3));
        assert_eq!(rest(half, 510_000), RESTS * took);
    }
}

//! Reads and appends the settings in the logs, for operators.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{
    Addresses, BrokerError, Connection, LogFrom, Names, bounded_log::BoundedLog,
    connect::once_available, one_shot_appender::OneShotAppender,
};
use crate::domain::{EntryId, Internal, InternalEntry, Settings, WallTime};

/// The longest interval at which workers repeat the settings, with some delay.
const INTERVAL: Duration = Duration::from_millis(1_200);

/// A log with fewer entries is read completely, while a worker's repetition is awaited.
const SHORT: u64 = 20_000;

/// Positions to read a log from, in turn.
const POSITIONS: [LogFrom; 3] = [
    LogFrom::Ago(Duration::from_secs(60)),
    LogFrom::Ago(Duration::from_secs(3_600)),
    LogFrom::First,
];

/// The name of the connections, as RabbitMQ lists it.
const NAME: &str = "streamwatch settings";

/// Logs read or appended to concurrently.
const AT_ONCE: usize = 8;

/// The settings in force, by partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce(Vec<Option<Settings>>);

impl InForce {
    /// The settings with the highest number; `None` if no log contains settings.
    #[must_use]
    pub fn newest(&self) -> Option<&Settings> {
        // Of equal numbers, `max_by_key` returns the last, which is the lowest partition's: every
        // repair then selects the same settings.
        self.0.iter().flatten().rev().max_by_key(|s| s.number)
    }

    /// Returns whether all logs have the same settings. If not, a change of them was interrupted.
    #[must_use]
    pub fn agree(&self) -> bool {
        self.0.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// The settings of each partition.
    #[must_use]
    pub fn by_partition(&self) -> &[Option<Settings>] {
        &self.0
    }
}

/// The reason settings are not in force.
#[derive(Debug, thiserror::Error)]
pub enum SettingsConflict {
    /// An error of the broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Other settings with the same number came first.
    #[error("another command changed the settings at the same time; read them and try again")]
    Overtaken,
}

/// Reads the settings in force in the logs of the first `partitions` partitions.
///
/// # Errors
/// `NotFound` if a log does not exist.
pub async fn read_all(
    addresses: &Addresses,
    names: &Names,
    partitions: u16,
) -> Result<InForce, BrokerError> {
    stream::iter(0..partitions)
        .map(|partition| read(addresses, names, partition))
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .map(InForce)
}

/// Reads the settings in force in a partition's log; `None` if it contains none yet.
///
/// Workers repeat the settings at every interval: while a worker runs, they are at the log's end,
/// or appear there within a second. If not, the log is read from positions further and further
/// back. A short log is read completely; since undeliverable entries can make that slow, a worker's
/// repetition is awaited at the same time.
///
/// # Errors
/// `NotFound` if the log does not exist.
pub async fn read(
    addresses: &Addresses,
    names: &Names,
    partition: u16,
) -> Result<Option<Settings>, BrokerError> {
    let queue = names.log(partition);
    once_available(async || read_queue(addresses, &queue).await).await
}

async fn read_queue(addresses: &Addresses, queue: &str) -> Result<Option<Settings>, BrokerError> {
    let last = Pass::whole(addresses, queue, LogFrom::Last).await?;
    if last.found.is_some() {
        return Ok(last.found);
    }
    if !last.is_of_a_short_log() {
        return read_from(addresses, queue, &POSITIONS).await;
    }
    tokio::select! {
        whole = Box::pin(read_from(addresses, queue, &[LogFrom::First])) => whole,
        Ok(settings) = Box::pin(repeated(addresses, queue)) => Ok(Some(settings)),
    }
}

/// Waits for a worker to repeat the settings.
async fn repeated(addresses: &Addresses, queue: &str) -> Result<Settings, BrokerError> {
    let connection = Connection::open_any(addresses, NAME).await?;
    let (mut log, _) = BoundedLog::open(&connection, queue, LogFrom::Next).await?;
    let mut pass = Pass::default();
    loop {
        pass.entry(&mut log).await?;
        if let Some(settings) = pass.found {
            return Ok(settings);
        }
    }
}

/// Reads the log from each of these positions in turn, until one pass finds settings.
async fn read_from(
    addresses: &Addresses,
    queue: &str,
    positions: &[LogFrom],
) -> Result<Option<Settings>, BrokerError> {
    for &from in positions {
        let pass = Pass::whole(addresses, queue, from).await?;
        if pass.found.is_some() {
            return Ok(pass.found);
        }
    }
    Ok(None)
}

/// One pass over a log, up to its end at the start of the pass.
#[derive(Default)]
struct Pass {
    /// The offset after the last entry read.
    next: Option<u64>,
    found: Option<Settings>,
}

impl Pass {
    async fn whole(addresses: &Addresses, queue: &str, from: LogFrom) -> Result<Self, BrokerError> {
        let mut pass = Self::default();
        match pass.read(addresses, queue, from).await {
            // The first entry is undeliverable and cannot be skipped, since its offset is unknown.
            Err(BrokerError::Internal(_)) if from != LogFrom::First => Ok(pass),
            read => read.map(|()| pass),
        }
    }

    fn is_of_a_short_log(&self) -> bool {
        self.next.is_some_and(|next| next < SHORT)
    }

    async fn read(
        &mut self,
        addresses: &Addresses,
        queue: &str,
        from: LogFrom,
    ) -> Result<(), BrokerError> {
        let connection = Connection::open_any(addresses, NAME).await?;
        let (mut log, end) = BoundedLog::open(&connection, queue, from).await?;
        while self.entry(&mut log).await? != Some(end) {}
        if self.found.is_none() && from == LogFrom::Last && !self.is_of_a_short_log() {
            let waiting = async {
                while self.found.is_none() {
                    self.entry(&mut log).await?;
                }
                Ok(())
            };
            // A running worker repeats the settings within the interval.
            tokio::time::timeout(INTERVAL, waiting)
                .await
                .unwrap_or(Ok::<_, BrokerError>(()))?;
        }
        connection.close().await;
        Ok(())
    }

    /// Reads one entry. Returns its id if a worker or an operator appended it.
    async fn entry(&mut self, log: &mut BoundedLog) -> Result<Option<EntryId>, BrokerError> {
        let (offset, internal) = log.entry().await?;
        self.next = self.next.max(Some(offset + 1));
        let Some(InternalEntry { entry_id, body, .. }) = internal else {
            return Ok(None);
        };
        if let Internal::Settings { settings, .. } | Internal::Tick(Some(settings)) = body
            && self
                .found
                .as_ref()
                .is_none_or(|f| settings.number > f.number)
        {
            self.found = Some(settings);
        }
        Ok(Some(entry_id))
    }
}

/// Appends settings to the logs of all their partitions, and verifies that they are in force.
///
/// # Errors
/// [`SettingsConflict::Overtaken`] if other settings with the same number came first in a log.
pub async fn append_all(
    addresses: &Addresses,
    names: &Names,
    settings: &Settings,
    wall: WallTime,
) -> Result<(), SettingsConflict> {
    stream::iter((0..settings.partitions).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |partition| {
            append(addresses, names, partition, settings, wall)
        })
        .await
}

async fn append(
    addresses: &Addresses,
    names: &Names,
    partition: u16,
    settings: &Settings,
    wall: WallTime,
) -> Result<(), SettingsConflict> {
    let connection = Connection::open_any(addresses, NAME).await?;
    let body = Internal::Settings {
        settings: settings.clone(),
        wall,
    };
    let queue = names.log(partition);
    let mut appender = OneShotAppender::new(&connection, &queue).await?;
    let began = Instant::now();
    appender.append(body).await?;
    connection.close().await;
    // A worker that has not read the new settings yet may have repeated the old ones at the end.
    let since = LogFrom::Ago(began.elapsed() + Duration::from_secs(3));
    match read_from(addresses, &queue, &[since, LogFrom::First]).await? {
        Some(in_force) if in_force == *settings => Ok(()),
        _ => Err(SettingsConflict::Overtaken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_settings_are_those_with_the_highest_number_of_any_partition() {
        let numbered = |number, ttl_ms| Settings {
            number,
            ttl_ms,
            ..Settings::default()
        };
        let (old, new, other) = (
            numbered(1, 90_000),
            numbered(2, 60_000),
            numbered(2, 30_000),
        );
        let broke_off = InForce(vec![Some(old.clone()), None, Some(new.clone())]);
        assert_eq!(broke_off.newest(), Some(&new));
        assert!(!broke_off.agree());
        let at_once = InForce(vec![Some(new.clone()), Some(other)]);
        assert_eq!(at_once.newest(), Some(&new));
        assert!(!at_once.agree());
        assert!(InForce(vec![Some(old.clone()), Some(old)]).agree());
        assert_eq!(InForce(vec![None, None]).newest(), None);
    }
}

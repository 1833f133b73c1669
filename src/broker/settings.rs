//! The settings that a log carries: read by operators, appended by them.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{
    Addresses, BrokerError, Link, LogFrom, Names,
    append_once::OneShotAppender,
    bounded_log::{BoundedLog, Marker},
};
use crate::domain::{Internal, Mark, Settings, WallTime};

/// No interval at which workers repeat the settings is longer, with some delay.
const INTERVAL: Duration = Duration::from_millis(1_200);

/// A log of fewer entries is read whole while the repetition by a worker is awaited.
const SHORT: u64 = 20_000;

/// Start positions, tried one after another.
const FURTHER_AND_FURTHER: [LogFrom; 3] = [
    LogFrom::Ago(Duration::from_secs(60)),
    LogFrom::Ago(Duration::from_secs(3_600)),
    LogFrom::First,
];

/// Name of the connections in RabbitMQ.
const NAME: &str = "streamwatch settings";

/// Logs that are read or written at once.
const AT_ONCE: usize = 8;

/// The settings in force in every partition's log, by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce(Vec<Option<Settings>>);

impl InForce {
    /// The settings with the highest number; `None` if no log has any.
    #[must_use]
    pub fn newest(&self) -> Option<&Settings> {
        // Of two with one number, the lower partition's, so that all repairs choose alike.
        self.0.iter().flatten().rev().max_by_key(|s| s.number)
    }

    /// All logs have the same: else setting them broke off half-way.
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

/// Why settings were not appended.
#[derive(Debug, thiserror::Error)]
pub enum SettingsConflict {
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Another process changed them concurrently.
    #[error("another process changed the settings at the same time; check them and try again")]
    Overtaken,
}

/// Reads the settings in force in the logs of so many partitions.
///
/// # Errors
/// `NotFound` if there is no log.
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

/// Reads the settings in force in a partition's log; `None` if it has none yet.
///
/// Workers repeat them every interval, so while one runs, they are at the log's end or appear
/// within a second. Otherwise the log is read from further and further back. A short log is read
/// whole at once, which undeliverable entries can delay beyond an interval.
///
/// # Errors
/// `NotFound` if there is no log.
pub async fn read(
    addresses: &Addresses,
    names: &Names,
    partition: u16,
) -> Result<Option<Settings>, BrokerError> {
    let queue = names.log(partition);
    let last = Reading::whole(addresses, &queue, LogFrom::Last).await?;
    if last.found.is_some() {
        return Ok(last.found);
    }
    if !last.is_of_a_short_log() {
        return read_from(addresses, &queue, &FURTHER_AND_FURTHER).await;
    }
    tokio::select! {
        whole = Box::pin(read_from(addresses, &queue, &[LogFrom::First])) => whole,
        Ok(settings) = Box::pin(repeated(addresses, &queue)) => Ok(Some(settings)),
    }
}

/// The settings that a worker repeats next.
async fn repeated(addresses: &Addresses, queue: &str) -> Result<Settings, BrokerError> {
    let link = Link::open_any(addresses, NAME).await?;
    let (mut log, _) = BoundedLog::open(&link, queue, LogFrom::Next).await?;
    let mut reading = Reading::default();
    loop {
        reading.entry(&mut log).await?;
        if let Some(settings) = reading.found {
            return Ok(settings);
        }
    }
}

/// The first settings found behind one of these places, one after another.
async fn read_from(
    addresses: &Addresses,
    queue: &str,
    places: &[LogFrom],
) -> Result<Option<Settings>, BrokerError> {
    for &from in places {
        let reading = Reading::whole(addresses, queue, from).await?;
        if reading.found.is_some() {
            return Ok(reading.found);
        }
    }
    Ok(None)
}

/// One pass over a log, up to where it ended when the pass began.
#[derive(Default)]
struct Reading {
    /// The offset behind the last entry that was read.
    next: Option<u64>,
    found: Option<Settings>,
}

impl Reading {
    async fn whole(addresses: &Addresses, queue: &str, from: LogFrom) -> Result<Self, BrokerError> {
        let mut reading = Self::default();
        match reading.read(addresses, queue, from).await {
            // The first entry there cannot be delivered, nor passed over: its offset is not known.
            Err(BrokerError::Internal(_)) if from != LogFrom::First => Ok(reading),
            read => read.map(|()| reading),
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
        let link = Link::open_any(addresses, NAME).await?;
        let (mut tail, end) = BoundedLog::open(&link, queue, from).await?;
        while self.entry(&mut tail).await? != Some(end) {}
        if self.found.is_none() && from == LogFrom::Last && !self.is_of_a_short_log() {
            let waiting = async {
                while self.found.is_none() {
                    self.entry(&mut tail).await?;
                }
                Ok(())
            };
            // A running worker repeats them within an interval.
            tokio::time::timeout(INTERVAL, waiting)
                .await
                .unwrap_or(Ok::<_, BrokerError>(()))?;
        }
        link.close().await;
        Ok(())
    }

    /// Takes one entry; its mark, where it is one of ours.
    async fn entry(&mut self, tail: &mut BoundedLog) -> Result<Option<Mark>, BrokerError> {
        let (offset, marked) = tail.entry().await?;
        self.next = self.next.max(Some(offset + 1));
        let Some(Marker { mark, body, .. }) = marked else {
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
        Ok(Some(mark))
    }
}

/// Appends settings to the logs of all partitions that they name, and makes sure that they are the
/// ones in force.
///
/// # Errors
/// [`SettingsConflict::Overtaken`] where others with the same number came first in some log.
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
    let link = Link::open_any(addresses, NAME).await?;
    let body = Internal::Settings {
        settings: settings.clone(),
        wall,
    };
    let queue = names.log(partition);
    let mut scribe = OneShotAppender::new(&link, &queue).await?;
    let began = Instant::now();
    scribe.append(&body).await?;
    link.close().await;
    // A worker that had not read them yet may have repeated the old ones at the log's very end.
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

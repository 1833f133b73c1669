//! The settings that a log carries: read by operators, appended by them.

use std::time::Duration;

use super::{Addresses, BrokerError, Link, LogFollower, LogFrom, Names, scribe::Scribe};
use crate::{
    domain::{Entry, Internal, Settings, WallTime},
    wire,
};

/// How long the log may deliver nothing while it is read.
const PATIENCE: Duration = Duration::from_secs(20);

/// What RabbitMQ calls the connections.
const NAME: &str = "streamwatch settings";

/// Why settings were not appended.
#[derive(Debug, thiserror::Error)]
pub enum SettingsConflict {
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Somebody else set them at the same moment.
    #[error("somebody else changed the settings at the same moment; look at them and try again")]
    Overtaken,
}

/// Reads the settings in force in a partition's log; `None` where it has none yet.
///
/// Workers repeat them every interval, so the log's end says them as long as one runs; else the
/// log is read from further and further back.
///
/// # Errors
/// `NotFound` where there is no log.
pub async fn read(
    addresses: &Addresses,
    names: &Names,
    partition: u16,
) -> Result<Option<Settings>, BrokerError> {
    let queue = names.log(partition);
    for from in [
        LogFrom::Last,
        LogFrom::Ago(Duration::from_secs(60)),
        LogFrom::Ago(Duration::from_secs(3_600)),
        LogFrom::First,
    ] {
        let mut reading = Reading {
            next: None,
            found: None,
        };
        let mut from = from;
        // An entry that cannot be read ends its connection: the next one begins behind it.
        while let Err(error) = reading.read(addresses, &queue, from).await {
            match (&error, reading.next) {
                (BrokerError::Unreadable(_), Some(next)) => {
                    reading.next = Some(next + 1);
                    from = LogFrom::Offset(next + 1);
                }
                (BrokerError::Unreadable(_), None) if from != LogFrom::First => break,
                (BrokerError::Unreadable(_), None) => {
                    reading.next = Some(0);
                    from = LogFrom::Offset(1);
                }
                _ => return Err(error),
            }
        }
        if reading.found.is_some() {
            return Ok(reading.found);
        }
    }
    Ok(None)
}

/// One pass over a log, up to where it ended when the pass began.
struct Reading {
    /// The offset behind the last entry that was read.
    next: Option<u64>,
    found: Option<Settings>,
}

impl Reading {
    async fn read(
        &mut self,
        addresses: &Addresses,
        queue: &str,
        from: LogFrom,
    ) -> Result<(), BrokerError> {
        let link = Link::open_any(addresses, NAME).await?;
        let mut scribe = Scribe::new(&link, queue).await?;
        let mut follower = LogFollower::attach(&link, queue, from).await?;
        // Written once the log is attached: the last chunk may be one that came after it.
        let end = scribe.append(&Internal::Tick(None)).await?;
        loop {
            let delivery = tokio::time::timeout(PATIENCE, follower.next())
                .await
                .map_err(|_| BrokerError::Timeout {
                    doing: "reading the log",
                    waited: PATIENCE,
                })??;
            follower.ack();
            self.next = self.next.max(Some(delivery.offset + 1));
            // A player's bad event is not an operator's concern.
            let Ok(Entry::Internal { mark, body, .. }) = wire::entry(&delivery.message()) else {
                continue;
            };
            if let Internal::Settings { settings, .. } | Internal::Tick(Some(settings)) = body
                && self
                    .found
                    .as_ref()
                    .is_none_or(|f| settings.number > f.number)
            {
                self.found = Some(settings);
            }
            if mark == end {
                link.close().await;
                return Ok(());
            }
        }
    }
}

/// Appends settings and makes sure that they are the ones in force.
///
/// # Errors
/// [`SettingsConflict::Overtaken`] where others with the same number came first.
pub async fn append(
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
    let mut scribe = Scribe::new(&link, &names.log(partition)).await?;
    scribe.append(&body).await?;
    link.close().await;
    match read(addresses, names, partition).await? {
        Some(in_force) if in_force == *settings => Ok(()),
        _ => Err(SettingsConflict::Overtaken),
    }
}

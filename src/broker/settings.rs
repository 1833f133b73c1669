//! The settings that a log carries: read by operators, appended by them.

use std::time::Duration;

use super::{Appended, Appender, BrokerError, Link, LogFollower, LogFrom, Names};
use crate::{
    domain::{Entry, Internal, Mark, Settings, WallTime},
    wire,
};

/// How long the log may deliver nothing while it is read.
const PATIENCE: Duration = Duration::from_secs(20);

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

/// One short-lived writer of a log.
struct Scribe {
    appender: Appender,
    mark: Mark,
}

impl Scribe {
    async fn new(link: &Link, queue: &str) -> Result<Self, BrokerError> {
        Ok(Self {
            appender: Appender::new(link, queue).await?,
            mark: Mark {
                writer: uuid::Uuid::new_v4().as_u64_pair().0,
                seq: 0,
            },
        })
    }

    /// Appends an entry and waits for its confirm.
    async fn append(&mut self, body: &Internal) -> Result<Mark, BrokerError> {
        self.mark.seq += 1;
        let bytes = wire::encode_internal(self.mark, None, body);
        let kind = wire::internal_kind(body);
        self.appender.append(self.mark.seq, kind, bytes);
        match self.appender.next().await.1 {
            Appended::Confirmed => Ok(self.mark),
            Appended::Lost(error) => Err(error),
            Appended::Failed => Err(BrokerError::NotFound(
                "the log takes no entry: it is not there, or has lost its majority of nodes"
                    .to_owned(),
            )),
        }
    }
}

/// Reads the settings in force in a partition's log; `None` where it has none yet.
///
/// Workers repeat them every interval, so the log's end says them as long as one runs; else the
/// log is read from further and further back.
///
/// # Errors
/// `NotFound` where there is no log.
pub async fn read(
    link: &Link,
    names: &Names,
    partition: u16,
) -> Result<Option<Settings>, BrokerError> {
    let queue = names.log(partition);
    let mut scribe = Scribe::new(link, &queue).await?;
    for from in [
        LogFrom::Last,
        LogFrom::Ago(Duration::from_secs(60)),
        LogFrom::Ago(Duration::from_secs(3_600)),
        LogFrom::First,
    ] {
        let follower = LogFollower::attach(link, &queue, from).await?;
        // Written once the log is attached: the last chunk may be one that came after it.
        let end = scribe.append(&Internal::Tick(None)).await?;
        if let Some(settings) = read_until(follower, end).await? {
            return Ok(Some(settings));
        }
    }
    Ok(None)
}

async fn read_until(mut follower: LogFollower, end: Mark) -> Result<Option<Settings>, BrokerError> {
    let mut found: Option<Settings> = None;
    loop {
        let delivery = tokio::time::timeout(PATIENCE, follower.next())
            .await
            .map_err(|_| BrokerError::Timeout {
                doing: "reading the log",
                waited: PATIENCE,
            })??;
        follower.ack();
        // A player's bad event is not an operator's concern.
        let Ok(Entry::Internal { mark, body, .. }) = wire::entry(&delivery.message()) else {
            continue;
        };
        if let Internal::Settings { settings, .. } | Internal::Tick(Some(settings)) = body
            && found.as_ref().is_none_or(|f| settings.number > f.number)
        {
            found = Some(settings);
        }
        if mark == end {
            return Ok(found);
        }
    }
}

/// Appends settings and makes sure that they are the ones in force.
///
/// # Errors
/// [`SettingsConflict::Overtaken`] where others with the same number came first.
pub async fn append(
    link: &Link,
    names: &Names,
    partition: u16,
    settings: &Settings,
    wall: WallTime,
) -> Result<(), SettingsConflict> {
    let mut scribe = Scribe::new(link, &names.log(partition)).await?;
    let body = Internal::Settings {
        settings: settings.clone(),
        wall,
    };
    scribe.append(&body).await?;
    match read(link, names, partition).await? {
        Some(in_force) if in_force == *settings => Ok(()),
        _ => Err(SettingsConflict::Overtaken),
    }
}

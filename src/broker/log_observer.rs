//! Reads the workers that follow a log from its entries, for `streamwatch check`.

use std::{collections::HashMap, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{BrokerError, Link, LogFrom, Names, bounded_log::BoundedLog};
use crate::domain::{Internal, LogTime, Settings, WallTime};

/// Attempts to read the log's end.
const MAX_ATTEMPTS: u32 = 5;

/// One partition's log, as it was watched.
#[derive(Clone, Debug)]
pub struct LogObserver {
    /// How long an entry took to be written and read again.
    pub round_trip: Duration,
    /// The settings that workers repeated meanwhile.
    pub settings: Option<Settings>,
    /// The log's time at the last tick that came, give or take two intervals.
    pub log_time: Option<LogTime>,
    /// The workers whose ticks came.
    pub workers: Vec<ObservedWorker>,
}

/// A worker, seen by its ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedWorker {
    /// The random number that its entries carry, and that its log names.
    pub writer: u64,
    /// How far its wall clock is ahead of this machine's, in milliseconds; what the last of its ticks
    /// took on the way is missing from it.
    pub ahead_ms: i64,
    /// It leads.
    pub leads: bool,
    /// Number of its buffered lifecycle events, whose publication the log does not record.
    pub unannounced: u64,
}

/// Writes an entry into a partition's log, reads it again, and goes on watching for a while. `wall`
/// reads this machine's wall clock.
///
/// # Errors
/// `NotFound` if there is no log, `AccessRefused` without permission to read the log or to write to
/// the default exchange.
pub async fn survey(
    link: Link,
    names: &Names,
    partition: u16,
    watched: Duration,
    wall: fn() -> WallTime,
) -> Result<LogObserver, BrokerError> {
    let mut attempts = 1;
    let (mut tail, round_trip) = loop {
        match round_trip(&link, &names.log(partition)).await {
            // The first entry behind the log's end cannot be delivered: its offset is not known.
            Err(BrokerError::Internal(_)) if attempts < MAX_ATTEMPTS => attempts += 1,
            measured => break measured?,
        }
    };
    let until = Instant::now() + watched;
    let (mut settings, mut log_time, mut workers) = (None, None, HashMap::new());
    while let Ok(entry) = timeout_at(until, tail.entry()).await {
        let Some(entry) = entry?.1 else { continue };
        if let Internal::Tick(Some(repeated)) = entry.body {
            settings = Some(repeated);
        }
        if let Some(reading) = entry.reading {
            log_time = log_time.max(Some(reading.estimate));
            let seen = ObservedWorker {
                writer: entry.mark.writer,
                ahead_ms: reading.wall.0 - wall().0,
                leads: reading.leads,
                unannounced: reading.unannounced,
            };
            workers.insert(entry.mark.writer, seen);
        }
    }
    link.close().await;
    Ok(LogObserver {
        round_trip,
        settings,
        log_time,
        workers: workers.into_values().collect(),
    })
}

/// Writes an entry and reads it again.
async fn round_trip(link: &Link, log: &str) -> Result<(BoundedLog, Duration), BrokerError> {
    let asked = Instant::now();
    let (mut tail, end) = BoundedLog::open(link, log, LogFrom::Next).await?;
    while tail.entry().await?.1.is_none_or(|entry| entry.mark != end) {}
    Ok((tail, asked.elapsed()))
}

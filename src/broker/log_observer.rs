//! The state of a partition's workers as its log shows it, for operators' checks.

use std::{collections::HashMap, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{BrokerError, Connection, LogFrom, Names, bounded_log::BoundedLog};
use crate::domain::{Internal, LogTime, Settings, WallTime};

/// Attempts to read the log's end.
const MAX_ATTEMPTS: u32 = 5;

/// An observation of one partition's log.
#[derive(Clone, Debug)]
pub struct LogObservation {
    /// The time between publishing an entry and reading it back.
    pub round_trip: Duration,
    /// The settings that workers repeated meanwhile.
    pub settings: Option<Settings>,
    /// The log time of the latest tick, accurate to two tick intervals.
    pub log_time: Option<LogTime>,
    /// The workers whose ticks were read.
    pub workers: Vec<ObservedWorker>,
}

/// A worker, as its ticks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedWorker {
    /// The worker's random id, which its entries contain.
    pub writer: u64,
    /// The lead of its wall clock over this machine's, in milliseconds, less the delay of its last
    /// tick.
    pub ahead_ms: i64,
    /// Whether the worker is the leader.
    pub leads: bool,
    /// Lifecycle events that the worker holds and the log does not record as announced.
    pub unannounced: u64,
}

/// Appends an entry to a partition's log, reads it back, and reads on for the time `watched`.
/// `wall` is this machine's wall clock.
///
/// # Errors
/// `NotFound` if there is no log, `AccessRefused` if the user may not read the log or not publish
/// to the default exchange.
pub async fn observe_log(
    connection: Connection,
    names: &Names,
    partition: u16,
    watched: Duration,
    wall: fn() -> WallTime,
) -> Result<LogObservation, BrokerError> {
    let mut attempts = 1;
    let (mut log, round_trip) = loop {
        match round_trip(&connection, &names.log(partition)).await {
            // The first entry after the log's end is undeliverable, and its offset unknown.
            Err(BrokerError::Internal(_)) if attempts < MAX_ATTEMPTS => attempts += 1,
            measured => break measured?,
        }
    };
    let until = Instant::now() + watched;
    let (mut settings, mut log_time, mut workers) = (None, None, HashMap::new());
    while let Ok(entry) = timeout_at(until, log.entry()).await {
        let Some(entry) = entry?.1 else { continue };
        if let Internal::Tick(Some(repeated)) = entry.body {
            settings = Some(repeated);
        }
        if let Some(writer_state) = entry.writer_state {
            log_time = log_time.max(Some(writer_state.estimate));
            let seen = ObservedWorker {
                writer: entry.entry_id.writer,
                ahead_ms: writer_state.wall.0 - wall().0,
                leads: writer_state.leads,
                unannounced: writer_state.unannounced,
            };
            workers.insert(entry.entry_id.writer, seen);
        }
    }
    connection.close().await;
    Ok(LogObservation {
        round_trip,
        settings,
        log_time,
        workers: workers.into_values().collect(),
    })
}

/// Appends a marker to a log, and reads up to it.
async fn round_trip(
    connection: &Connection,
    queue: &str,
) -> Result<(BoundedLog, Duration), BrokerError> {
    let began = Instant::now();
    let (mut log, end) = BoundedLog::open(connection, queue, LogFrom::Next).await?;
    while log
        .entry()
        .await?
        .1
        .is_none_or(|entry| entry.entry_id != end)
    {}
    Ok((log, began.elapsed()))
}

//! Reading a log (RabbitMQ: stream), including entries that RabbitMQ cannot deliver.
//!
//! RabbitMQ closes the connection of an AMQP 0.9.1 consumer with error 541 if it cannot encode an
//! entry for AMQP 0.9.1, and does so at every attempt. Each reader therefore has its own
//! connection. After a 541 the reader attaches again with prefetch 1, so that only the next entry
//! can cause a further 541. If one follows, the reader checks that the log's end can be consumed,
//! and attaches once more. If that causes a 541 too, the reader skips the entry's offset. For a
//! minute from then on, it skips an entry after a single prompt 541 with prefetch 1.

mod consumer;
mod entry;
mod from;
mod standby;
mod start;

use std::{mem, pin::Pin, time::Duration};

use tokio::time::Instant;

use super::{BrokerError, Connection, connect::Endpoint};
use consumer::LogConsumer;
pub use entry::{LogDelivery, LogEntry};
pub use from::LogFrom;
use standby::Standby;
use start::Start;

/// Most unacknowledged entries of a reader. A reader that catches up buffers that many. Bodies are
/// cut off at 256 KiB, so the buffer takes at most 64 MiB.
const PREFETCH: u16 = 256;
/// Entries read with prefetch 1 after an undeliverable one, before the prefetch is raised again.
const SINGLE_ENTRIES: u32 = 32;
/// Time after an undeliverable entry for which a single failure proves another one.
const CERTAIN_FOR: Duration = Duration::from_secs(60);
/// Longest time from attaching, or from the entry before, to a failure that proves an undeliverable
/// entry. Timeouts inside RabbitMQ, which also end in error 541, are longer.
const PROMPT: Duration = Duration::from_secs(1);

type Opening<T> = Pin<Box<dyn Future<Output = Result<T, BrokerError>> + Send>>;

#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each reader, and it is nearly always the large variant"
)]
enum State {
    Reading(LogConsumer),
    Attaching(Opening<LogConsumer>),
    Starting(Opening<Start>),
    Ended,
}

/// A reader of one log, on a connection of its own.
pub struct LogFollower {
    endpoint: Endpoint,
    queue: String,
    prefetch: u16,
    state: State,
    /// The position of the next entry.
    from: LogFrom,
    /// Entries still to be read with prefetch 1; `None` if the full prefetch applies.
    single_left: Option<u32>,
    /// The offset at which the connection has failed once with prefetch 1.
    failed_at: Option<u64>,
    /// Until this time, one prompt failure with prefetch 1 proves an entry undeliverable.
    certain_until: Option<Instant>,
    /// Time at which the next entry was requested with prefetch 1.
    requested: Instant,
    /// Connections for the next attempts, while entries are read with prefetch 1.
    standby: Option<Standby>,
    /// Undeliverable entries at the log's beginning that are still to be returned.
    beginning: std::ops::Range<u64>,
}

impl LogFollower {
    /// Attaches to the log `queue`, on another connection to `connection`'s address.
    ///
    /// # Errors
    /// `NotFound` if the log does not exist, `Unavailable` if this node has no running replica.
    pub async fn attach(
        connection: &Connection,
        queue: &str,
        from: LogFrom,
    ) -> Result<Self, BrokerError> {
        Self::attach_with(connection, queue, from, PREFETCH).await
    }

    pub(super) async fn attach_with(
        connection: &Connection,
        queue: &str,
        from: LogFrom,
        prefetch: u16,
    ) -> Result<Self, BrokerError> {
        let mut follower = Self {
            endpoint: connection.endpoint(),
            queue: queue.to_owned(),
            prefetch,
            state: State::Ended,
            from,
            single_left: None,
            failed_at: None,
            certain_until: None,
            requested: Instant::now(),
            standby: None,
            beginning: 0..0,
        };
        match LogConsumer::open(connection.endpoint(), queue.to_owned(), from, prefetch).await {
            Ok(consumer) => follower.state = State::Reading(consumer),
            Err(BrokerError::Internal(text)) => {
                follower.internal(text)?;
            }
            Err(error) => return Err(error),
        }
        Ok(follower)
    }

    /// The next entry. Cancel safe.
    ///
    /// # Errors
    /// If the connection is lost, or the log deleted.
    pub async fn next(&mut self) -> Result<LogEntry, BrokerError> {
        loop {
            if let Some(offset) = self.beginning.next() {
                return Ok(LogEntry::Undeliverable(offset));
            }
            let outcome = match &mut self.state {
                State::Reading(consumer) => consumer.next().await.map(Some),
                State::Attaching(attaching) => attaching.await.map(|consumer| {
                    self.state = State::Reading(consumer);
                    None
                }),
                State::Starting(starting) => starting.await.map(|start| {
                    self.beginning = start.undeliverable;
                    self.from = LogFrom::Offset(start.offset);
                    self.attach_again(1);
                    None
                }),
                State::Ended => return Err(BrokerError::Cancelled(self.queue.clone())),
            };
            match outcome {
                Ok(Some(delivery)) => return Ok(self.delivered(delivery)),
                Ok(None) => {}
                Err(error) => {
                    if let Some(entry) = self.failed(error)? {
                        return Ok(entry);
                    }
                }
            }
        }
    }

    /// The next entry, if it has already been delivered.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn try_next(&mut self) -> Result<Option<LogEntry>, BrokerError> {
        let State::Reading(consumer) = &mut self.state else {
            return Ok(None);
        };
        match consumer.try_next() {
            Ok(None) => Ok(None),
            Ok(Some(delivery)) => Ok(Some(self.delivered(delivery))),
            Err(error) => self.failed(error),
        }
    }

    /// Acknowledges every entry returned so far. Call it on a timer too: RabbitMQ closes the
    /// channel of a consumer that leaves a delivery unacknowledged for half an hour.
    pub fn ack(&mut self) {
        if let State::Reading(consumer) = &mut self.state {
            consumer.ack();
        }
    }

    fn delivered(&mut self, delivery: LogDelivery) -> LogEntry {
        self.from = LogFrom::Offset(delivery.offset + 1);
        self.failed_at = None;
        match &mut self.single_left {
            Some(0) => {
                self.single_left = None;
                self.attach_again(self.prefetch);
            }
            Some(left) => {
                *left -= 1;
                self.requested = Instant::now();
            }
            None => {}
        }
        LogEntry::Delivered(delivery)
    }

    fn failed(&mut self, error: BrokerError) -> Result<Option<LogEntry>, BrokerError> {
        match error {
            BrokerError::Internal(text) => self.internal(text),
            error => {
                self.state = State::Ended;
                Err(error)
            }
        }
    }

    /// Attaches again after error 541. Returns the entry if it is skipped as undeliverable.
    fn internal(&mut self, text: String) -> Result<Option<LogEntry>, BrokerError> {
        let from = mem::replace(&mut self.state, State::Ended);
        let starting = matches!(from, State::Starting(_));
        let at = match self.from {
            LogFrom::Offset(at) if !starting => at,
            LogFrom::First if !starting => {
                let start = start::find(self.endpoint.clone(), self.queue.clone());
                self.state = State::Starting(Box::pin(start));
                return Ok(None);
            }
            // The offset is unknown: the caller attaches at another position, or again.
            _ => return Err(BrokerError::Internal(text)),
        };
        let alone = self.single_left.replace(SINGLE_ENTRIES).is_some();
        let prompt = self.requested.elapsed() < PROMPT;
        let certain = prompt && self.certain_until.is_some_and(|at| Instant::now() < at);
        tracing::debug!(
            queue = self.queue,
            offset = at,
            alone,
            certain,
            "RabbitMQ closed the connection with an internal error; reading the log again"
        );
        if alone && (certain || self.failed_at == Some(at)) {
            self.failed_at = None;
            self.certain_until = Some(Instant::now() + CERTAIN_FOR);
            self.from = LogFrom::Offset(at + 1);
            self.attach_again(1);
            return Ok(Some(LogEntry::Undeliverable(at)));
        }
        if alone {
            self.failed_at = Some(at);
            self.attach_after_control();
        } else {
            self.attach_again(1);
        }
        Ok(None)
    }

    fn attach_again(&mut self, prefetch: u16) {
        let (queue, from) = (self.queue.clone(), self.from);
        self.requested = Instant::now();
        self.state = if prefetch == 1 {
            self.single_left = Some(SINGLE_ENTRIES);
            let standby = self.standby();
            State::Attaching(Box::pin(async move {
                LogConsumer::attach(standby.take().await?, queue, from).await
            }))
        } else {
            self.standby = None;
            let opening = LogConsumer::open(self.endpoint.clone(), queue, from, prefetch);
            State::Attaching(Box::pin(opening))
        };
    }

    fn standby(&mut self) -> Standby {
        let endpoint = &self.endpoint;
        self.standby
            .get_or_insert_with(|| Standby::new(endpoint.clone()))
            .clone()
    }

    /// Attaches again, if the log's end can be consumed. If that fails too, the entry is not the
    /// cause of the failure.
    fn attach_after_control(&mut self) {
        let (endpoint, queue, from) = (self.endpoint.clone(), self.queue.clone(), self.from);
        let standby = self.standby();
        self.state = State::Attaching(Box::pin(async move {
            consumer::control(endpoint, queue.clone()).await?;
            LogConsumer::attach(standby.take().await?, queue, from).await
        }));
    }
}

//! The history of a stream in the log.

use streamwatch::domain::Settings;

#[derive(Clone, Copy, Debug)]
pub struct Sign {
    pub at: u64,
    pub log_ms: u64,
    /// How long it keeps the stream active, in true time and in log time.
    pub ttl_ms: u64,
    pub lasts_ms: u64,
    pub is_heartbeat: bool,
}

/// The history of a stream in the log.
#[derive(Debug, Default)]
pub struct Life {
    /// Its heartbeats and `init`s since its last end.
    pub signs: Vec<Sign>,
    /// Its last heartbeat or `init`, dropped ones included.
    pub heard: Option<Sign>,
    /// The true time of its last end, if no heartbeat came after it.
    pub ended: Option<u64>,
    /// Its TTL.
    pub ttl_ms: u64,
    /// Log time of its start.
    pub began_ms: u64,
    /// The log time until which it stays stopped.
    pub stopped_until: u64,
    /// An `init` named it in `replace`, or a stop of it changed nothing: a replica without the
    /// log's beginning may have stopped it.
    pub named: bool,
}

impl Life {
    pub fn live(&mut self, sign: Sign) {
        assert!(
            self.stopped_until <= sign.log_ms,
            "a stopped stream counts again: {self:?}, {sign:?}"
        );
        if !self.is_active(sign.log_ms) {
            self.began_ms = sign.log_ms;
        }
        self.ttl_ms = sign.ttl_ms;
        self.signs.push(sign);
        self.ended = None;
    }

    pub fn is_active(&self, log_ms: u64) -> bool {
        let last = self.signs.last();
        last.is_some_and(|sign| log_ms < sign.log_ms + sign.lasts_ms)
    }

    /// Its age, from the next whole second after its start.
    pub const fn age_ms(&self, log_ms: u64) -> u64 {
        log_ms.saturating_sub(self.began_ms.div_ceil(1_000) * 1_000)
    }

    /// Whether it is stopped, even if its player still sends heartbeats.
    pub fn stays_stopped(&mut self, log_ms: u64, settings: &Settings) {
        let lasts_ms = settings.tombstone_ms().max(self.ttl_ms);
        self.stopped_until = self.stopped_until.max(log_ms + lasts_ms);
    }
}

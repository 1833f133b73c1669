//! Entries of a log, as a reader returns them.

use lapin::message::Delivery;

use crate::{
    broker::{
        Names, NoReply,
        delivery::{message, received},
        reply_to::{ReplyTo, reply_to},
    },
    domain::WallTime,
    wire::Message,
};

/// The next entry of a log.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every entry is the large variant, and a box costs an allocation for each"
)]
#[derive(Debug)]
pub enum LogEntry {
    /// The entry, as it was delivered.
    Delivered(LogDelivery),
    /// RabbitMQ cannot deliver the entry at this offset.
    Undeliverable(u64),
}

impl LogEntry {
    /// The entry's offset.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match self {
            Self::Delivered(delivery) => delivery.offset,
            Self::Undeliverable(offset) => *offset,
        }
    }
}

/// A delivered entry.
#[derive(Debug)]
pub struct LogDelivery {
    /// The entry's offset in its log.
    pub offset: u64,
    pub(super) delivery: Delivery,
}

impl LogDelivery {
    /// The parts of the entry that the wire format reads.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        message(&self.delivery)
    }

    /// The time at which RabbitMQ received the entry, if RabbitMQ adds it.
    #[must_use]
    pub fn received(&self) -> Option<WallTime> {
        received(&self.delivery)
    }

    /// The reply address of the entry.
    ///
    /// # Errors
    /// If the entry requests no reply, or its reply address is invalid.
    pub fn reply_to(&self, names: &Names) -> Result<ReplyTo, NoReply> {
        reply_to(&self.delivery, names)
    }
}

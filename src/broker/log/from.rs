//! Positions in a log.

use std::time::Duration;

use lapin::types::AMQPValue;

/// The position at which to attach to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFrom {
    /// The oldest entry.
    First,
    /// The last chunk of entries.
    Last,
    /// The next entry to be appended.
    Next,
    /// The entry at this offset.
    Offset(u64),
    /// The chunk of entries of about this long ago.
    Ago(Duration),
}

impl LogFrom {
    pub(super) fn argument(self) -> AMQPValue {
        match self {
            Self::First => AMQPValue::LongString("first".into()),
            Self::Last => AMQPValue::LongString("last".into()),
            Self::Next => AMQPValue::LongString("next".into()),
            Self::Offset(offset) => {
                AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX))
            }
            Self::Ago(ago) => AMQPValue::LongString(format!("{}s", ago.as_secs()).into()),
        }
    }
}

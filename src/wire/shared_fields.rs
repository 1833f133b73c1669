//! Checks of fields that messages of several kinds have.

use super::{
    Problem,
    fields::{ReasonField, Text, UuidField},
    message::{at_most, bad, missing},
};
use crate::domain::{MAX_GROUP_BY, MAX_KEY_BYTES, Stop, StopTarget, StreamId};

/// The stop of a stream, or of all with `all`.
pub(super) fn stop_of(
    stream: Option<UuidField>,
    all: Option<bool>,
    reason: Option<ReasonField>,
) -> Result<Stop, Problem> {
    let is_all = all == Some(true);
    if is_all && stream.is_some() {
        return Err(bad("all", "must not be true beside stream"));
    }
    let target = if is_all {
        StopTarget::All
    } else {
        StopTarget::One(stream_id(stream)?)
    };
    let reason = reason.map(|field| field.0);
    Ok(Stop { target, reason })
}

pub(super) fn stream_id(field: Option<UuidField>) -> Result<StreamId, Problem> {
    field
        .map(|id| StreamId(id.0))
        .ok_or_else(|| missing("stream"))
}

/// Checks the keys, and omits duplicates: they are keys of an object in the reply.
pub(super) fn group_by(keys: Option<Vec<Text>>) -> Result<Vec<String>, Problem> {
    let keys = keys.unwrap_or_default();
    at_most(MAX_GROUP_BY, "metadata keys", "group_by", keys.len())?;
    let mut different: Vec<String> = Vec::with_capacity(keys.len());
    for Text(key) in keys {
        if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
            let message = format!(
                "each element must be a metadata key of 1 to {MAX_KEY_BYTES} bytes, not an empty \
                 or a longer one"
            );
            return Err(bad("group_by", message));
        }
        if !different.iter().any(|other| *other == key) {
            different.push(key.into_owned());
        }
    }
    Ok(different)
}

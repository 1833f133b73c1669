//! The properties that all messages of a worker have.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

use crate::wire::{APP_ID, CONTRACT};

/// Of a message of this type.
pub(super) fn ours(kind: &'static str) -> BasicProperties {
    BasicProperties::default()
        .with_type(kind.into())
        .with_app_id(APP_ID.into())
        .with_content_type("application/json".into())
}

/// The headers of the contract.
pub(super) fn contract() -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert("contract".into(), AMQPValue::LongInt(CONTRACT));
    headers
}

//! The properties of every message that a worker publishes.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

use crate::wire::{APP_ID, CONTRACT};

/// The properties of a message of the type `kind`.
pub(super) fn worker_properties(kind: &'static str) -> BasicProperties {
    BasicProperties::default()
        .with_type(kind.into())
        .with_app_id(APP_ID.into())
        .with_content_type("application/json".into())
}

/// The headers of a message: the version of the contract.
pub(super) fn contract_headers() -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert("contract".into(), AMQPValue::LongInt(CONTRACT));
    headers
}

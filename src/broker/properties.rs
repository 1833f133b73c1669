//! The properties of every message that a worker publishes.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

use crate::wire::{APP_ID, CONTRACT};

pub(super) fn worker_properties(kind: &'static str) -> BasicProperties {
    BasicProperties::default()
        .with_type(kind.into())
        .with_app_id(APP_ID.into())
        .with_content_type("application/json".into())
}

pub(super) fn contract_headers() -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert("contract".into(), AMQPValue::LongInt(CONTRACT));
    headers
}

//! What operators see: health, metrics, log lines.

mod counters;
mod health;
mod http;

pub use counters::{BadInput, Counters};
pub use health::{Health, PartitionHealth};
pub use http::{HttpError, HttpServer};

//! What operators see: health, metrics, log lines.

mod counters;
mod health;
mod http;

pub use counters::{BadInput, Counters, IntakeCounters};
pub use health::{Health, IntakeHealth, Numbered, PartitionHealth, Report};
pub use http::{HttpError, HttpServer};

//! Observability: health, metrics and spans.

mod bad_input;
mod exposition;
mod figures;
mod health;
mod http;
mod instruments;
mod rate_limit;
mod spans;
mod throttling;

pub use http::{HttpError, StatusSource};
pub use spans::{ExportError, Exporting, export};

pub(crate) use bad_input::{count_bad_input, log_bad_input};
pub(crate) use figures::{
    Active, Figures, MAX_VALUES_SHOWN, PartitionFigures, ReplicaContents, TenantValues, Tenants,
};
pub(crate) use health::{Health, PartitionHealth};
pub(crate) use http::{Endpoints, HttpServer};
pub(crate) use instruments::{IntakeMetrics, PartitionMetrics, ReplyMetrics};
pub(crate) use rate_limit::RateLimit;
pub(crate) use spans::{Parent, Span};
pub(crate) use throttling::{ThrottleMetrics, ThrottledRequest};

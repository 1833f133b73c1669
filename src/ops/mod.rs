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

pub use bad_input::{count_bad_input, log_bad_input};
pub use figures::{
    Active, Figures, MAX_TENANTS, MAX_VALUES_SHOWN, PartitionFigures, ReplicaContents,
    TenantValues, Tenants,
};
pub use health::{Health, IntakeHealth, PartitionHealth, Report};
pub use http::{Endpoints, HttpError, HttpServer, StatusSource};
pub use instruments::{IntakeMetrics, PartitionMetrics, ReplyMetrics};
pub use rate_limit::RateLimit;
pub use spans::{ExportError, Exporting, Parent, Span, export};
pub use throttling::{ThrottleMetrics, ThrottledRequest};

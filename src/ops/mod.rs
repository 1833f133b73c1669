//! Observability: health, metrics and spans.

mod bad_input;
mod exposition;
mod figures;
mod health;
mod http;
mod instruments;
mod spans;
mod throttling;

pub use bad_input::BadInput;
pub use figures::{
    Active, Figures, Held, MAX_TENANTS, MAX_VALUES_SHOWN, PartitionFigures, TenantValues, Tenants,
};
pub use health::{Health, IntakeHealth, Numbered, PartitionHealth, Report};
pub use http::{Endpoints, HttpError, HttpServer, Shown};
pub use instruments::{IntakeMetrics, PartitionMetrics, ReplyMetrics};
pub use spans::{ExportError, Exporting, Parent, Span, export};
pub use throttling::{ThrottleMetrics, ThrottledRequest};

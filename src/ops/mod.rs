//! Observability: health, metrics and spans.

mod bad_input;
mod counters;
mod exposition;
mod figures;
mod health;
mod http;
mod spans;

pub use bad_input::BadInput;
pub use counters::{Counters, IntakeCounters, ReplyCounters};
pub use figures::{Active, Figures, Held, MAX_TENANTS, PartitionFigures, Tenants};
pub use health::{Health, IntakeHealth, Numbered, PartitionHealth, Report};
pub use http::{Endpoints, HttpError, HttpServer};
pub use spans::{ExportError, Exporting, Parent, Span, export};

//! Spans of requests that belong to a trace, exported over OTLP if the standard `OTEL_…` variables
//! are set. Without them, or without the feature `otel`, requests have no spans.

#[cfg(feature = "otel")]
#[path = "spans/otlp.rs"]
mod export;

#[cfg(not(feature = "otel"))]
#[path = "spans/nothing.rs"]
mod export;

pub use export::{Exporting, Span, export};

/// The trace context of a request.
#[derive(Clone, Copy, Debug)]
pub struct Parent<'a> {
    /// The trace's id.
    pub trace: u128,
    /// The span's id.
    pub span: u64,
    /// The lowest bit is set if the trace is sampled. Other traces get no span here.
    pub flags: u8,
    /// Vendor-specific trace state.
    pub state: &'a str,
}

/// An error in the configuration of the export.
#[derive(Debug, thiserror::Error)]
#[error("OTEL_…: cannot export traces: {0}")]
pub struct ExportError(pub String);

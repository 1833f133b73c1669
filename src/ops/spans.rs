//! Spans of requests that belong to a trace, exported by OTLP where the usual `OTEL_…` variables ask
//! for it. Without them, and without the feature `otel`, a request has none.

#[cfg(feature = "otel")]
#[path = "spans/otlp.rs"]
mod export;

#[cfg(not(feature = "otel"))]
#[path = "spans/nothing.rs"]
mod export;

pub use export::{Exporting, Span, export};

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Parent<'a> {
    /// The trace's id.
    pub trace: u128,
    /// The span's id.
    pub span: u64,
    /// The lowest bit says that the trace is recorded; one that is not has no span here either.
    pub flags: u8,
    /// What tracing systems say to each other.
    pub state: &'a str,
}

/// Spans cannot be exported as the environment asks.
#[derive(Debug, thiserror::Error)]
#[error("OTEL_…: cannot export traces: {0}")]
pub struct ExportError(pub String);

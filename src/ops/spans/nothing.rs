//! A program that exports no spans.

use super::{ExportError, Parent};

/// The span of a request, without function.
#[derive(Debug)]
pub struct Span(std::convert::Infallible);

impl Span {
    /// Returns `None`.
    pub const fn begin(_kind: &'static str, _partition: u16, _parent: Parent<'_>) -> Option<Self> {
        None
    }

    /// Its id.
    pub const fn id(&self) -> u64 {
        match self.0 {}
    }

    /// Ends it.
    pub const fn end(self, _outcome: &'static str) {
        match self.0 {}
    }
}

/// The exporter, without function.
#[derive(Debug)]
pub struct Exporting(());

impl Exporting {
    /// Exports pending spans.
    pub const fn finish(self) {}
}

/// Returns `None`, as this program exports no spans.
///
/// # Errors
/// None.
pub const fn export() -> Result<Option<Exporting>, ExportError> {
    Ok(None)
}

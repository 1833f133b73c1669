//! The decoders of input that reaches an edge from outside, for the fuzz targets in `tests/fuzz`.
//! [`crate::wire::Addressed`] decodes bodies, and [`super::adobe::Policies`] a policy file.

use std::fmt;

use super::{access, adobe, api};

pub use access::check_file;

/// Decodes the query of an activity. Returns the detail of a problem.
///
/// # Errors
/// If the query is not acceptable.
pub fn query(query: &str) -> Result<impl fmt::Debug + use<>, impl fmt::Debug + use<>> {
    api::status_query(query)
}

/// Decodes the body of a beacon: a token, and the id of an application.
#[must_use]
pub fn beacon(body: &[u8]) -> (Option<String>, Option<String>) {
    api::credentials(body)
}

/// Decodes a JSON Web Key Set of a URL. Returns the ids of its usable keys.
///
/// # Errors
/// If there is no usable key.
pub fn key_set(json: &str) -> Result<Vec<String>, String> {
    access::key_ids(json)
}

/// Decodes the metadata of a session and of its heartbeats, and termination codes.
#[must_use]
pub fn session<'a>(
    policies: &adobe::Policies,
    application: &str,
    (query, form): (&'a str, &'a [u8]),
) -> impl fmt::Debug + use<'a> {
    adobe::decode(policies, application, query, form)
}

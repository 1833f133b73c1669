//! Validated requests of clients.

use serde::Serialize;

use super::{AccountKey, Metadata, RequestId, Rules, StreamId, Terms};

/// Maximum number of metadata keys that one request may group by.
pub const MAX_GROUP_BY: usize = 16;

/// An `init`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitRequest {
    /// The account.
    pub key: AccountKey,
    /// The stream; derived from the request if the player sent none.
    pub stream: StreamId,
    /// The request's id, the same for every delivery.
    pub request: RequestId,
    /// Maximum number of the account's active streams, the new one included.
    pub max_active: Option<u32>,
    /// Streams to stop in the same step.
    pub replace: Vec<StreamId>,
    /// The stream's metadata.
    pub metadata: Metadata,
    /// Further terms, which few requests have.
    pub terms: Option<Box<Terms>>,
    /// Metadata keys by which the reply counts the streams.
    pub group_by: Vec<String>,
}

impl InitRequest {
    /// The first field that these rules do not accept.
    #[must_use]
    pub fn field_beyond(&self, rules: Rules) -> Option<&'static str> {
        let field = self.terms.as_deref()?.first_field()?;
        (!rules.accept(Some(field))).then_some(field)
    }
}

/// A `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRequest {
    /// The account.
    pub key: AccountKey,
    /// The content.
    pub query: StatusQuery,
}

/// The content of a `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StatusQuery {
    /// A stream whose state the reply includes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
    /// Metadata keys by which the reply counts the streams, at most [`MAX_GROUP_BY`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// The required freshness of the reply.
    #[serde(skip_serializing_if = "Consistency::is_local")]
    pub consistency: Consistency,
}

words! {
    /// The required freshness of an answer.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Consistency {
        /// The state of a replica that has read back its own marker within three intervals.
        #[default]
        Local = "local",
        /// Includes all messages confirmed before the request.
        Strong = "strong",
    }
}

impl Consistency {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_local(&self) -> bool {
        *self == Self::Local
    }
}

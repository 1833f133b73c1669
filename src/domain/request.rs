//! Validated requests of clients.

use super::{AccountKey, Metadata, RequestId, StreamId};

/// Most metadata keys that one question may group by.
pub const MAX_GROUP_BY: usize = 16;

/// A request to open a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitRequest {
    /// For which account.
    pub key: AccountKey,
    /// Which stream; derived from the request where the player named none.
    pub stream: StreamId,
    /// The same for every delivery of this request.
    pub request: RequestId,
    /// Open only if, with it, the account has at most so many active streams.
    pub max_active: Option<u32>,
    /// Streams to stop in the same step.
    pub replace: Vec<StreamId>,
    /// The stream's metadata.
    pub metadata: Metadata,
    /// Metadata keys to count the reply's streams by.
    pub group_by: Vec<String>,
}

/// A question about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRequest {
    /// About which account.
    pub key: AccountKey,
    /// A stream whose state is returned too.
    pub stream: Option<StreamId>,
    /// Metadata keys to count the streams by.
    pub group_by: Vec<String>,
    /// How fresh the answer must be.
    pub consistency: Consistency,
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The state of a replica that has read back its own marker within three intervals.
    #[default]
    Local,
    /// Includes all messages confirmed before the request.
    Strong,
}

//! The key of a stream in memory.

use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::LazyLock,
};

use crate::client::{AccountId, StreamId, Tenant};

/// A stream of an account: a hash of tenant, account and stream under a random secret, and the id
/// of the stream. A client cannot choose the hash, so values never reach a stream with the same id
/// in another account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey {
    hash: u64,
    stream: [u8; 16],
}

impl StreamKey {
    pub(in crate::edge) fn new(tenant: &Tenant, account: &AccountId, stream: StreamId) -> Self {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let stream = stream.0.into_bytes();
        Self {
            hash: SECRET.hash_one((tenant.as_str(), account.as_str(), stream)),
            stream,
        }
    }
}

impl Hash for StreamKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

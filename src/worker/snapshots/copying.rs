//! Accounts copied and encoded, on a thread of its own: the replica goes on meanwhile.

use std::{ops::ControlFlow, time::Duration};

use rustix::{process::setpriority_process, thread::gettid};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    broker::{BrokerError, SnapshotParts},
    domain::{Account, AccountKey},
    replica::AccountCopies,
    wire::snapshot::{self, Encoder, PartContent},
};

/// About how large a part becomes before it is compressed, in bytes. Where processors are few,
/// somebody may have to wait as long as one is made.
const PART_BYTES: usize = 16 * 1024;
/// Encoded parts that wait to be written.
const WAITING: usize = 2;
/// The niceness of the thread, the greatest there is.
const NICE: i32 = 19;

/// The parts of one snapshot, encoded in their order.
pub(super) struct Parts {
    parts: SnapshotParts,
    encoder: Encoder,
}

impl Parts {
    pub(super) fn new(parts: SnapshotParts) -> Self {
        Self {
            parts,
            encoder: Encoder::default(),
        }
    }

    pub(super) fn next(&mut self, content: PartContent) -> Result<Vec<u8>, BrokerError> {
        Ok(self.encode(content)?.0)
    }

    /// The same of accounts, whose room is used again.
    fn accounts(&mut self, accounts: &mut Vec<AccountCopy>) -> Result<Vec<u8>, BrokerError> {
        let content = PartContent::Accounts(std::mem::take(accounts));
        let (encoded, content) = self.encode(content)?;
        if let PartContent::Accounts(mut copied) = content {
            copied.clear();
            *accounts = copied;
        }
        Ok(encoded)
    }

    fn encode(&mut self, content: PartContent) -> Result<(Vec<u8>, PartContent), BrokerError> {
        let part = self.parts.next(content);
        let encoded = self.encoder.encode(&part);
        let encoded = encoded.map_err(|error| BrokerError::Precondition(error.to_string()))?;
        Ok((encoded, part.content))
    }
}

/// An account, with the offset of its last entry.
type AccountCopy = (AccountKey, u64, Account);

/// A part with accounts.
pub(super) struct Copied {
    pub(super) part: Vec<u8>,
    /// How long it took to copy and to encode it.
    pub(super) took: Duration,
}

/// The parts with accounts as they come; and in the end what makes the parts behind them, and how
/// many accounts there were.
pub(super) struct Copying {
    pub(super) copied: mpsc::Receiver<Result<Copied, BrokerError>>,
    pub(super) end: oneshot::Receiver<(Parts, u64)>,
}

/// Begins to copy the accounts.
pub(super) fn begin(copies: AccountCopies, mut parts: Parts) -> Result<Copying, BrokerError> {
    let (encoded, to_write) = mpsc::channel(WAITING);
    let (copied, end) = oneshot::channel();
    // Not one of the runtime's: it is nicer than these, and stays so.
    std::thread::Builder::new()
        .name("snapshot".to_owned())
        .spawn(move || {
            // Where it may not be nicer it is not; it rests all the same.
            let _ = setpriority_process(Some(gettid()), NICE);
            let count = copy(&copies, &mut parts, &encoded);
            let _ = copied.send((parts, count));
        })
        .map_err(|error| BrokerError::Lost(error.to_string()))?;
    Ok(Copying {
        copied: to_write,
        end,
    })
}

/// Returns how many there were.
fn copy(
    copies: &AccountCopies,
    parts: &mut Parts,
    encoded: &mpsc::Sender<Result<Copied, BrokerError>>,
) -> u64 {
    let mut accounts = Vec::new();
    let (mut size, mut count) = (0, 0);
    let mut began = Instant::now();
    let mut flush = |accounts: &mut Vec<_>| {
        let copied = parts.accounts(accounts).map(|part| Copied {
            part,
            took: began.elapsed(),
        });
        if encoded.blocking_send(copied).is_err() {
            return ControlFlow::Break(()); // given up
        }
        began = Instant::now();
        ControlFlow::Continue(())
    };
    copies.each(|key, last, account| {
        count += 1;
        size += snapshot::size_of(&account);
        accounts.push((key.clone(), last, account));
        if size < PART_BYTES {
            return ControlFlow::Continue(());
        }
        size = 0;
        flush(&mut accounts)
    });
    if !accounts.is_empty() {
        let _ = flush(&mut accounts);
    }
    count
}

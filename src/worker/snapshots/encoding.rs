//! The parts of a snapshot encoded, on a thread of its own: the replica goes on meanwhile.

use std::time::Duration;

use rustix::{process::setpriority_process, thread::gettid};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    broker::{BrokerError, SnapshotParts},
    wire::snapshot::{Encoder, PartContent, SnapshotError},
};

/// The niceness of the thread, the greatest there is.
const NICE: i32 = 19;

/// Encodes the parts of one snapshot in their order.
pub(super) struct Encoding {
    contents: mpsc::Sender<PartContent>,
    encoded: mpsc::Receiver<Result<Encoded, SnapshotError>>,
}

/// A part to be written.
pub(super) struct Encoded {
    pub(super) part: Vec<u8>,
    /// How long it took to encode it.
    pub(super) took: Duration,
    /// Its content, whose memory can be reused.
    pub(super) content: PartContent,
}

impl Encoding {
    pub(super) fn begin(mut parts: SnapshotParts) -> Result<Self, BrokerError> {
        let (contents, mut to_encode) = mpsc::channel(1);
        let (done, encoded) = mpsc::channel(1);
        // Not one of the runtime's: it is nicer than these, and stays so.
        std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || {
                // Where it may not be nicer it is not; it rests all the same.
                let _ = setpriority_process(Some(gettid()), NICE);
                let mut encoder = Encoder::default();
                while let Some(content) = to_encode.blocking_recv() {
                    let began = Instant::now();
                    let part = parts.next(content);
                    let encoded = encoder.encode(&part).map(|encoded| Encoded {
                        part: encoded,
                        took: began.elapsed(),
                        content: part.content,
                    });
                    if done.blocking_send(encoded).is_err() {
                        return; // given up
                    }
                }
            })
            .map_err(|error| BrokerError::Lost(error.to_string()))?;
        Ok(Self { contents, encoded })
    }

    /// The next part, with this content.
    pub(super) async fn encode(&mut self, content: PartContent) -> Result<Encoded, BrokerError> {
        let gone = || BrokerError::Lost("the thread that encodes snapshots is gone".to_owned());
        let sent = self.contents.send(content).await;
        sent.map_err(|_| gone())?;
        let encoded = self.encoded.recv().await.ok_or_else(gone)?;
        encoded.map_err(|error| BrokerError::Precondition(error.to_string()))
    }
}

//! Encoding of a snapshot's parts on a thread of its own, in parallel with the replica.

use std::time::Duration;

use rustix::{process::setpriority_process, thread::gettid};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    broker::{BrokerError, SnapshotParts},
    wire::snapshot::{Encoder, PartContent, SnapshotError},
};

/// Niceness of the thread. With 19, a snapshot of ten million streams took five minutes beside busy
/// processors.
const NICE: i32 = 10;

/// The thread that encodes the parts of one snapshot in order.
pub(super) struct Encoding {
    contents: mpsc::Sender<PartContent>,
    encoded: mpsc::Receiver<Result<EncodedPart, SnapshotError>>,
}

pub(super) struct EncodedPart {
    pub(super) part: Vec<u8>,
    /// Duration of the encoding.
    pub(super) took: Duration,
    /// Its content, whose memory can be reused.
    pub(super) content: PartContent,
}

impl Encoding {
    pub(super) fn begin(mut parts: SnapshotParts) -> Result<Self, BrokerError> {
        let (contents, mut to_encode) = mpsc::channel(1);
        let (done, encoded) = mpsc::channel(1);
        // The runtime's threads must keep their priority.
        std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || {
                // If this is not permitted, the pauses between parts must do.
                let _ = setpriority_process(Some(gettid()), NICE);
                let mut encoder = Encoder::default();
                while let Some(content) = to_encode.blocking_recv() {
                    let began = Instant::now();
                    let part = parts.next(content);
                    let encoded = encoder.encode(&part).map(|encoded| EncodedPart {
                        part: encoded,
                        took: began.elapsed(),
                        content: part.content,
                    });
                    if done.blocking_send(encoded).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| BrokerError::Lost(error.to_string()))?;
        Ok(Self { contents, encoded })
    }

    pub(super) async fn encode(
        &mut self,
        content: PartContent,
    ) -> Result<EncodedPart, BrokerError> {
        let gone = || BrokerError::Lost("the thread that encodes snapshots has ended".to_owned());
        let sent = self.contents.send(content).await;
        sent.map_err(|_| gone())?;
        let encoded = self.encoded.recv().await.ok_or_else(gone)?;
        encoded.map_err(|error| BrokerError::Precondition(error.to_string()))
    }
}

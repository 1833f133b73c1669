//! Requests of the tests of new rules.

use std::time::Duration;

use streamwatch::client::{
    ActiveStream, Backend, ClientError, Metadata, MetadataPatch, OpenRequest, Opening, Stop,
    StopCause, StopTarget, StreamId,
};

use crate::fixture::{account, patient, strong, tenant};

/// Long enough for an error, on a loaded machine.
pub const WAIT: Duration = Duration::from_secs(5);

pub async fn open(
    backend: &Backend,
    name: &str,
    request: &OpenRequest,
) -> Result<(StreamId, Opening), ClientError> {
    let opening = patient(backend);
    opening.open(&tenant(), &account(name), request).await
}

/// Sends a heartbeat, and waits for its reply.
pub async fn send(
    backend: &Backend,
    name: &str,
    stream: StreamId,
    metadata: Option<MetadataPatch>,
    wait: Duration,
) -> Result<Option<StopCause>, ClientError> {
    let (tenant, account) = (tenant(), account(name));
    let sent = backend.heartbeat(&tenant, &account, stream, metadata, wait);
    sent.await
}

pub async fn add(backend: &Backend, name: &str, stream: StreamId, metadata: Metadata) {
    let sent = send(backend, name, stream, Some(metadata.into()), Duration::ZERO).await;
    sent.expect("it is confirmed");
}

pub async fn stop_all(backend: &Backend, name: &str) -> Result<(), ClientError> {
    let stop = Stop {
        target: StopTarget::All,
        reason: None,
    };
    let (tenant, account) = (tenant(), account(name));
    backend.send_stop(&tenant, &account, stop, WAIT).await
}

pub async fn active(backend: &Backend, name: &str) -> Vec<ActiveStream> {
    let status = patient(backend);
    let status = status.status(&tenant(), &account(name), &strong()).await;
    status.expect("a worker answers").activity.streams
}

/// The state of an account that all workers agree on.
pub async fn agreed(backend: &Backend, name: &str) -> Vec<(StreamId, bool, Metadata)> {
    let streams = active(backend, name).await.into_iter();
    streams
        .map(|stream| (stream.stream, stream.admitted, stream.metadata))
        .collect()
}

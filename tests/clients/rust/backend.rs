// A backend: it requests the activity of accounts, and opens streams for them.

use futures_util::future::try_join_all;
use streamwatch::client::{
    AccountId, Backend, ClientError, OpenRequest, Opening, StatusQuery, StreamId, Tenant,
};

/// The number of active streams of each account. Sends all requests at once, over one connection.
pub async fn playing(
    backend: &Backend,
    tenant: &Tenant,
    accounts: &[AccountId],
) -> Result<Vec<usize>, ClientError> {
    let query = StatusQuery::default();
    let questions = accounts.iter().map(async |account| {
        let status = backend.status(tenant, account, &query).await?;
        Ok(status.activity.streams.len())
    });
    try_join_all(questions).await
}

/// Opens `stream`. If the account already plays on `most` devices, replaces the oldest stream.
///
/// Generate the id before the first try. If no reply arrives, the stream may be active all the
/// same: a retry with the same id does not count twice.
pub async fn take_over(
    backend: &Backend,
    tenant: &Tenant,
    account: &AccountId,
    stream: StreamId,
    most: u32,
) -> Result<Opening, ClientError> {
    let mut request = OpenRequest {
        stream: Some(stream),
        max_active: Some(most),
        ..OpenRequest::default()
    };
    let (_, opening) = backend.open(tenant, account, &request).await?;
    let Opening::Refused { mut activity, .. } = opening else {
        return Ok(opening);
    };
    // The viewer has confirmed to play here. Stopping and opening are one step, so no other stream
    // can be opened in between.
    activity.streams.sort_by_key(|it| it.started_at);
    let too_many = (activity.streams.len() + 1).saturating_sub(most as usize);
    let oldest = activity.streams.iter().take(too_many);
    request.replace = oldest.map(|it| it.stream).collect();
    let (_, opening) = backend.open(tenant, account, &request).await?;
    Ok(opening)
}

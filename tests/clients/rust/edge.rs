// An edge service: it sends the heartbeats of many players in few messages.

use streamwatch::client::{
    AccountId, BadNews, Batcher, ClientError, NewsReader, OpenRequest, StreamId, Tenant,
};

/// Opens a stream and sends its first heartbeat. The reply to the request teaches the batcher the
/// partition of the account, so that its heartbeats are sent in batches from then on.
pub async fn play(
    batcher: &Batcher,
    tenant: &Tenant,
    account: &AccountId,
) -> Result<StreamId, ClientError> {
    let (stream, _) = batcher
        .open(tenant, account, &OpenRequest::default())
        .await?;
    batcher
        .heartbeat(tenant, account, stream, None, None)
        .await?;
    Ok(stream)
}

/// Ends the players whose streams were stopped.
pub async fn end_stopped(mut news: NewsReader, end: impl Fn(&AccountId, StreamId)) {
    while let Some(one) = news.next().await {
        if let BadNews::Stopped(_) = one.news {
            end(&one.account, one.stream);
        }
    }
}

//! Bad news about streams, after their events were confirmed.

use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    client::BadNews,
    domain::{AccountId, StreamId, Tenant},
};

/// Bad news about a stream, from a reply to one of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamNews {
    /// The tenant.
    pub tenant: Tenant,
    /// The account.
    pub account: AccountId,
    /// The stream.
    pub stream: StreamId,
    /// The news.
    pub news: BadNews,
}

/// A reader of the news of a [`Batcher`](super::Batcher). A slow reader loses the oldest news.
#[derive(Debug)]
pub struct NewsReader {
    news: Receiver<StreamNews>,
    lost: u64,
}

impl NewsReader {
    pub(super) const fn new(news: Receiver<StreamNews>) -> Self {
        Self { news, lost: 0 }
    }

    /// Waits for the next news. `None` once all handles of the batcher are dropped. Cancel safe.
    pub async fn next(&mut self) -> Option<StreamNews> {
        loop {
            match self.news.recv().await {
                Ok(news) => return Some(news),
                Err(RecvError::Lagged(lost)) => self.lost += lost,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The number of news that this reader has lost, since it was slow.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test]
    async fn a_slow_reader_loses_the_oldest_news_and_counts_them() {
        let (send, receive) = broadcast::channel(4);
        let mut reader = NewsReader::new(receive);
        let streams: Vec<_> = (0..7).map(|_| StreamId::generate()).collect();
        for stream in &streams {
            let news = StreamNews {
                tenant: Tenant::new("acme").unwrap(),
                account: AccountId::new("alice").unwrap(),
                stream: *stream,
                news: BadNews::Lost,
            };
            send.send(news).unwrap();
        }
        drop(send);
        for stream in &streams[3..] {
            assert_eq!(reader.next().await.map(|news| news.stream), Some(*stream));
        }
        assert_eq!(reader.next().await, None);
        assert_eq!(reader.lost(), 3);
    }
}

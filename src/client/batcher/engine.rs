//! The background task of a batcher: it sends messages, and passes on confirms and news.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::OptionFuture, stream::FuturesUnordered};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    StreamNews,
    awaited::Awaited,
    events::{Outcome, UnconfirmedMessage},
    gather::Gatherer,
    repeated::{REPEAT_FOR, Repeat, Repeated},
};
use crate::{
    broker::Backoff,
    client::{Backend, BadNews, ClientError, backend::bad_news, sent::Sent},
    deadline,
    wire::{Code, Reply},
};

/// Longest wait for the reply to a confirmed message.
const NEWS_WITHIN: Duration = Duration::from_secs(30);

/// Locks the state that a batcher's handles share with its task.
pub(super) fn locked(gatherer: &Mutex<Gatherer>) -> MutexGuard<'_, Gatherer> {
    gatherer.lock().unwrap_or_else(PoisonError::into_inner)
}

type Sending = Pin<Box<dyn Future<Output = (InFlight, Result<Sent, ClientError>)> + Send>>;
type Following = Pin<Box<dyn Future<Output = (InFlight, Followed)> + Send>>;

/// A message that is being sent, or whose reply is awaited.
struct InFlight {
    number: u64,
    outcome: watch::Sender<Option<Outcome>>,
    /// The time until which the message is retried, if it is a retry itself.
    until: Option<Instant>,
    dropped: oneshot::Receiver<()>,
}

enum Followed {
    Unconfirmed(ClientError),
    /// The reply; an error without a reply.
    Replied(Result<Reply, ClientError>),
}

pub(super) struct Engine {
    gatherer: Arc<Mutex<Gatherer>>,
    backend: Backend,
    news: broadcast::Sender<StreamNews>,
    awaited: Awaited,
    repeated: Repeated,
    /// The back-off between failed retries, and the end of the current wait.
    backoff: Backoff,
    repeat_at: Instant,
    /// The message that waits for the connection. Messages are sent one after the other.
    sending: Option<Sending>,
    following: FuturesUnordered<Following>,
}

impl Engine {
    pub(super) fn new(
        gatherer: Arc<Mutex<Gatherer>>,
        backend: Backend,
        news: broadcast::Sender<StreamNews>,
    ) -> Self {
        Self {
            gatherer,
            backend,
            news,
            awaited: Awaited::default(),
            repeated: Repeated::default(),
            backoff: Backoff::default(),
            repeat_at: Instant::now(),
            sending: None,
            following: FuturesUnordered::new(),
        }
    }

    /// Runs until all senders of `wake` are dropped.
    pub(super) async fn run(mut self, mut wake: mpsc::Receiver<()>) {
        loop {
            let next_at = self.proceed(Instant::now());
            tokio::select! {
                woken = wake.recv() => if woken.is_none() { return },
                Some((message, sent)) = OptionFuture::from(self.sending.as_mut()) => {
                    self.sending = None;
                    self.sent(message, sent);
                }
                Some(ended) = self.following.next(), if !self.following.is_empty() => {
                    self.followed(ended);
                }
                () = deadline::until(next_at) => {}
            }
        }
    }

    /// Starts to send the next message, and fails those whose patience has passed. Returns the time
    /// at which there is more to do.
    fn proceed(&mut self, now: Instant) -> Option<Instant> {
        let expired = {
            let mut gatherer = locked(&self.gatherer);
            gatherer.close_gathered(now);
            std::iter::from_fn(|| gatherer.pop_expired(now)).collect::<Vec<_>>()
        };
        for message in expired {
            let error = self.backend.client.not_sent(message.patience);
            message.outcome.send_replace(Some(Err(error)));
        }
        if self.sending.is_none() {
            self.sending = self.next(now).map(|message| self.send(message));
        }
        let next_at = locked(&self.gatherer).next_at();
        // The next message follows once the present one is sent.
        let repeats = self.sending.is_none() && !self.repeated.is_empty();
        let repeat_at = repeats.then_some(self.repeat_at);
        next_at.into_iter().chain(repeat_at).min()
    }

    /// The next message to send. Repetitions come first, since their events are older.
    fn next(&mut self, now: Instant) -> Option<UnconfirmedMessage> {
        while now >= self.repeat_at {
            match self.repeated.next(&self.awaited, now) {
                Some(Repeat::Send(message)) => return Some(message),
                Some(Repeat::Lost(news)) => self.publish(Some(news)),
                None => break,
            }
        }
        locked(&self.gatherer).pop()
    }

    fn send(&mut self, message: UnconfirmedMessage) -> Sending {
        let UnconfirmedMessage {
            events,
            began,
            patience,
            outcome,
            repeats,
        } = message;
        let mut send = events.encode();
        if self.backend.gzip && events.is_batch() {
            send = send.compressed();
        }
        let client = self.backend.client.clone();
        let (number, dropped) = self.awaited.push(events);
        let until = repeats.then(|| began + patience);
        let message = InFlight {
            number,
            outcome,
            until,
            dropped,
        };
        Box::pin(async move {
            let sent = client.send_since(began, send, true, patience).await;
            (message, sent)
        })
    }

    fn sent(&mut self, message: InFlight, sent: Result<Sent, ClientError>) {
        match sent {
            Ok(sent) => self.following.push(Box::pin(follow(message, sent))),
            Err(error) => self.unconfirmed(message, error),
        }
    }

    /// Processes a message that has ended, and all others that have. Later messages are processed
    /// last, since events are repeated in their order.
    fn followed(&mut self, first: (InFlight, Followed)) {
        let mut ended = vec![first];
        while let Some(Some(next)) = self.following.next().now_or_never() {
            ended.push(next);
        }
        ended.sort_unstable_by_key(|(message, _)| message.number);
        for (message, followed) in ended {
            match followed {
                Followed::Unconfirmed(error) => self.unconfirmed(message, error),
                Followed::Replied(reply) => self.replied(&message, reply),
            }
        }
    }

    /// Passes on the error of a message without a confirm. A repetition is repeated.
    fn unconfirmed(&mut self, message: InFlight, error: ClientError) {
        let events = self.awaited.remove(message.number);
        if let (Some(until), Some(events)) = (message.until, events) {
            tracing::debug!(%error, "cannot send an event again; retrying");
            self.repeated.push(message.number, events, until);
            let now = Instant::now();
            // One back-off for all retries that fail together.
            if now >= self.repeat_at {
                self.repeat_at = now + self.backoff.wait();
            }
        }
        message.outcome.send_replace(Some(Err(error)));
    }

    fn replied(&mut self, message: &InFlight, reply: Result<Reply, ClientError>) {
        let Some(events) = self.awaited.remove(message.number) else {
            return;
        };
        match reply {
            Ok(Reply::Batch { events: all, .. }) => {
                for one in all {
                    let news = bad_news(one.news);
                    let index = usize::from(one.index);
                    self.publish(news.and_then(|news| events.news(index, news)));
                }
            }
            Ok(Reply::News(news)) => {
                let news = bad_news(news);
                self.publish(news.and_then(|news| events.news(0, news)));
            }
            Err(ClientError::Refused(problem))
                if problem.code == Code::WrongPartition && events.is_batch() =>
            {
                locked(&self.gatherer).reject(&events);
                self.repeated
                    .push(message.number, events, Instant::now() + REPEAT_FOR);
            }
            Err(ClientError::Refused(problem)) => {
                for index in 0..events.len() {
                    let news = BadNews::Rejected(problem.clone());
                    self.publish(events.news(index, news));
                }
            }
            // Workers do not reply to a message without bad news.
            Ok(_) | Err(_) => {}
        }
    }

    fn publish(&self, news: Option<StreamNews>) {
        if let Some(news) = news {
            // Fails if there is no reader.
            let _ = self.news.send(news);
        }
    }
}

/// Waits for the confirm, which the callers receive, and then for the reply.
async fn follow(mut message: InFlight, mut sent: Sent) -> (InFlight, Followed) {
    let confirmed = sent.confirm().await;
    if let Err(error) = confirmed {
        return (message, Followed::Unconfirmed(error));
    }
    message.outcome.send_replace(Some(Ok(())));
    let reply = tokio::select! {
        reply = sent.reply_within(NEWS_WITHIN) => reply,
        _ = &mut message.dropped => Err(ClientError::NoAnswer(NEWS_WITHIN)),
    };
    (message, Followed::Replied(reply))
}

//! Clients with operations from a seed on one account, and the record of the results.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use streamwatch::client::{
    AccountId, Activity, Backend, BatchEvent, ClientError, Consistency, Heartbeat, OpenRequest,
    Opening, PartitionNumber, StatusQuery, Stop, StreamId,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::choices::{choose, metadata, terms};
use super::limits::Limits;
use super::model::{Answer, Call, Event, Operation, Streams};
use crate::fixture::{account, patient, tenant};

pub const CLIENTS: usize = 8;
/// With 8 clients, 56 operations on an account.
const CALLS: usize = 7;
/// Most operations without an answer, since each doubles the search space.
const MOST_UNANSWERED: usize = 10;
/// One caller in this number does not wait for the answer.
const IMPATIENT: usize = 20;
/// Simultaneous inits of an account.
pub const BURST: usize = 32;

/// The partition of all accounts.
const PARTITION: PartitionNumber = PartitionNumber {
    partition: 0,
    partitions: 1,
};

/// One account and its clients.
pub struct Account {
    number: u64,
    name: AccountId,
    began: Instant,
    unanswered: AtomicUsize,
}

impl Account {
    pub fn new(number: u64, began: Instant) -> Self {
        Self {
            number,
            name: account(&format!("linear-{number}")),
            began,
            unanswered: AtomicUsize::new(0),
        }
    }

    /// The concurrent operations of all clients.
    pub async fn history(&self, backends: &[Backend], seed: u64) -> Vec<Operation> {
        let clients = (0..CLIENTS).map(|client| {
            let choices = Rng::with_seed(mix(mix(seed, self.number), client as u64));
            self.run(client, &backends[client % backends.len()], choices)
        });
        let mut history: Vec<Operation> = join_all(clients).await.concat();
        history.sort_by_key(|operation| operation.invoked);
        history
    }

    /// Simultaneous inits, one of each client, with the limits of the account. Each client asks for
    /// the state afterwards.
    pub async fn burst(&self, backends: &[Backend], seed: u64) -> Vec<Operation> {
        let mut choices = Rng::with_seed(mix(seed, self.number));
        let limits = Limits {
            max_active: None,
            devices: Some(choices.u32(1..=3)),
            live: Some(choices.u32(1..=4)),
            replace_oldest: choices.bool(),
        };
        let clients = (0..BURST).map(async |client| {
            let backend = patient(&backends[client % backends.len()]);
            let init = Call::Init {
                stream: client,
                limits,
                same: false,
                replace: Streams::NONE,
            };
            let init = self.operate(client, &backend, init).await;
            [init, self.operate(client, &backend, Call::Status).await]
        });
        let mut history = join_all(clients).await.concat();
        history.sort_by_key(|operation: &Operation| operation.invoked);
        history
    }

    async fn run(&self, client: usize, backend: &Backend, mut choices: Rng) -> Vec<Operation> {
        let mut operations = Vec::with_capacity(CALLS);
        for n in 0..CALLS {
            if self.unanswered.load(Ordering::Relaxed) >= MOST_UNANSWERED {
                break;
            }
            let call = choose(&mut choices, n);
            let impatient = choices.usize(..IMPATIENT) == 0;
            let patience = Duration::from_millis(choices.u64(1..20));
            let hasty = impatient.then(|| backend.clone().with_patience(patience));
            let backend = hasty.as_ref().unwrap_or(backend);
            operations.push(self.operate(client, backend, call).await);
        }
        operations
    }

    async fn operate(&self, client: usize, backend: &Backend, call: Call) -> Operation {
        let invoked = self.began.elapsed();
        let answered = match self.perform(backend, call).await {
            Ok(answer) => Some((self.began.elapsed(), answer)),
            Err(error) => {
                assert!(error.is_retryable(), "{call}: {error}");
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                None
            }
        };
        Operation {
            client,
            call,
            invoked,
            answered,
            repeated: false,
        }
    }

    async fn perform(&self, backend: &Backend, call: Call) -> Result<Answer, ClientError> {
        let tenant = tenant();
        match call {
            Call::Stop(stream) => {
                let stop = backend.stop(&tenant, &self.name, self.stream(stream));
                stop.await.map(|()| Answer::Confirmed)
            }
            Call::Batch(events) => {
                let events = events.map(|event| self.event(event));
                let batch = backend.batch(&tenant, PARTITION, &events, Duration::ZERO);
                batch.await.map(|_| Answer::Confirmed)
            }
            Call::Status => {
                let query = StatusQuery {
                    consistency: Consistency::Strong,
                    ..StatusQuery::default()
                };
                let status = backend.status(&tenant, &self.name, &query).await?;
                Ok(Answer::Active(self.numbers(&status.activity)))
            }
            Call::Init {
                stream,
                limits,
                same,
                replace,
            } => {
                let request = OpenRequest {
                    stream: Some(self.stream(stream)),
                    metadata: metadata(stream),
                    max_active: limits.max_active,
                    terms: terms(limits, same),
                    replace: replace.numbers().map(|n| self.stream(n)).collect(),
                    ..OpenRequest::default()
                };
                let (_, opening) = backend.open(&tenant, &self.name, &request).await?;
                Ok(match opening {
                    Opening::Opened {
                        activity, replaced, ..
                    } => Answer::Opened {
                        active: self.numbers(&activity),
                        replaced: self.numbers_of(replaced.into_iter()),
                    },
                    Opening::Refused {
                        refusal, activity, ..
                    } => Answer::Refused(refusal.reason, self.numbers(&activity)),
                })
            }
        }
    }

    fn event(&self, event: Event) -> BatchEvent {
        BatchEvent {
            account: self.name.clone(),
            event: match event {
                Event::Stop(number) => Stop::of(self.stream(number)).into(),
                Event::Heartbeat(number) => Heartbeat::of(self.stream(number)).into(),
            },
        }
    }

    fn stream(&self, number: usize) -> StreamId {
        StreamId(Uuid::from_u64_pair(self.number + 1, number as u64))
    }

    fn numbers(&self, activity: &Activity) -> Streams {
        self.numbers_of(activity.streams.iter().map(|active| active.stream))
    }

    fn numbers_of(&self, ids: impl ExactSizeIterator<Item = StreamId>) -> Streams {
        let count = ids.len();
        let streams = Streams::of(ids.map(|id| {
            let (owner, number) = id.0.as_u64_pair();
            assert_eq!(owner, self.number + 1, "a stream of another account");
            usize::try_from(number).expect("one of its streams")
        }));
        assert_eq!(streams.count() as usize, count, "a stream is listed twice");
        streams
    }
}

fn mix(a: u64, b: u64) -> u64 {
    Rng::with_seed(a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).u64(..)
}

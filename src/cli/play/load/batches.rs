//! Batches of a load: one gathers for each partition.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::population::Population;
use crate::{
    cli::play::expected::ExpectedStreams,
    client::{AccountId, Backend, ClientError, Heartbeat, PartitionNumber, StatusQuery, StreamId},
    wire::{BatchWriter, MAX_BATCH_BYTES, compress},
};

/// Most requests in flight to learn partitions.
const AT_ONCE: usize = 200;
/// Upper bound of the size of an event, in bytes.
const EVENT_BYTES: usize = 128;
/// Most events in a batch of a load, all of which fit.
pub(super) const MOST_EVENTS: usize = MAX_BATCH_BYTES / EVENT_BYTES - 1;

/// The partition of each account, by its number.
pub(super) type Partitions = Arc<[PartitionNumber]>;

/// Requests the partition of each account; of one account only, if the reply states one partition.
pub(super) async fn learn(
    backend: &Backend,
    population: &Population,
) -> Result<Partitions, ClientError> {
    let request = async |number| {
        let query = StatusQuery::default();
        let account = ExpectedStreams::name(number);
        let status = backend.status(&population.tenant, &account, &query).await?;
        let missing = || ClientError::BadReply("it states no partition".to_owned());
        status.partition.ok_or_else(missing)
    };
    let first = request(0).await?;
    if first.partitions == 1 {
        return Ok(vec![first; population.accounts].into());
    }
    let requests = stream::iter(0..population.accounts).map(request);
    let learned: Vec<_> = requests.buffered(AT_ONCE).try_collect().await?;
    Ok(learned.into())
}

/// Batches that gather.
pub(super) struct Batches {
    size: usize,
    gzip: bool,
    partitions: Partitions,
    gathering: BTreeMap<u16, Gathering>,
}

struct Gathering {
    number: PartitionNumber,
    /// The account of the first event, which routes the batch.
    account: AccountId,
    events: BatchWriter,
}

/// A batch to publish.
pub(super) struct Batch {
    pub(super) account: AccountId,
    pub(super) body: Vec<u8>,
    /// Whether the body is compressed.
    pub(super) gzip: bool,
    /// The number of its events.
    pub(super) events: u64,
}

impl Batches {
    pub(super) const fn new(size: usize, gzip: bool, partitions: Partitions) -> Self {
        Self {
            size,
            gzip,
            partitions,
            gathering: BTreeMap::new(),
        }
    }

    /// Most events that may wait for a confirm, those that gather included.
    pub(super) fn window(&self, batches: u64) -> u64 {
        (batches + self.gathering.len() as u64) * self.size as u64
    }

    /// Adds a heartbeat of the account with this number. Returns its batch if it is full.
    pub(super) fn add(&mut self, account: usize, stream: StreamId) -> Option<Batch> {
        let number = self.partitions[account];
        let name = ExpectedStreams::name(account);
        let place = self.gathering.entry(number.partition);
        let gathering = place.or_insert_with(|| Gathering {
            number,
            account: name.clone(),
            events: BatchWriter::default(),
        });
        let heartbeat = Heartbeat::of(stream).into();
        gathering.events.push(name.as_str(), &heartbeat);
        if gathering.events.len() == 1 {
            gathering.account = name;
        }
        let full = gathering.events.len() >= self.size;
        full.then(|| gathering.take(self.gzip))
    }

    /// Returns the batches that are not full.
    pub(super) fn flush(&mut self) -> Vec<Batch> {
        let all = self.gathering.values_mut();
        let begun = all.filter(|one| !one.events.is_empty());
        begun.map(|one| one.take(self.gzip)).collect()
    }
}

impl Gathering {
    fn take(&mut self, gzip: bool) -> Batch {
        let events = std::mem::take(&mut self.events);
        let plain = events.body(self.number);
        Batch {
            account: self.account.clone(),
            body: if gzip { compress(&plain) } else { plain },
            gzip,
            events: events.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_heartbeat_is_in_one_batch_of_its_partition() {
        let number = |partition| PartitionNumber {
            partition,
            partitions: 2,
        };
        let partitions: Vec<_> = (0..10).map(|n| number(n % 2)).collect();
        let mut batches = Batches::new(3, false, partitions.into());
        let full: Vec<_> = (0..10)
            .filter_map(|n| batches.add(n, StreamId::generate()))
            .collect();
        let rest = batches.flush();
        assert!(batches.flush().is_empty());
        let sizes = |all: &[Batch]| all.iter().map(|one| one.events).collect::<Vec<_>>();
        assert_eq!((sizes(&full), sizes(&rest)), (vec![3, 3], vec![2, 2]));
        for batch in full.iter().chain(&rest) {
            let body: serde_json::Value = serde_json::from_slice(&batch.body).unwrap();
            let parity = body["partition"].as_u64().unwrap();
            let events = body["events"].as_array().unwrap();
            assert_eq!(events[0]["account"], batch.account.as_str());
            for event in events {
                let name = event["account"].as_str().unwrap();
                let number: u64 = name.rsplit('-').next().unwrap().parse().unwrap();
                assert_eq!(number % 2, parity);
            }
        }
    }

    #[test]
    fn the_largest_batch_fits() {
        let here = PartitionNumber {
            partition: u16::MAX,
            partitions: u16::MAX,
        };
        let partitions = vec![here; 1_000_000];
        let mut batches = Batches::new(MOST_EVENTS, false, partitions.into());
        let last = (0..MOST_EVENTS).find_map(|_| batches.add(999_999, StreamId::generate()));
        let batch = last.unwrap();
        assert!(batch.body.len() <= MAX_BATCH_BYTES, "{}", batch.body.len());
    }
}

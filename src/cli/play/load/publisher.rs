//! One connection that publishes heartbeats: many in flight, paced in batches.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{crowd::Crowd, meter::Meter, pace};
use crate::{
    broker::{Addresses, BrokerError, Link, Names, Outgoing, RpcChannel, RpcEvent},
    client::ClientError,
    wire::{self, Kind, RoutingKey},
};

/// Most events of one connection that have no confirm yet.
const WINDOW: u64 = 1_000;
/// How often the events that are due are published. Timers and wake-ups cost more than events.
const EVERY: Duration = Duration::from_millis(5);
/// A broker that confirms nothing for so long does not come to it.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// What to publish now. What a stall held back is made up for until the end. Whoever follows it
/// holds it.
pub(super) struct Order {
    pub(super) rate_per_s: u32,
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) meter: Arc<Meter>,
}

/// The present order; `None` to rest. The publishers end with its sender.
pub(super) type Orders = watch::Receiver<Option<Arc<Order>>>;

pub(super) struct Publisher {
    link: Link,
    channel: RpcChannel,
    crowd: Arc<Crowd>,
    random: Rng,
    key: String,
    index: usize,
    publishers: usize,
    /// The number of the next event: of all, and of this order.
    number: u64,
    sent: u64,
    unconfirmed: u64,
}

impl Publisher {
    /// Connects publisher `index` of `publishers`.
    pub(super) async fn open(
        addresses: &Addresses,
        names: &Names,
        crowd: Arc<Crowd>,
        (index, publishers): (usize, usize),
    ) -> Result<Self, BrokerError> {
        let link = connect(addresses, index).await?;
        let channel = RpcChannel::open(&link, names).await?;
        Ok(Self {
            link,
            channel,
            random: Rng::with_seed(crowd.seed.wrapping_add(index as u64)),
            key: RoutingKey::of_tenant(&crowd.tenant, Kind::Heartbeat),
            crowd,
            index,
            publishers,
            number: 0,
            sent: 0,
            unconfirmed: 0,
        })
    }

    /// Publishes as it is told.
    ///
    /// # Errors
    /// Where the connection is lost, or confirms do not come: it publishes nothing more.
    pub(super) async fn run(mut self, mut orders: Orders) -> Result<(), ClientError> {
        let mut order: Option<Arc<Order>> = None;
        let mut meter: Option<Arc<Meter>> = None;
        let ended = loop {
            if let Some(order) = &order {
                meter = Some(Arc::clone(&order.meter));
            }
            let following = self.follow(order.as_deref(), meter.as_deref(), &mut orders);
            match following.await {
                Ok(true) => {
                    order.clone_from(&orders.borrow_and_update());
                    self.sent = 0;
                }
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(meter) = meter {
            meter.lost(self.unconfirmed);
        }
        // Only now: an order that nobody holds any more has all its events published.
        drop(order);
        if ended.is_ok() {
            self.link.close().await;
        }
        ended
    }

    /// Follows one order until there is another; `false` where there is no other. The confirms of
    /// what was published for an order that is over still belong to its meter.
    async fn follow(
        &mut self,
        order: Option<&Order>,
        meter: Option<&Meter>,
        orders: &mut Orders,
    ) -> Result<bool, ClientError> {
        let mut timer = interval(EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut heard = Instant::now();
        let mut news = false;
        loop {
            tokio::select! {
                event = self.channel.next() => {
                    if let RpcEvent::Published(_, published) = event.map_err(failed)? {
                        self.unconfirmed -= 1;
                        news = true;
                        if let Some(meter) = meter {
                            meter.settled(published);
                        }
                    }
                }
                _ = timer.tick() => {
                    // Once a batch: it need not be known to the event.
                    if std::mem::take(&mut news) || self.unconfirmed == 0 {
                        heard = Instant::now();
                    } else if heard.elapsed() > CONFIRM_WITHIN {
                        return Err(ClientError::NotTaken(CONFIRM_WITHIN));
                    }
                    if let Some(order) = order {
                        self.publish_due(order);
                    }
                }
                changed = orders.changed() => {
                    // What has become due since the last batch.
                    if let Some(order) = order {
                        self.publish_due(order);
                    }
                    return Ok(changed.is_ok());
                }
            }
        }
    }

    fn publish_due(&mut self, order: &Order) {
        let elapsed = order.to.min(Instant::now()) - order.from;
        let due = pace::due(order.rate_per_s, elapsed, self.index, self.publishers);
        let room = WINDOW - self.unconfirmed;
        let batch = due.saturating_sub(self.sent).min(room);
        // Before they are handed over: their confirms must not be counted first.
        order.meter.published(batch);
        self.sent += batch;
        self.unconfirmed += batch;
        for _ in 0..batch {
            let (account, stream) = self.crowd.anyone(&mut self.random);
            self.number += 1;
            self.channel.publish(Outgoing {
                number: self.number,
                routing_key: self.key.clone(),
                account: account.as_str().to_owned(),
                message_id: None,
                // Only bad news would come, and nobody ends these streams.
                reply: false,
                body: wire::heartbeat(account.as_str(), stream, None, None),
            });
        }
    }
}

/// Connects publisher `index`: each begins with another address, so that all nodes of a cluster take
/// their share, and goes on to the others where there is no connection.
async fn connect(addresses: &Addresses, index: usize) -> Result<Link, BrokerError> {
    let mut tried = 0;
    loop {
        match Link::open(addresses, index + tried, "streamwatch play").await {
            Ok(link) => return Ok(link),
            Err(error) if tried + 1 == addresses.len() => return Err(error),
            Err(_) => tried += 1,
        }
    }
}

fn failed(error: BrokerError) -> ClientError {
    match error {
        BrokerError::NotFound(_) => ClientError::NoTopology,
        other => ClientError::Broker(other),
    }
}

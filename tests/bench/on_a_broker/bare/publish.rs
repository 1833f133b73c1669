//! Players in the background: heartbeats of existing accounts at a constant rate.

use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::ConfirmSelectOptions;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::super::filling::heartbeat;
use super::{channel, say};
use crate::in_process::corpus;

const BATCHES_PER_SECOND: u64 = 200;
/// Most unconfirmed messages, after which the broker limits the rate.
const IN_FLIGHT: usize = 500;

/// The message logged once a second, with the number of confirms.
pub const SAYS: &str = "published";

pub async fn run(exchange: &str, accounts: usize, rate: u64) {
    let channel = channel().await;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.expect("it confirms");
    let mut batches = interval(Duration::from_millis(1_000 / BATCHES_PER_SECOND));
    batches.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut random = fastrand::Rng::with_seed(1);
    let mut unconfirmed = FuturesUnordered::new();
    let (mut published, mut confirmed, mut said) = (0, 0, Instant::now());
    for n in 1.. {
        batches.tick().await;
        while published < n * rate / BATCHES_PER_SECOND {
            let of = random.usize(..accounts);
            unconfirmed.push(heartbeat(&channel, exchange, of, corpus::later(of)));
            published += 1;
            if unconfirmed.len() == IN_FLIGHT {
                unconfirmed.next().await;
                confirmed += 1;
            }
        }
        // A message is published when its future is polled.
        while let Some(Some(())) = unconfirmed.next().now_or_never() {
            confirmed += 1;
        }
        if said.elapsed() >= Duration::from_secs(1) {
            said = Instant::now();
            say(SAYS, confirmed);
        }
    }
}

//! A player beside an attack.

use std::{future::Future, net::Ipv4Addr, pin::pin, time::Duration};

use streamwatch::client::StreamId;
use tokio::time::{Instant, sleep};

use super::stream_of;
use crate::fixture::{Edge, KeptConnection};

/// The address of the player; attackers have another one.
const PLAYER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Least number of heartbeats during an attack.
const FEWEST: usize = 5;
/// Longest time for the response to a heartbeat: of a request that the edge does not refuse.
const LONGEST: Duration = Duration::from_secs(5);

/// Attacks an edge, while a player of another address sends heartbeats, which must all be stored.
pub async fn beside<T>(edge: &Edge, what: &str, attack: impl Future<Output = T>) -> T {
    let mut player = KeptConnection::from(edge.http, PLAYER).await;
    let path = format!("{}/heartbeat", stream_of("player", StreamId::generate()));
    let mut attack = pin!(attack);
    let mut outcome = None;
    let mut took = Vec::new();
    while outcome.is_none() || took.len() < FEWEST {
        let heartbeat = async {
            let began = Instant::now();
            let response = player.post(&path, &[], "").await;
            assert_eq!(response.status, 204, "{what}: {response:?}");
            took.push(began.elapsed());
            sleep(Duration::from_millis(20)).await;
        };
        let mut heartbeat = pin!(heartbeat);
        tokio::select! {
            ended = &mut attack, if outcome.is_none() => {
                outcome = Some(ended);
                heartbeat.await;
            }
            () = &mut heartbeat => {}
        }
    }
    took.sort_unstable();
    let (median, slowest) = (took[took.len() / 2], took[took.len() - 1]);
    eprintln!(
        "{what}: {} heartbeats, {median:?}, {slowest:?} at most",
        took.len()
    );
    assert!(slowest < LONGEST, "{what}: {slowest:?}");
    outcome.expect("the attack has ended")
}

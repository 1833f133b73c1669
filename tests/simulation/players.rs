//! Scripts of correct and faulty players.

use std::rc::Rc;

use fastrand::Rng;
use streamwatch::domain::{AccountKey, Entry, InitRequest, Metadata, RequestId, StreamId};
use uuid::Uuid;

use crate::plan::Plan;

/// Actions of a player, each with its delay in milliseconds.
pub type Script = Vec<(u64, Deed)>;

#[derive(Clone, Debug)]
pub enum Deed {
    /// Sends an `init`; retries with the same stream without a reply.
    Init(Box<InitRequest>),
    /// A heartbeat or a stop, or a repeated batch.
    Publish(Rc<Entry>),
}

pub fn new_id(rng: &mut Rng) -> Uuid {
    Uuid::from_u128(rng.u128(..))
}

/// Creates one player, or a burst of players of one account.
pub fn scripts(
    rng: &mut Rng,
    plan: &Plan,
    accounts: &[AccountKey],
    known: &mut Vec<(AccountKey, StreamId)>,
) -> Script {
    let key = rng.choice(accounts).expect("an account").clone();
    if rng.u8(..8) == 0 {
        let max_active = rng.u32(1..8);
        let together = (0..rng.u32(2..12)).map(|_| {
            let stream = StreamId(new_id(rng));
            let init = init(rng, &key, stream, Some(max_active), Vec::new());
            (rng.u64(..=plan.delay_ms), Deed::Init(init))
        });
        return together.collect();
    }
    let stream = StreamId(new_id(rng));
    let mut script = one(rng, plan, &key, stream, known);
    known.push((key, stream));
    script.sort_by_key(|(after, _)| *after);
    script
}

fn one(
    rng: &mut Rng,
    plan: &Plan,
    key: &AccountKey,
    stream: StreamId,
    known: &[(AccountKey, StreamId)],
) -> Script {
    let every = plan.settings.heartbeat_every_ms;
    let ttl = plan.settings.ttl_ms;
    let mut script = Script::new();
    let says_so = rng.u8(..6) != 0; // else the monitor seemed down when it began
    if says_so {
        let max_active = rng.bool().then(|| rng.u32(1..5));
        let mut replace = Vec::new();
        if rng.u8(..4) == 0 {
            let mut of_account = known.iter().filter(|(k, _)| k == key);
            replace.extend(of_account.next_back().map(|(_, stream)| *stream));
        }
        let init = init(rng, key, stream, max_active, replace);
        script.push((rng.u64(..every), Deed::Init(init)));
    }
    // The interval in its heartbeats: none, the one it was sent, or one for a shorter TTL.
    let received = u32::try_from(every).ok();
    let every_ms = rng.choice([None, received, Some(500)]).flatten();
    let heartbeat = |metadata| {
        Deed::Publish(Rc::new(Entry::Heartbeat {
            key: key.clone(),
            stream,
            every_ms,
            metadata,
        }))
    };
    let mut at = 0;
    for _ in 0..rng.u64(0..20) {
        at += every + rng.u64(..=every / 10);
        let metadata = (rng.u8(..5) == 0).then(|| {
            Metadata::new(&mut [("device", rng.u8(..3).to_string())]).expect("small enough")
        });
        script.push((at, heartbeat(metadata.clone())));
        match rng.u8(..20) {
            0 => script.push((at + rng.u64(..every), heartbeat(metadata))), // twice
            1 => at += rng.u64(..2 * ttl),                                  // slept
            2 => script.push((at + rng.u64(..3 * ttl), heartbeat(metadata))), // came late
            _ => {}
        }
    }
    if rng.u8(..3) != 0 {
        let stop = || {
            Deed::Publish(Rc::new(Entry::Stop {
                key: key.clone(),
                stream,
            }))
        };
        at += rng.u64(..every);
        script.push((at, stop()));
        match rng.u8(..6) {
            0 => script.push((at + rng.u64(..ttl), stop())),
            // Continues after its stop.
            1 => script.extend((1..rng.u64(2..40)).map(|n| (at + n * every, heartbeat(None)))),
            2 => script.push((0, stop())), // overtakes everything
            _ => {}
        }
    }
    script
}

fn init(
    rng: &mut Rng,
    key: &AccountKey,
    stream: StreamId,
    max_active: Option<u32>,
    replace: Vec<StreamId>,
) -> Box<InitRequest> {
    Box::new(InitRequest {
        key: key.clone(),
        stream,
        request: RequestId(new_id(rng)),
        max_active,
        replace,
        metadata: Metadata::default(),
        group_by: Vec::new(),
    })
}

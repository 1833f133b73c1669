//! Scripts of correct and faulty players.

use std::rc::Rc;

use fastrand::Rng;
use streamwatch::domain::{
    AccountKey, Condition, Entry, GivenReason, Heartbeat, InitRequest, Limit, Metadata,
    MetadataPatch, OnLimit, PlayerEvent, RequestId, Stop, StreamId, Terms,
};
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
        Deed::Publish(Rc::new(Entry::Player {
            key: key.clone(),
            event: PlayerEvent::Heartbeat(Heartbeat {
                stream,
                every_ms,
                metadata,
            }),
        }))
    };
    let mut at = 0;
    for _ in 0..rng.u64(0..20) {
        at += every + rng.u64(..=every / 10);
        let metadata = (rng.u8(..5) == 0).then(|| patch(rng));
        script.push((at, heartbeat(metadata.clone())));
        match rng.u8(..20) {
            0 => script.push((at + rng.u64(..every), heartbeat(metadata))), // twice
            1 => at += rng.u64(..2 * ttl),                                  // slept
            2 => script.push((at + rng.u64(..3 * ttl), heartbeat(metadata))), // came late
            _ => {}
        }
    }
    if rng.u8(..3) != 0 {
        let stop = |stop| {
            Deed::Publish(Rc::new(Entry::Player {
                key: key.clone(),
                event: PlayerEvent::Stop(stop),
            }))
        };
        let reason = GivenReason::new("bye").ok();
        if rng.u8(..12) == 0 {
            // A backend ends everything of the account.
            script.push((rng.u64(..=at), stop(Stop::of_all(reason.clone()))));
        }
        let given = (rng.u8(..3) == 0).then_some(reason).flatten();
        let stop = || {
            let reason = given.clone().map(Ok);
            stop(Stop {
                reason,
                ..Stop::of(stream)
            })
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
    let terms = (rng.u8(..3) == 0).then(|| terms(rng));
    let has_limits = terms.as_ref().is_some_and(|terms| !terms.limits.is_empty());
    Box::new(InitRequest {
        key: key.clone(),
        stream,
        request: RequestId(new_id(rng)),
        // It would be one of the limits.
        max_active: max_active.filter(|_| !has_limits),
        replace,
        metadata: if rng.bool() {
            metadata(rng)
        } else {
            Metadata::default()
        },
        terms: terms.map(Box::new),
        group_by: Vec::new(),
    })
}

/// One of few values of each of two keys.
fn metadata(rng: &mut Rng) -> Metadata {
    let keys = ["device", "kind"].into_iter();
    let mut pairs: Vec<_> = keys.map(|key| (key, rng.u8(..3).to_string())).collect();
    pairs.retain(|_| rng.u8(..4) != 0);
    Metadata::new(&mut pairs).expect("small enough")
}

fn patch(rng: &mut Rng) -> MetadataPatch {
    match rng.u8(..8) {
        0 => MetadataPatch::Invalid,
        1 | 2 => {
            let removed = vec!["kind".into()];
            MetadataPatch::merge(Metadata::default(), removed).expect("small enough")
        }
        3 | 4 => MetadataPatch::merge(metadata(rng), Vec::new()).expect("small enough"),
        _ => metadata(rng).into(),
    }
}

fn terms(rng: &mut Rng) -> Terms {
    let limit = |rng: &mut Rng| Limit {
        max: rng.u32(1..5),
        distinct: rng.bool().then(|| "device".into()),
        conditions: match rng.u8(..3) {
            0 => Vec::new(),
            kind => vec![Condition {
                key: "kind".into(),
                values: vec!["0".into(), kind.to_string().into()],
            }],
        },
    };
    Terms {
        limits: (0..rng.u8(..3)).map(|_| limit(rng)).collect(),
        same: match rng.u8(..4) {
            0 => vec!["device".into()],
            1 => vec!["device".into(), "kind".into()],
            _ => Vec::new(),
        },
        on_limit: match rng.bool() {
            true => OnLimit::ReplaceOldest,
            false => OnLimit::Refuse,
        },
        reason: None,
    }
}

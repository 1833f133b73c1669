//! The operations that clients choose, and the requests with which they carry them out.

use fastrand::Rng;
use streamwatch::client::{Condition, Limit, Metadata, OnLimit, Terms};

use super::limits::{Limits, device, is_live};
use super::model::{Call, Event, Streams};

/// The `n`th operation of a client. At any time, all clients use similar streams; later operations
/// use later streams, since ended streams stay ended.
pub fn choose(choices: &mut Rng, n: usize) -> Call {
    let near = |choices: &mut Rng| 2 * n + choices.usize(..6);
    match choices.u32(..100) {
        0..30 => Call::Status,
        30..38 => Call::Batch(std::array::from_fn(|_| match choices.bool() {
            true => Event::Heartbeat(near(choices)),
            false => Event::Stop(near(choices)),
        })),
        38..45 => Call::Stop(near(choices)),
        // Any stream that may still be active, to get below the limit again.
        45..55 => Call::Stop(choices.usize(..2 * n + 4)),
        _ => {
            let stream = near(choices);
            let limits = limits(choices);
            let same = choices.u32(..4) == 0;
            let count = [0, 0, 0, 1, 2][choices.usize(..5)];
            let replace = Streams::of((0..count).map(|_| near(choices)));
            Call::Init {
                stream,
                limits,
                same,
                replace: replace.without(Streams::of([stream])),
            }
        }
    }
}

fn limits(choices: &mut Rng) -> Limits {
    let limits = match choices.u32(..8) {
        0..2 => return Limits::NONE,
        2..5 => Limits::at_most(choices.u32(1..6)),
        5 => Limits::of_devices(choices.u32(1..5)),
        6 => Limits::of_live(choices.u32(1..4)),
        _ => Limits {
            devices: Some(choices.u32(1..5)),
            live: Some(choices.u32(1..4)),
            ..Limits::NONE
        },
    };
    Limits {
        replace_oldest: choices.u32(..4) == 0,
        ..limits
    }
}

/// The metadata with which `init`s open a stream.
pub fn metadata(stream: usize) -> Metadata {
    let kind = if is_live(stream) { "live" } else { "trailer" };
    let device = device(stream).to_string();
    let mut pairs = [("device", device.as_str()), ("kind", kind)];
    Metadata::new(&mut pairs).expect("two short pairs")
}

/// The limits of the model, as those of a request.
pub fn terms(limits: Limits, same: bool) -> Terms {
    let devices = limits.devices.map(|max| Limit {
        max,
        distinct: Some("device".into()),
        conditions: vec![],
    });
    let live = limits.live.map(|max| Limit {
        max,
        distinct: None,
        conditions: vec![Condition {
            key: "kind".into(),
            values: vec!["live".into()],
        }],
    });
    Terms {
        limits: devices.into_iter().chain(live).collect(),
        same: if same { vec!["device".into()] } else { vec![] },
        on_limit: if limits.replace_oldest {
            OnLimit::ReplaceOldest
        } else {
            OnLimit::Refuse
        },
        ..Terms::default()
    }
}

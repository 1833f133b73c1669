//! Faults.

use std::rc::Rc;

use streamwatch::domain::{Entry, EntryId, Internal, InternalEntry, Rules, Settings, WallTime};

use crate::{
    event::Event,
    lifecycle::Lifecycle,
    observer::Observer,
    plan::{Fault, RUN_MS},
    worker::{Lost, Worker},
    world::World,
};

/// Maximum duration of a worker's outage or stall.
const AWAY_MS: u64 = 10_000;
/// Maximum outage after which two snapshots of a deleted log are tried, each of which is noticed
/// after five seconds.
const NOTICED_MS: u64 = 12_000;

pub fn strike(world: &mut World) {
    let Some(fault) = world.rng.choice(world.plan.faults.clone()) else {
        return;
    };
    let another_log = matches!(fault, Fault::DeclareAnew | Fault::LoseTail);
    if another_log && world.now + NOTICED_MS > RUN_MS {
        return;
    }
    let w = world.rng.usize(..world.workers.len());
    // All workers are back at the end of the run.
    let left = (RUN_MS + 2_000).saturating_sub(world.now);
    let away = world.rng.u64(1..AWAY_MS).min(left).max(1);
    world.trace(|| format!("{fault:?} {w} for {away}"));
    match fault {
        Fault::Crash => world.crash(w, away.min(3_000)),
        Fault::AllCrash => {
            for w in 0..world.workers.len() {
                let away = away + world.rng.u64(..500);
                world.crash(w, away);
            }
        }
        Fault::Stall => {
            let away = if world.rng.bool() { away } else { away / 20 };
            let until = world.workers[w].stalled_until.max(world.now + away);
            world.workers[w].stalled_until = until;
            world.workers[w].steady = None;
            if away > 3_000 {
                // The broker has closed the connection of a silent client.
                let connection = world.workers[w].connection;
                let event = Event::Lose {
                    worker: w,
                    connection,
                };
                world.after(away, event);
            }
        }
        Fault::Disconnect => world.lose(w),
        Fault::Truncate => {
            let keep = world.plan.keep_ms(world.widest_ttl_ms);
            world.log.truncate(world.now.saturating_sub(keep));
            let Some(at) = world.log.settings_from() else {
                // While no worker runs, nothing repeats the settings. Once they are truncated, they
                // must be declared again. Log time starts over as well, so the observer's is no
                // longer comparable.
                world.observer.misled = Some(u64::MAX);
                return append_settings(world);
            };
            if world.log.first() > 0 {
                world.observer.unjudged = Some(at);
            }
        }
        Fault::LoseTail => lose_tail(world),
        Fault::DeclareAnew => declare_anew(world),
        Fault::WallStep => {
            let ms = world.rng.i64(-86_400_000..86_400_000);
            world.workers[w].step_wall(ms);
        }
        Fault::MonoStep => {
            // Rare, as it widens all tolerances of time.
            if world.mono_steps < 2 {
                world.mono_steps += 1;
                world.widen();
                let ms = world.rng.u64(..3_600_000);
                world.workers[w].step_mono(ms);
                // The replica cannot distinguish it from a stall.
                world.workers[w].steady = None;
            }
        }
        Fault::Leave => {
            let leads = |worker: &Worker| worker.replica.leads();
            let w = world.workers.iter().position(leads).unwrap_or(w);
            if world.workers[w].stalled_until <= world.now {
                world.leave(w, away.min(3_000));
            }
        }
        Fault::Settings => change_settings(world),
    }
}

fn declare_anew(world: &mut World) {
    world.log.declare_anew();
    let may_gain_ms = world.observer.may_gain_ms;
    world.observer = Observer::new(&world.log, may_gain_ms);
    world.lifecycle = Lifecycle::default();
    for w in 0..world.workers.len() {
        world.workers[w].steady = None;
        let connection = world.workers[w].connection;
        let event = Event::Lose {
            worker: w,
            connection,
        };
        let after = world.rng.u64(..500);
        world.after(after, event);
    }
    append_settings(world);
}

/// The broker restarts without its last entries, and all workers reconnect.
fn lose_tail(world: &mut World) {
    let most = world.log.end() - world.log.first() - 1;
    if most == 0 {
        return;
    }
    let lost = world.rng.u64(1..=most.min(60));
    let end = world.log.end() - lost;
    world.trace(|| format!("lost from {end} on"));
    world.log.lose_tail(end);
    let entries = world.observer.lose_tail(&world.log, end);
    let lost = Lost { from: end, entries };
    world.observer.excuse_time(world.now);
    world.snapshots.lose_tail(&lost);
    world.lifecycle.doubt();
    world.partial.retain(|(_, offset), _| *offset < end);
    for w in 0..world.workers.len() {
        let worker = &mut world.workers[w];
        let follows = worker.history.generation == world.log.generation;
        if follows && worker.diverged.is_none() {
            // A replica that is restoring a snapshot expects its last entries.
            let restoring = worker.restored.and_then(|id| world.snapshots.diverged(id));
            let applied = worker.replica.applied();
            worker.diverged = applied.and_then(|last| lost.up_to(last)).or(restoring);
        }
        world.lose(w);
    }
    if world.log.settings_from().is_none() {
        world.observer.misled = Some(u64::MAX);
        append_settings(world);
    }
}

fn change_settings(world: &mut World) {
    let settings = world.settings.clone();
    let ttl_ms = world.rng.choice([2_000, 3_000, 10_000]).unwrap_or(2_000);
    let max_stream_age_ms = match world.plan.settings.max_stream_age_ms {
        0 => 0,
        max => world.rng.choice([0, max, 2 * max]).unwrap_or(max),
    };
    let keys = [&[][..], &["kind"], &["device", "kind"]];
    let keys = world.rng.choice(keys).unwrap_or_default();
    world.settings = Settings {
        number: settings.number + 1,
        count_by: keys.iter().map(|&key| key.to_owned()).collect(),
        ttl_ms,
        heartbeat_every_ms: ttl_ms / 3,
        max_stream_age_ms,
        rules: match world.rng.bool() {
            true => Rules::V2.number(),
            false => settings.rules,
        },
        ..settings
    };
    world.settings_changed = true;
    world.widen();
    append_settings(world);
}

/// Appends settings, as `topology declare` and `topology set` do.
pub fn append_settings(world: &mut World) {
    let entry_id = EntryId {
        writer: world.rng.u64(..),
        seq: 1,
    };
    let entry = Entry::Internal(InternalEntry {
        entry_id,
        writer_state: None,
        body: Internal::Settings {
            settings: world.settings.clone(),
            wall: WallTime(1_700_000_000_000 + world.now as i64),
        },
    });
    world.take(Rc::new(entry));
}

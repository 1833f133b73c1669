//! Workers that a user would write instead, in `tests/bench/peers`: Python with pika and a dict,
//! Node with amqplib and a Map, Python with aio-pika and Redis.
//!
//! Each reads the events in the worker's log, and replies to `status` with the number of the
//! account's active streams. It consumes the requests from a classic queue behind a topic exchange
//! of its own. `tests/bench/run` sets the paths of the interpreters and of `redis-server` in the
//! environment. Peers without theirs are skipped.

pub mod drained;
mod redis;
pub mod status;

use std::path::{Path, PathBuf};

use super::Plan;
use super::filled::Filled;
use super::measured_process::{MeasuredProcess, cpu};
use crate::broker::fixture::Process;
use crate::report::Report;
use redis::Redis;

const PYTHON: &str = "BENCH_PYTHON";
const NODE: &str = "BENCH_NODE";
const REDIS_SERVER: &str = "BENCH_REDIS_SERVER";

/// A program to compare with the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    PikaDict,
    AmqplibMap,
    AioPikaRedis,
}

impl Peer {
    const ALL: [Self; 3] = [Self::PikaDict, Self::AmqplibMap, Self::AioPikaRedis];

    /// The name in the table.
    const fn name(self) -> &'static str {
        match self {
            Self::PikaDict => "pika + dict",
            Self::AmqplibMap => "amqplib + Map",
            Self::AioPikaRedis => "aio-pika + Redis",
        }
    }

    /// The file in `tests/bench/peers`.
    const fn script(self) -> &'static str {
        match self {
            Self::PikaDict => "pika_dict.py",
            Self::AmqplibMap => "amqplib_map.js",
            Self::AioPikaRedis => "aio_pika_redis.py",
        }
    }

    /// The environment variables with its programs, its interpreter first.
    const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::PikaDict => &[PYTHON],
            Self::AmqplibMap => &[NODE],
            Self::AioPikaRedis => &[PYTHON, REDIS_SERVER],
        }
    }

    /// The first of its environment variables that is not set.
    fn missing(self) -> Option<&'static str> {
        let mut programs = self.programs().iter().copied();
        programs.find(|name| program(name).is_none())
    }
}

/// The peers to measure.
#[derive(Default)]
pub struct Peers {
    /// Those that drain a log.
    pub draining: Vec<Peer>,
    /// Those that reply to `status`.
    pub replying: Vec<Peer>,
}

impl Peers {
    /// Selects the wanted peers whose programs are installed. Notes the others.
    pub fn wanted(plan: &Plan, report: &mut Report) -> Self {
        let mut peers = Self::default();
        for peer in Peer::ALL {
            let drains = drained::wants(plan, report, peer);
            let replies = status::wants(plan, report, peer);
            match peer.missing() {
                Some(name) if drains || replies => {
                    report.note(format!("SKIPPED: {}: {name} is not set", peer.name()));
                }
                Some(_) => {}
                None => {
                    peers.draining.extend(drains.then_some(peer));
                    peers.replying.extend(replies.then_some(peer));
                }
            }
        }
        peers
    }
}

/// The path of a program, from the environment.
fn program(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    path.map(PathBuf::from)
}

/// A running peer, with its Redis if it uses one.
pub struct Running {
    process: Process,
    redis: Option<Redis>,
    /// The exchange for its requests.
    pub exchange: String,
}

impl Running {
    /// Starts a peer that reads the log of the only partition. It logs that it consumes requests
    /// at the offset `end`.
    pub async fn start(peer: Peer, filled: &Filled<'_>, end: u64) -> Self {
        let path = |variable| program(variable).expect("an installed peer");
        let redis = match peer {
            Peer::AioPikaRedis => Some(Redis::start(&path(REDIS_SERVER)).await),
            Peer::PikaDict | Peer::AmqplibMap => None,
        };
        let exchange = format!("{}{}", filled.at.namespace, peer.script());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/peers");
        let script = folder.join(peer.script());
        let script = script.to_str().expect("a path in UTF-8");
        let url = redis.as_ref().map(Redis::url).unwrap_or_default();
        let process = Process::of(
            &path(peer.programs()[0]),
            &[("AMQP_URL", filled.at.broker.url()), ("REDIS_URL", &url)],
            &[
                script,
                &filled.at.names().log(0),
                &end.to_string(),
                &exchange,
            ],
        );
        Self {
            process,
            redis,
            exchange,
        }
    }
}

impl MeasuredProcess for Running {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn log(&self) -> String {
        self.process.stderr()
    }

    fn cpu(&self) -> f64 {
        let redis = self.redis.as_ref().map_or(0.0, |redis| cpu(redis.pid()));
        cpu(self.pid()) + redis
    }
}

//! Random scripts of steps for one account.

use proptest::{collection::vec, option, prelude::*};

/// One step. Streams, requests and metadata are small numbers, so that they often coincide.
#[derive(Clone, Debug)]
pub enum Step {
    /// Advances log time.
    Wait(u64),
    /// Advances log time to just before, at, or just after the end of a record.
    WaitUntilAnEnd {
        which: usize,
        offset: i64,
    },
    Open(Open),
    Heartbeat {
        stream: u8,
        every_ms: Option<u32>,
        metadata: Option<u8>,
    },
    Stop(u8),
    /// Heartbeats and stops in one entry, of the account or of another one.
    Batch(Vec<Event>),
    /// Applies an earlier entry again, as a duplicate or a late entry.
    Again(usize),
    /// Removes old records from the swept account: now for `None`, else at its next change, like
    /// the index of due accounts.
    Sweep,
    Ttl(u64),
    Every(u64),
    StreamsPerAccount(u32),
    TombstonesPerAccount(u32),
    RefusalsPerAccount(u32),
    Full(bool),
    /// Changes the offset from log time to wall time.
    Shift(i64),
}

/// An event of a batch.
#[derive(Clone, Debug)]
pub struct Event {
    pub is_own: bool,
    pub stream: u8,
    pub is_stop: bool,
    pub metadata: Option<u8>,
}

#[derive(Clone, Debug)]
pub struct Open {
    pub stream: u8,
    pub request: u8,
    pub valid_ms: u64,
    pub max_active: Option<u32>,
    pub replace: Vec<u8>,
    pub metadata: u8,
}

pub const STREAMS: u8 = 6;
const REQUESTS: u8 = 8;

pub fn scripts() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..120)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop_oneof![Just(0), Just(1), 2..5_000_u64, 5_000..200_000_u64].prop_map(Step::Wait),
        6 => (any::<usize>(), -1..=1_i64)
            .prop_map(|(which, offset)| Step::WaitUntilAnEnd { which, offset }),
        12 => open().prop_map(Step::Open),
        10 => (0..STREAMS, option::of(every()), option::of(0..3_u8)).prop_map(
            |(stream, every_ms, metadata)| Step::Heartbeat { stream, every_ms, metadata },
        ),
        6 => (0..STREAMS).prop_map(Step::Stop),
        3 => vec(event(), 0..8).prop_map(Step::Batch),
        6 => any::<usize>().prop_map(Step::Again),
        4 => Just(Step::Sweep),
        1 => prop_oneof![Just(1_000), Just(10_000), Just(90_000), 1_000..100_000_u64]
            .prop_map(Step::Ttl),
        1 => every().prop_map(|ms| Step::Every(ms.into())),
        1 => (1..=u32::from(STREAMS)).prop_map(Step::StreamsPerAccount),
        1 => (1..=6_u32).prop_map(Step::TombstonesPerAccount),
        1 => (1..=4_u32).prop_map(Step::RefusalsPerAccount),
        1 => any::<bool>().prop_map(Step::Full),
        1 => (-100_000..100_000_i64).prop_map(Step::Shift),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let metadata = option::of(0..3_u8);
    (any::<bool>(), 0..STREAMS, any::<bool>(), metadata).prop_map(
        |(is_own, stream, is_stop, metadata)| Event {
            is_own,
            stream,
            is_stop,
            metadata,
        },
    )
}

fn every() -> impl Strategy<Value = u32> {
    prop_oneof![Just(3_000), Just(3_001), Just(30_000)]
}

fn open() -> impl Strategy<Value = Open> {
    let replace = prop_oneof![2 => Just(vec![]), 1 => vec(0..STREAMS, 1..4)];
    (
        0..STREAMS,
        0..REQUESTS,
        prop_oneof![Just(0), 1..100_000_u64],
        option::of(1..4_u32),
        replace,
        0..3_u8,
    )
        .prop_map(
            |(stream, request, valid_ms, max_active, mut replace, metadata)| {
                replace.retain(|&r| r != stream); // a request may not replace its own stream
                Open {
                    stream,
                    request,
                    valid_ms,
                    max_active,
                    replace,
                    metadata,
                }
            },
        )
}

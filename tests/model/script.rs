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
        metadata: Option<Patch>,
    },
    Stop(u8, Option<u8>),
    /// Stops all streams of the account, for a reason.
    StopAll(Option<u8>),
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
    /// Sets the version of the rules.
    Rules(u32),
    /// Sets the maximum age of streams.
    MaxAge(u64),
    /// Changes the offset from log time to wall time.
    Shift(i64),
}

/// An event of a batch.
#[derive(Clone, Debug)]
pub struct Event {
    pub is_own: bool,
    pub stream: u8,
    pub is_stop: bool,
    pub metadata: Option<Metadata>,
}

/// The values of the keys `device` and `kind`; 0 for none.
pub type Metadata = [u8; 2];

/// The metadata of a heartbeat.
#[derive(Clone, Debug)]
pub enum Patch {
    Strings(Metadata),
    /// Sets these values, and removes one of the keys that it does not set.
    Merge(Metadata, Option<u8>),
    Invalid,
}

/// The terms of an `init`.
#[derive(Clone, Debug)]
pub struct Terms {
    pub limits: Vec<Limit>,
    /// Whether to end streams with an equal device, and an equal kind.
    pub same: [bool; 2],
    pub replaces_oldest: bool,
    pub reason: Option<u8>,
}

#[derive(Clone, Debug)]
pub struct Limit {
    pub max: u32,
    pub is_distinct: bool,
    /// The kinds that count; all without any.
    pub kinds: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Open {
    pub stream: u8,
    pub request: u8,
    pub valid_ms: u64,
    pub max_active: Option<u32>,
    pub replace: Vec<u8>,
    pub metadata: Metadata,
    pub terms: Option<Terms>,
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
        10 => (0..STREAMS, option::of(every()), option::of(patch())).prop_map(
            |(stream, every_ms, metadata)| Step::Heartbeat { stream, every_ms, metadata },
        ),
        6 => (0..STREAMS, option::of(0..3_u8)).prop_map(|(n, reason)| Step::Stop(n, reason)),
        2 => option::of(0..3_u8).prop_map(Step::StopAll),
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
        1 => (1..=2_u32).prop_map(Step::Rules),
        1 => prop_oneof![Just(0), 1_000..200_000_u64].prop_map(Step::MaxAge),
        1 => (-100_000..100_000_i64).prop_map(Step::Shift),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let metadata = option::of(metadata());
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

fn metadata() -> impl Strategy<Value = Metadata> {
    [0..3_u8, 0..3_u8]
}

fn patch() -> impl Strategy<Value = Patch> {
    prop_oneof![
        3 => metadata().prop_map(Patch::Strings),
        3 => (metadata(), option::of(0..2_u8)).prop_map(|(set, removed)| Patch::Merge(set, removed)),
        1 => Just(Patch::Invalid),
    ]
}

fn terms() -> impl Strategy<Value = Terms> {
    let kinds = prop_oneof![Just(vec![]), vec(1..3_u8, 1..3)];
    let limit = (1..5_u32, any::<bool>(), kinds).prop_map(|(max, is_distinct, kinds)| Limit {
        max,
        is_distinct,
        kinds,
    });
    let (same, reason) = (any::<[bool; 2]>(), option::of(0..3_u8));
    (vec(limit, 0..4), same, any::<bool>(), reason).prop_map(
        |(limits, same, replaces_oldest, reason)| Terms {
            limits,
            same,
            replaces_oldest,
            reason,
        },
    )
}

fn open() -> impl Strategy<Value = Open> {
    let replace = prop_oneof![2 => Just(vec![]), 1 => vec(0..STREAMS, 1..4)];
    (
        0..STREAMS,
        0..REQUESTS,
        prop_oneof![Just(0), 1..100_000_u64],
        option::of(1..4_u32),
        replace,
        metadata(),
        option::of(terms()),
    )
        .prop_map(
            |(stream, request, valid_ms, mut max_active, mut replace, metadata, terms)| {
                replace.retain(|&r| r != stream); // a request may not replace its own stream
                if terms.as_ref().is_some_and(|terms| !terms.limits.is_empty()) {
                    max_active = None; // which would be one of the limits
                }
                Open {
                    stream,
                    request,
                    valid_ms,
                    max_active,
                    replace,
                    metadata,
                    terms,
                }
            },
        )
}

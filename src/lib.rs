//! Concurrency monitoring for video services, on RabbitMQ: how many streams is each account
//! playing right now?
//!
//! Players publish `init`, `heartbeat` and `stop`; workers count the active streams and answer;
//! backends ask for an account's activity. Everything that changes state is an entry of one log
//! per partition, the log's own ticks are its clock, every replica applies the log by the same
//! rules, and starting is replaying.
//!
//! # The map
//!
//! | module | what it is |
//! | --- | --- |
//! | [`domain`] | the rules, pure: entries, log time, accounts, admission, answers |
//! | [`replica`] | one partition as a state machine without I/O |
//! | [`wire`] | the contract: JSON and headers to and from the domain, limits, error codes |
//! | [`broker`] | RabbitMQ; the only module that names lapin |
//! | [`worker`] | wires replicas to the broker: sessions, readiness, shutdown |
//! | [`client`] | what a Rust player or backend links |
//! | [`ops`] | what operators see: health and metrics |
//! | [`cli`] | the `streamwatch` program, one file a subcommand |
//!
//! Arrows point one way: `domain ← replica ← worker`, `domain ← wire ← broker ← {worker, client} ←
//! cli`. A test holds these walls.
//!
//! # The way of a request
//!
//! An `init` arrives in its queue. One worker decodes it ([`wire::init`]) and its replica proposes
//! it ([`replica::Replica::init`]): an entry is appended to the log. When that entry comes back,
//! every replica decides it by [`domain::Account::open`], at the log's time; the one that proposed
//! it answers with the state at that very entry, and acknowledges the request. A worker that dies
//! on the way leaves the request to another, and repeating any of it changes nothing.
//!
//! # The way of a lifecycle event
//!
//! A change of a stream by an entry or by log time is a [`domain::LifecycleEvent`]. Every replica
//! buffers it until the log records its publication. The partition's leader, the replica that has
//! served longest, publishes it ([`wire::announcement`]), with confirms and in order, and then
//! records its position in the log. Its successor continues from there; repetitions are identical
//! to the byte.
//!
//! # Features
//!
//! `client` alone has no cache, HTTP server or argument parser in it; `worker` and `cli` are on by
//! default.
#![forbid(unsafe_code)]
// `cli::terminal` escapes what is printed.
#![warn(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss
    )
)]

#[cfg(feature = "client")]
pub mod broker;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
mod clock;
#[forbid(clippy::disallowed_methods)]
pub mod domain;
#[cfg(feature = "worker")]
pub mod ops;
#[cfg(feature = "worker")]
#[forbid(clippy::disallowed_methods)]
pub mod replica;
pub mod wire;
#[cfg(feature = "worker")]
pub mod worker;

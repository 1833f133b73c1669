//! Concurrency monitoring for video services, on RabbitMQ: the number of streams that each account
//! plays now.
//!
//! Players publish `init`, `heartbeat` and `stop`. Workers count the active streams and reply.
//! Backends request an account's activity with `status`. Every change is an entry of a log, one log
//! per partition, and a log is a RabbitMQ stream queue. Every replica applies the entries by the
//! same rules, at the log time that ticks in the log carry. A worker starts by replaying the log.
//!
//! # The map
//!
//! | module | content |
//! | --- | --- |
//! | [`domain`] | the rules, without I/O: entries, log time, accounts, admission, answers |
//! | [`replica`] | one partition as a state machine without I/O |
//! | [`wire`] | the contract: JSON and headers to and from the domain, limits, error codes |
//! | [`broker`] | RabbitMQ; the only module that names lapin |
//! | [`worker`] | connects replicas to the broker: sessions, readiness, shutdown |
//! | [`client`] | the library for players and backends in Rust |
//! | [`edge`] | HTTP in front of the client library, for players without AMQP |
//! | [`ops`] | health and metrics for operators |
//! | [`cli`] | the subcommands of the `streamwatch` program |
//!
//! Dependencies point one way: `domain ← replica ← worker`, `domain ← wire ← broker ←
//! {worker, client}`, `client ← edge`, all `← cli`. A test checks them.
//!
//! # Three walks from the socket to the reply
//!
//! [`worker::session::Session::serve`] is the loop that awaits every event of a partition. Messages
//! enter it from [`broker::LogFollower::next`], [`broker::RequestQueue::next`] and
//! [`broker::LocalRequests::next`], and replies leave through [`broker::Replies::reply`].
//!
//! ## One heartbeat
//!
//! The player's message is routed into the log, so every replica gets it.
//!
//! 1. [`worker::session::Session::entries`] takes the entry. (`worker/session/entries.rs`)
//! 2. [`wire::entry`] decodes it, or returns a [`wire::Problem`]. (`wire/decode.rs`)
//! 3. [`replica::Replica::apply`] checks its offset, and applies it with
//!    [`replica::Replica::change`]. (`replica/apply.rs`)
//! 4. [`replica::accounts::Accounts::change`] finds or creates the account.
//!    (`replica/accounts.rs`)
//! 5. [`replica::change::Change::apply`] checks that the rules in force have the heartbeat's fields.
//!    (`replica/change.rs`)
//! 6. [`domain::Account::heartbeat`] decides the outcome. (`domain/account/heartbeat.rs`)
//! 7. [`worker::session::Session::news`] returns news if the stream has been stopped or the player's
//!    interval is outdated. Most heartbeats get none. (`worker/session/entries.rs`)
//! 8. [`wire::News::encode`] encodes them as a reply. (`wire/reply/news.rs`)
//! 9. [`worker::session::Session::reply`] sends it if this replica leads the partition.
//!
//! ## One `init`
//!
//! One worker consumes the request from its queue.
//!
//! 1. [`worker::session::Session::request`] takes it. (`worker/session/requests.rs`)
//! 2. [`worker::throttle::PartitionThrottle::check`] throttles it if its tenant or account has
//!    exceeded a limit per second. (`worker/throttle.rs`)
//! 3. [`worker::pending::PendingRequest::new`] keeps its reply address and delivery tag.
//!    (`worker/pending.rs`)
//! 4. [`wire::init`] decodes it. (`wire/decode.rs`)
//! 5. [`worker::session::Session::field_of_newer_rules`] rejects it if a field needs newer rules.
//! 6. [`replica::Replica::init`] proposes it: [`replica::Effect::Append`]. (`replica/requests.rs`)
//! 7. [`worker::session::Session::perform`] appends the proposal with
//!    [`broker::Appender::append_entry`].
//! 8. [`worker::session::Session::entries`] takes the proposal from the log, on every replica.
//!    (`worker/session/entries.rs`)
//! 9. [`replica::Replica::apply`] applies it at its log time, through the same functions as a
//!    heartbeat. (`replica/apply.rs`)
//! 10. [`domain::Account::open`] decides the admission. (`domain/account/open.rs`)
//! 11. [`replica::Replica::answer_open`] answers on the replica that proposed it, with the account's
//!     activity at that entry: [`replica::Effect::Answer`].
//! 12. [`worker::pending::RequestQueues::answer`] sends the reply, and acknowledges the request
//!     once the broker has confirmed the reply. (`worker/pending.rs`)
//!
//! If the worker is lost on the way, RabbitMQ requeues the request. Its repetition changes nothing.
//!
//! ## One `status`
//!
//! RabbitMQ delivers the request to a worker through the worker's local queue, or, if none can take
//! it at once, through the shared queue.
//!
//! 1. [`worker::session::Session::request`] takes it, throttles it, and keeps its reply address, as
//!    for an `init`. (`worker/session/requests.rs`)
//! 2. [`wire::query`] decodes it. (`wire/decode.rs`)
//! 3. [`replica::Replica::status`] answers a `local` one at once. A `strong` one waits until a
//!    marker, an entry that this replica appends, has come back. (`replica/requests.rs`)
//! 4. [`domain::Account::activity`] lists the active streams. (`domain/account.rs`)
//! 5. [`worker::session::Session::perform`] gets the [`replica::Effect::Answer`].
//! 6. [`worker::pending::RequestQueues::answer`] sends the reply, and acknowledges the request once
//!    the broker has confirmed the reply. (`worker/pending.rs`)
//!
//! # Lifecycle events
//!
//! An entry can produce [`domain::LifecycleEvent`]s. Every replica stores them until the log
//! contains that they were announced. The partition's leader, the replica that has served longest,
//! publishes them in order ([`wire::announcement`]), and appends the offset up to which RabbitMQ
//! has confirmed them. The next leader continues there. A repeated announcement is byte for byte
//! the same.
//!
//! # Features
//!
//! `client` alone includes no cache, HTTP server or argument parser. `cli` is the program with its
//! worker; `edge`, `top`, `play` and `otel` add these commands and the export of spans. All are on by
//! default.
#![forbid(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the walks name private functions: rustdoc checks the names and omits the links"
)]
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

#[macro_use]
mod words;

#[cfg(feature = "client")]
pub mod broker;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
mod clock;
#[cfg(feature = "client")]
mod deadline;
#[forbid(clippy::disallowed_methods)]
pub mod domain;
#[cfg(feature = "edge")]
pub mod edge;
#[cfg(feature = "worker")]
pub mod ops;
#[cfg(feature = "worker")]
#[forbid(clippy::disallowed_methods)]
pub mod replica;
pub mod wire;
#[cfg(feature = "worker")]
pub mod worker;

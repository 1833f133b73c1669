//! Concurrency monitoring for video services, on RabbitMQ.
#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod broker;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod domain;
#[cfg(feature = "worker")]
pub mod ops;
#[cfg(feature = "worker")]
pub mod replica;
pub mod wire;
#[cfg(feature = "worker")]
pub mod worker;

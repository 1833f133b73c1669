//! Concurrency monitoring for video services, on RabbitMQ.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::print_stdout,
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
pub mod domain;
#[cfg(feature = "worker")]
pub mod ops;
#[cfg(feature = "worker")]
pub mod replica;
pub mod wire;
#[cfg(feature = "worker")]
pub mod worker;

//! Tests against a real RabbitMQ, which they start themselves on loopback.

mod another_log;
mod broker_loss;
mod cli;
mod cli_settings;
mod client;
mod cluster;
mod cold_start;
mod disturbed;
mod fixture;
mod lifecycle;
mod linear;
mod partitions;
mod private_broker;
mod secrets;
mod sharing;
mod shutdown;
mod snapshots;
mod two_workers;
mod watch;

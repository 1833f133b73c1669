//! Tests against a real RabbitMQ, which they start themselves on loopback.

mod alarms;
mod another_log;
mod broker_loss;
mod cli;
mod cli_settings;
mod client;
mod clocks;
mod cluster;
mod cold_start;
mod deleted;
mod disturbed;
mod fixture;
mod handover;
mod lifecycle;
mod linear;
mod load;
mod outage;
mod partitions;
mod private_broker;
mod rules;
mod secrets;
mod sharing;
mod shutdown;
mod snapshots;
mod two_workers;
mod watch;

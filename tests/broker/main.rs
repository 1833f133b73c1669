//! Tests against a real RabbitMQ, which they start themselves on loopback.

mod fixture;
mod private_broker;

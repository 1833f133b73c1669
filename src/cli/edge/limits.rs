//! The limits and bounds of an edge.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    cli::{mistakes::Mistakes, setting::Setting},
    edge::{RequestLimits, serve::Bounds},
};

/// Arguments of limits and bounds.
#[derive(clap::Args, Debug)]
pub(super) struct LimitArgs {
    /// Most requests per second of one account, in bursts of twice as many [default: no limit]
    #[arg(
        long,
        env = "STREAMWATCH_EDGE_ACCOUNT_REQUESTS_PER_SECOND",
        value_name = "N"
    )]
    account_requests_per_second: Option<Setting<NonZeroU32>>,
    /// Most requests per second of one client address (IPv6: of one network /64), in bursts of twice
    /// as many [default: no limit]
    #[arg(
        long,
        env = "STREAMWATCH_EDGE_CLIENT_REQUESTS_PER_SECOND",
        value_name = "N"
    )]
    client_requests_per_second: Option<Setting<NonZeroU32>>,
    /// Most connections; further ones wait to be accepted
    #[arg(
        long,
        env = "STREAMWATCH_EDGE_MAX_CONNECTIONS",
        default_value = "10000",
        value_name = "N"
    )]
    max_connections: Setting<NonZeroU32>,
    /// Most connections of one client address (IPv6: of one network /64) that is no trusted proxy;
    /// further ones are closed
    #[arg(
        long,
        env = "STREAMWATCH_EDGE_MAX_CLIENT_CONNECTIONS",
        default_value = "1000",
        value_name = "N"
    )]
    max_client_connections: Setting<NonZeroU32>,
    /// Most requests in progress; further ones get 503
    #[arg(
        long,
        env = "STREAMWATCH_EDGE_MAX_REQUESTS",
        default_value = "4000",
        value_name = "N"
    )]
    max_requests: Setting<NonZeroU32>,
    /// Longest time for the headers of a request, and for a TLS handshake
    #[arg(
        long,
        env = "STREAMWATCH_EDGE_HEADER_TIMEOUT",
        default_value = "10s",
        value_name = "DURATION"
    )]
    header_timeout: Setting<Duration>,
    /// Longest time for a request
    #[arg(
        long,
        env = "STREAMWATCH_EDGE_REQUEST_TIMEOUT",
        default_value = "10s",
        value_name = "DURATION"
    )]
    request_timeout: Setting<Duration>,
    /// Time after which a connection without a request is closed
    #[arg(
        long,
        env = "STREAMWATCH_EDGE_IDLE_TIMEOUT",
        default_value = "75s",
        value_name = "DURATION"
    )]
    idle_timeout: Setting<Duration>,
    /// Longest wait for RabbitMQ or a worker before a request gets 503
    #[arg(
        long,
        env = "STREAMWATCH_EDGE_PATIENCE",
        default_value = "2s",
        value_name = "DURATION"
    )]
    patience: Setting<Duration>,
}

impl LimitArgs {
    pub(super) fn limits(&self, mistakes: &mut Mistakes) -> RequestLimits {
        let account = mistakes.take(&self.account_requests_per_second);
        RequestLimits::new(account, mistakes.take(&self.client_requests_per_second))
    }

    pub(super) fn bounds(&self, mistakes: &mut Mistakes) -> Option<Bounds> {
        let mut number =
            |setting: &Setting<NonZeroU32>| usize::try_from(mistakes.take(setting)?.get()).ok();
        let connections = number(&self.max_connections);
        let client_connections = number(&self.max_client_connections);
        let requests = number(&self.max_requests);
        let mut duration = |name: &str, setting: &Setting<Duration>| {
            let duration = mistakes.take(setting)?;
            if duration.is_zero() {
                mistakes.note(format!("{name}: more than zero"));
            }
            Some(duration)
        };
        let headers_within = duration("--header-timeout", &self.header_timeout);
        let request_within = duration("--request-timeout", &self.request_timeout);
        let idle = duration("--idle-timeout", &self.idle_timeout);
        let patience = duration("--patience", &self.patience);
        Some(Bounds {
            connections: connections?,
            client_connections: client_connections?,
            requests: requests?,
            headers_within: headers_within?,
            request_within: request_within?,
            idle: idle?,
            patience: patience?,
        })
    }
}

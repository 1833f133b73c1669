//! The settings of an edge.

use std::{net::SocketAddr, time::Duration};

use axum::http::HeaderValue;

use super::Certificate;
use crate::{
    client::{Addresses, Names},
    edge::{Access, RequestLimits, adobe::PolicyFile},
};

/// The settings of an edge.
pub struct Config {
    /// The addresses of RabbitMQ.
    pub addresses: Addresses,
    /// The names of exchanges and queues.
    pub names: Names,
    /// The address to listen on.
    pub http: SocketAddr,
    /// The address of the endpoints for operators.
    pub admin: Option<SocketAddr>,
    /// Identifies callers.
    pub access: Access,
    /// The policies of applications that use Adobe's API, which is not served without them.
    pub policies: Option<PolicyFile>,
    /// The certificate; plain HTTP without one.
    pub certificate: Option<Certificate>,
    /// Limits of requests per second.
    pub limits: RequestLimits,
    /// Bounds of connections and requests.
    pub bounds: Bounds,
    /// The origins of web pages that may call; `*` for all.
    pub origins: Vec<HeaderValue>,
    /// Time from the signal to shut down until the listener closes.
    pub drain: Duration,
    /// Time limit of a shutdown, from the signal.
    pub grace: Duration,
}

/// Bounds of connections and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most connections. Further ones wait to be accepted.
    pub connections: usize,
    /// Most connections of one client address that is no trusted proxy, and most requests in
    /// progress. Further connections are closed, and further requests refused.
    pub client_connections: usize,
    /// Most requests in progress. Further ones are refused.
    pub requests: usize,
    /// Longest time for the headers of a request, and for a TLS handshake.
    pub headers_within: Duration,
    /// Longest time for a request.
    pub request_within: Duration,
    /// Time after which a connection without a request is closed.
    pub idle: Duration,
    /// Longest wait for a reply or a confirm of RabbitMQ.
    pub patience: Duration,
}

impl Bounds {
    /// Most connections, and most requests in progress, of one address. A trusted proxy has those of
    /// many clients.
    pub(super) const fn of_client(&self, is_proxy: bool) -> usize {
        match is_proxy {
            true => usize::MAX,
            false => self.client_connections,
        }
    }
}

/// Parses an origin of web pages, such as `https://www.example.com`.
///
/// # Errors
/// If it is not a scheme and a host without a path.
pub fn origin(text: &str) -> Result<HeaderValue, &'static str> {
    let form = "an origin such as https://www.example.com, or *";
    if text == "*" {
        return Ok(HeaderValue::from_static("*"));
    }
    let (scheme, host) = text.split_once("://").ok_or(form)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if !["http", "https"].contains(&scheme) || host.is_empty() || !host.chars().all(plain) {
        return Err(form);
    }
    HeaderValue::from_str(text).map_err(|_| form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        for good in [
            "*",
            "https://www.example.com",
            "http://localhost:8080",
            "https://[::1]:1",
        ] {
            assert_eq!(origin(good).unwrap(), good);
        }
        for bad in [
            "",
            "www.example.com",
            "https://",
            "https://a/",
            "ftp://a",
            "https://a b",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}

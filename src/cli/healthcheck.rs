//! `streamwatch healthcheck`: queries a worker's health, for images without other programs.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use serde_json::json;

use super::{
    http::PageUrl,
    mistakes::Mistakes,
    output::{Output, duration},
    setting::{Setting, given},
    success,
};

/// Most bytes of a response. /readyz has a line for each of at most 64 partitions.
const MOST_BYTES: u64 = 64 * 1024;

/// Query a worker's health, or with --ready its readiness: exits with 0 if the worker is healthy or
/// ready, else with 1
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Query the readiness (/readyz) instead of the health (/healthz)
    #[arg(long)]
    ready: bool,
    /// The worker's endpoints, such as http://127.0.0.1:9419
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The address that the worker listens on; 0.0.0.0 means this machine
    #[arg(long, env = "STREAMWATCH_HTTP", value_name = "ADDRESS:PORT")]
    http: Option<Setting<SocketAddr>>,
    /// Time to wait for the response
    #[arg(long, default_value = "3s", value_name = "DURATION")]
    timeout: Setting<Duration>,
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<ExitCode> {
        let mut mistakes = Mistakes::default();
        let timeout = mistakes.take(&self.timeout);
        let place = self.place(&mut mistakes);
        let (place, timeout) = mistakes.finish(place.zip(timeout))?;
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let page = PageUrl {
            place,
            path: path.to_owned(),
        };
        let response = tokio::time::timeout(timeout, page.get(MOST_BYTES)).await;
        let place = page.place;
        let (good, message) = match response {
            Ok(Ok((status, body))) => (status == 200, body.trim().to_owned()),
            Ok(Err(error)) => (false, format!("cannot query {place}: {error}")),
            Err(_) => (
                false,
                format!("no answer from {place} in {}", duration(timeout)),
            ),
        };
        output.print([&message], &json!({ "ok": good, "message": message }));
        Ok(success(good))
    }

    /// A host and a port.
    fn place(&self, mistakes: &mut Mistakes) -> Option<String> {
        if let Some(url) = given(&self.url) {
            let place = of_url(url).ok_or("an address such as http://127.0.0.1:9419");
            return mistakes.check("--url", place);
        }
        if self.http.as_ref().is_none_or(|http| !http.is_given()) {
            mistakes.note(
                "give --url, or --http (STREAMWATCH_HTTP): the address that the worker serves",
            );
        }
        Some(reachable(mistakes.take(&self.http)?).to_string())
    }
}

/// The host and port of a URL without path.
fn of_url(url: &str) -> Option<String> {
    let page = PageUrl::of_url(url)?;
    (page.path == "/").then_some(page.place)
}

/// The address at which to reach a listener on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_address_is_queried_on_this_machine() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:9419"), "127.0.0.1:9419");
        assert_eq!(of("[::]:9419"), "[::1]:9419");
        assert_eq!(of("10.0.0.7:9419"), "10.0.0.7:9419");
    }

    #[test]
    fn a_url_has_no_path() {
        assert_eq!(of_url("http://h:1/").as_deref(), Some("h:1"));
        assert_eq!(of_url("http://[::1]:9419").as_deref(), Some("[::1]:9419"));
        assert_eq!(of_url("http://h:1/healthz"), None);
    }
}

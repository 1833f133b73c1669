//! `init` and `status` over HTTP through an edge, and over AMQP, in turns: a part of
//! `tests/bench/edge`.
//!
//! `edge_requests EDGE SECONDS RATE PAIRS ACCOUNTS` prints a JSON object a line. The broker is that of
//! `AMQP_URL`. Requests are sent at a fixed rate, and each response time begins when its request is
//! due, so that a stall counts for all requests that it delays.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use axum::http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use streamwatch::client::{
    AccountId, Backend, Client, Consistency, Names, OpenRequest, Opening, StatusQuery, StreamId,
    Tenant,
};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Connections over HTTP, and requests in flight over either protocol.
const CONNECTIONS: u32 = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Init,
    Status(Consistency),
}

impl Operation {
    const ALL: [(&'static str, Self); 3] = [
        ("PUT, init", Self::Init),
        ("GET, status", Self::Status(Consistency::Local)),
        ("GET, strong status", Self::Status(Consistency::Strong)),
    ];
}

/// A sender over one protocol.
enum Sender {
    Http(SendRequest<Full<Bytes>>),
    Amqp(Box<Backend>),
}

impl Sender {
    async fn http(edge: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(edge).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self::Http(sender))
    }

    /// Sends a request about an account with one stream, or opens one in an idle account.
    async fn send(&mut self, operation: Operation, account: &str) -> anyhow::Result<()> {
        let stream = StreamId::generate();
        match self {
            Self::Http(sender) => {
                let at = format!("/api/v1/accounts/{account}");
                let (method, path) = match operation {
                    Operation::Init => (Method::PUT, format!("{at}/streams/{stream}")),
                    Operation::Status(Consistency::Local) => (Method::GET, at),
                    Operation::Status(Consistency::Strong) => {
                        (Method::GET, format!("{at}?consistency=strong"))
                    }
                };
                let body = if operation == Operation::Init {
                    "{}"
                } else {
                    ""
                };
                let request = Request::builder().method(method).uri(path);
                let request = request.header("host", "edge").body(Full::from(body))?;
                sender.ready().await?;
                let response = sender.send_request(request).await?;
                let status = response.status();
                let body = response.into_body().collect().await?.to_bytes();
                ensure!(status == StatusCode::OK, "{status}: {body:?}");
            }
            Self::Amqp(backend) => {
                let (tenant, account) = (Tenant::new("acme")?, AccountId::new(account)?);
                match operation {
                    Operation::Init => {
                        let request = OpenRequest {
                            stream: Some(stream),
                            ..OpenRequest::default()
                        };
                        let (_, opening) = backend.open(&tenant, &account, &request).await?;
                        ensure!(matches!(opening, Opening::Opened { .. }), "{opening:?}");
                    }
                    Operation::Status(consistency) => {
                        let query = StatusQuery {
                            consistency,
                            ..StatusQuery::default()
                        };
                        backend.status(&tenant, &account, &query).await?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A measurement: its rate, its length and its accounts.
#[derive(Clone, Copy)]
struct Load {
    operation: Operation,
    rate: u32,
    seconds: u32,
    accounts: u32,
    /// The number of the measurement, so that each `init` is of another account.
    number: u32,
}

impl Load {
    /// Sends requests at the rate. Returns their response times, in order of size.
    async fn run(self, senders: &mut Vec<Sender>) -> anyhow::Result<Vec<Duration>> {
        let began = Instant::now() + Duration::from_millis(50);
        let mut tasks = JoinSet::new();
        for (first, mut sender) in (0..).zip(senders.drain(..)) {
            tasks.spawn(async move {
                let mut took = Vec::new();
                let all = (first..self.rate * self.seconds).step_by(CONNECTIONS as usize);
                for n in all {
                    let due = began + Duration::from_secs(1) * n / self.rate;
                    sleep_until(due).await;
                    let account = match self.operation {
                        Operation::Init => format!("init-{}-{n}", self.number),
                        Operation::Status(_) => format!("viewer-{}", 1 + n % self.accounts),
                    };
                    sender.send(self.operation, &account).await?;
                    took.push(due.elapsed());
                }
                anyhow::Ok((sender, took))
            });
        }
        let mut all = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            let (sender, took) = ended??;
            senders.push(sender);
            all.extend(took);
        }
        all.sort_unstable();
        Ok(all)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [edge, seconds, rate, pairs, accounts] = arguments.as_slice() else {
        anyhow::bail!("edge_requests EDGE SECONDS RATE PAIRS ACCOUNTS");
    };
    let (edge, pairs) = (edge.parse()?, pairs.parse::<u32>()?);
    let (seconds, rate, accounts) = (seconds.parse()?, rate.parse()?, accounts.parse()?);
    let url = std::env::var("AMQP_URL").context("AMQP_URL")?;
    let client = Client::connect(url.parse()?, Names::default());
    let backend = Backend::new(client).with_patience(Duration::from_secs(10));
    let (mut http, mut amqp) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        http.push(Sender::http(edge).await?);
        amqp.push(Sender::Amqp(Box::new(backend.clone())));
    }
    let mut number = 0;
    // The first pair warms both sides up.
    for pair in 0..=pairs {
        for (name, operation) in Operation::ALL {
            for (server, senders) in [("edge", &mut http), ("AMQP", &mut amqp)] {
                number += 1;
                let load = Load {
                    operation,
                    rate,
                    seconds: if pair == 0 { 1 } else { seconds },
                    accounts,
                    number,
                };
                let took = load.run(senders).await?;
                let at = |percent: usize| {
                    let nth = (took.len() * percent / 100).min(took.len().saturating_sub(1));
                    let ms = took.get(nth).map(|took| took.as_secs_f64() * 1_000.0);
                    ms.map(|ms| (ms * 100.0).round() / 100.0)
                };
                let row = json!({
                    "measurement": name, "server": server, "requests_per_second": rate,
                    "p50_ms": at(50), "p90_ms": at(90), "p99_ms": at(99),
                });
                if pair > 0 {
                    println!("{row}");
                }
            }
        }
    }
    Ok(())
}

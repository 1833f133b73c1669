//! Connections: opened within a bound, named, closed in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use lapin::{
    Channel, Connection, ConnectionProperties,
    tcp::{AMQPUriTcpExt, RustlsConnector},
    types::LongString,
    uri::{AMQPScheme, AMQPUri},
};

use super::{Addresses, BrokerError, TlsProblem, address::is_secure, tls::Stage};

/// How long connecting, or opening a channel, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection to RabbitMQ.
pub struct Link {
    connection: Connection,
    address: String,
}

impl Link {
    /// Connects to the address whose turn it is at try `n`. RabbitMQ shows `name` in its lists.
    ///
    /// # Errors
    /// Where no connection comes about within 5 s.
    pub async fn open(addresses: &Addresses, n: usize, name: &str) -> Result<Self, BrokerError> {
        let (uri, address) = addresses.at(n);
        let properties =
            ConnectionProperties::default().with_connection_name(LongString::from(name));
        let connecting = connect(addresses, uri, properties);
        let connection = tokio::time::timeout(PATIENCE, connecting)
            .await
            .unwrap_or_else(|_| Err(Failure::Slow))
            .map_err(|failure| failure.at(address.clone()))?;
        Ok(Self {
            connection,
            address,
        })
    }

    /// Connects to the first address that answers.
    ///
    /// # Errors
    /// What the last one answered, where none does.
    pub async fn open_any(addresses: &Addresses, name: &str) -> Result<Self, BrokerError> {
        let mut n = 0;
        loop {
            match Self::open(addresses, n, name).await {
                Ok(link) => return Ok(link),
                Err(error) if n + 1 == addresses.len() => return Err(error),
                Err(_) => n += 1,
            }
        }
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// Where the connection is gone, or no channel comes about within 5 s.
    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        within("opening a channel", self.connection.create_channel()).await
    }

    /// Which node this is, without the password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// RabbitMQ takes no messages on this connection: an alarm for memory or disk is raised.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Closes in order: what was written before is delivered. Bounded; errors no longer matter.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(PATIENCE, self.connection.close(200, "OK".into())).await;
    }
}

/// Why there is no connection.
enum Failure {
    /// There was no answer.
    Slow,
    /// TLS is not, or not yet, possible.
    Tls(TlsProblem),
    /// What lapin says.
    Lapin(lapin::Error, Stage),
}

impl From<TlsProblem> for Failure {
    fn from(problem: TlsProblem) -> Self {
        Self::Tls(problem)
    }
}

impl Failure {
    fn at(self, address: String) -> BrokerError {
        let reason = match self {
            Self::Slow => format!("no answer within {PATIENCE:?}"),
            Self::Tls(problem) => return BrokerError::Tls { address, problem },
            Self::Lapin(error, stage) => {
                if let Some(problem) = TlsProblem::of(&error, stage) {
                    return BrokerError::Tls { address, problem };
                }
                match BrokerError::from(error) {
                    refused @ BrokerError::AccessRefused(_) => return refused,
                    // RabbitMQ closes the socket on a wrong password if the client cannot be told.
                    BrokerError::Lost(reason) => reason,
                    other => other.to_string(),
                }
            }
        };
        BrokerError::Unreachable { address, reason }
    }
}

async fn connect(
    addresses: &Addresses,
    uri: AMQPUri,
    properties: ConnectionProperties,
) -> Result<Connection, Failure> {
    if is_secure(&uri) {
        let connector = addresses.tls().connector().await?;
        return securely(uri, properties, connector).await;
    }
    let connected = Connection::connect_uri(uri, properties).await;
    connected.map_err(|error| Failure::Lapin(error, Stage::Plain))
}

/// lapin's own way would trust the system's authorities besides ours, and fail without them.
async fn securely(
    uri: AMQPUri,
    properties: ConnectionProperties,
    connector: RustlsConnector,
) -> Result<Connection, Failure> {
    let handshake_is_over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&handshake_is_over);
    let failure = |error| {
        let is_over = handshake_is_over.load(Ordering::Relaxed);
        let stage = if is_over { Stage::Secure } else { Stage::Handshake };
        Failure::Lapin(error, stage)
    };
    let runtime = lapin::runtime::default_runtime().map_err(failure)?;
    let connect = async move |uri: AMQPUri, runtime| {
        let plain = AMQPUri {
            scheme: AMQPScheme::AMQP,
            ..uri.clone()
        };
        let stream = plain.connect_async(&runtime).await?;
        let stream = stream.into_rustls(&connector, &uri.authority.host).await?;
        is_over.store(true, Ordering::Relaxed);
        Ok(stream)
    };
    let connected = Connection::connector(uri, runtime, connect, properties).await;
    connected.map_err(failure)
}

/// How long to wait before each further try. Jitter spreads those that lost their broker at one
/// moment.
pub fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build()
}

/// Bounds an answer of RabbitMQ's.
pub(super) async fn within<T>(
    doing: &'static str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(BrokerError::Timeout {
            doing,
            waited: PATIENCE,
        }),
    }
}

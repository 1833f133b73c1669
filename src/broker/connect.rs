//! Connections: opened within a bound, named, closed in order.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use lapin::{
    Channel, Connection, ConnectionProperties, runtime::default_runtime, tcp::AMQPUriTcpExt,
    types::LongString, uri::AMQPUri,
};

use super::{Addresses, BrokerError, TlsProblem, address::is_secure, filter, tls};

/// How long connecting, or opening a channel, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection to RabbitMQ.
pub struct Link {
    connection: Arc<Connection>,
    address: String,
    origin: Origin,
}

/// Where a connection goes, and its name.
#[derive(Clone)]
pub(super) struct Origin {
    addresses: Addresses,
    n: usize,
    name: String,
}

impl Origin {
    /// Opens another connection to the same address.
    pub(super) async fn open(&self) -> Result<Link, BrokerError> {
        Link::open(&self.addresses, self.n, &self.name).await
    }
}

impl Link {
    /// Connects to the address whose turn it is at try `n`. RabbitMQ shows `name` in its lists.
    ///
    /// # Errors
    /// If no connection is established within 5 s.
    pub async fn open(addresses: &Addresses, n: usize, name: &str) -> Result<Self, BrokerError> {
        let (uri, address) = addresses.at(n);
        let properties =
            ConnectionProperties::default().with_connection_name(LongString::from(name));
        let connecting = async {
            if is_secure(&uri) {
                return tls::connect(uri, properties, addresses.tls()).await;
            }
            let open = async |uri: AMQPUri| {
                let runtime = default_runtime()?;
                Ok(uri.connect_async(&runtime).await?)
            };
            let connected = filter::connect(uri.clone(), properties, open).await;
            let Err(error) = connected else {
                return connected.map_err(Failure::Lapin);
            };
            match tls::instead_of_amqp(&uri, &error).await {
                Some(problem) => Err(Failure::Tls(problem)),
                None => Err(Failure::Lapin(error)),
            }
        };
        let connection = tokio::time::timeout(PATIENCE, connecting)
            .await
            .unwrap_or_else(|_| Err(Failure::Slow))
            .map_err(|failure| failure.at(address.clone()))?;
        let origin = Origin {
            addresses: addresses.clone(),
            n,
            name: name.to_owned(),
        };
        Ok(Self {
            connection: Arc::new(connection),
            address,
            origin,
        })
    }

    /// Connects to the first address that answers.
    ///
    /// # Errors
    /// The error of the last address, if all fail.
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
        self.channel_later().await
    }

    /// Opens a channel, by a future that can run in the background.
    pub(super) fn channel_later(
        &self,
    ) -> impl Future<Output = Result<Channel, BrokerError>> + Send + use<> {
        let connection = Arc::clone(&self.connection);
        async move { within("opening a channel", connection.create_channel()).await }
    }

    /// How to open another connection to the same address.
    pub(super) fn origin(&self) -> Origin {
        self.origin.clone()
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
pub(super) enum Failure {
    /// There was no answer.
    Slow,
    /// An error of TLS.
    Tls(TlsProblem),
    /// An error of lapin.
    Lapin(lapin::Error),
}

impl From<TlsProblem> for Failure {
    fn from(problem: TlsProblem) -> Self {
        Self::Tls(problem)
    }
}

impl Failure {
    pub(super) fn at(self, address: String) -> BrokerError {
        let reason = match self {
            Self::Slow => format!("no answer within {PATIENCE:?}"),
            Self::Tls(problem) => return BrokerError::Tls { address, problem },
            Self::Lapin(error) => match BrokerError::from(error) {
                refused @ BrokerError::AccessRefused(_) => return refused,
                // RabbitMQ closes the socket on a wrong password if the client does not support its
                // notification.
                BrokerError::Lost(reason) => reason,
                other => other.to_string(),
            },
        };
        BrokerError::Unreachable { address, reason }
    }
}

/// How long to wait before each further try, 5 s at most. Jitter spreads those that lost their
/// broker at one moment.
pub fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        // Jitter adds as much again.
        .with_max_delay(Duration::from_millis(2_500))
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

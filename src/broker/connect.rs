//! Connections to RabbitMQ.

use std::{sync::Arc, time::Duration};

use lapin::{
    Channel, ConnectionProperties, runtime::default_runtime, tcp::AMQPUriTcpExt, types::LongString,
    uri::AMQPUri,
};
use tokio::time::Instant;

use super::{
    Addresses, Backoff, BrokerError, Greeting, address::is_secure, connect_failure::ConnectFailure,
    filter, greeting, tls,
};

/// Longest wait for a connection, a channel, or the reply to a method.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait until RabbitMQ can reach the process of a queue.
const AVAILABLE_WITHIN: Duration = Duration::from_secs(10);
/// Interval of attempts of an operation on a queue whose process cannot be reached.
const AVAILABLE_EVERY: Duration = Duration::from_millis(250);

/// One connection to RabbitMQ.
pub struct Connection {
    inner: Arc<lapin::Connection>,
    address: String,
    endpoint: Endpoint,
}

/// The address and the name of a connection.
#[derive(Clone)]
pub struct Endpoint {
    addresses: Addresses,
    attempt: usize,
    name: String,
}

impl Endpoint {
    /// The address for this attempt, and the name under which RabbitMQ lists the connection.
    #[must_use]
    pub fn new(addresses: &Addresses, attempt: usize, name: String) -> Self {
        Self {
            addresses: addresses.clone(),
            attempt,
            name,
        }
    }

    pub(super) async fn open(&self) -> Result<Connection, BrokerError> {
        Connection::open(&self.addresses, self.attempt, &self.name).await
    }

    pub(super) async fn open_channel(&self) -> Result<(Connection, Channel), BrokerError> {
        let connection = self.open().await?;
        let channel = connection.channel().await?;
        Ok((connection, channel))
    }

    pub(super) const fn move_on(&mut self) {
        self.attempt += 1;
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::over(&self.addresses)
    }
}

impl Connection {
    /// Connects to the address for this attempt. RabbitMQ lists the connection as `name`.
    ///
    /// # Errors
    /// If no connection is established within 5 s.
    pub async fn open(
        addresses: &Addresses,
        attempt: usize,
        name: &str,
    ) -> Result<Self, BrokerError> {
        let (uri, address) = addresses.at(attempt);
        let properties =
            ConnectionProperties::default().with_connection_name(LongString::from(name));
        let connecting = async {
            if is_secure(&uri) {
                return tls::connect(uri, properties, addresses).await;
            }
            let open = async |uri: AMQPUri| {
                let runtime = default_runtime()?;
                Ok(uri.connect_async(&runtime).await?)
            };
            let connected =
                filter::connect(uri.clone(), properties, addresses.largest_body(), open).await;
            let Err(error) = connected else {
                return connected.map_err(ConnectFailure::Lapin);
            };
            match tls::instead_of_amqp(&uri, &error).await {
                Some(problem) => Err(ConnectFailure::Tls(problem)),
                None => Err(ConnectFailure::Lapin(error)),
            }
        };
        let connection = tokio::time::timeout(PATIENCE, connecting)
            .await
            .unwrap_or_else(|_| Err(ConnectFailure::Slow(PATIENCE)))
            .map_err(|failure| failure.at(address.clone()))?;
        Ok(Self {
            inner: Arc::new(connection),
            address,
            endpoint: Endpoint::new(addresses, attempt, name.to_owned()),
        })
    }

    /// Connects to the first reachable address.
    ///
    /// # Errors
    /// The last address's error, if no address is reachable.
    pub async fn open_any(addresses: &Addresses, name: &str) -> Result<Self, BrokerError> {
        Self::open_any_from(addresses, 0, name).await
    }

    /// Connects to the first reachable address from `first` on, so that several connections share
    /// the nodes of a cluster.
    ///
    /// # Errors
    /// The last address's error, if no address is reachable.
    pub async fn open_any_from(
        addresses: &Addresses,
        first: usize,
        name: &str,
    ) -> Result<Self, BrokerError> {
        let mut tried = 0;
        loop {
            match Self::open(addresses, first + tried, name).await {
                Ok(connection) => return Ok(connection),
                Err(error) if tried + 1 == addresses.len() => return Err(error),
                Err(_) => tried += 1,
            }
        }
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// If the connection is lost, or no channel opens within 5 s.
    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        self.channel_later().await
    }

    /// Opens a channel, in a future that can run in the background.
    pub(super) fn channel_later(
        &self,
    ) -> impl Future<Output = Result<Channel, BrokerError>> + Send + use<> {
        let connection = Arc::clone(&self.inner);
        async move { within("opening a channel", connection.create_channel()).await }
    }

    /// Lets further connections of this endpoint receive bodies of this size, in bytes.
    #[cfg(feature = "worker")]
    pub(super) fn with_bodies_up_to(mut self, bytes: usize) -> Self {
        self.endpoint.addresses.set_largest_body(bytes);
        self
    }

    /// The product and version of the broker, read on another connection to the same address.
    ///
    /// # Errors
    /// As [`greeting()`].
    pub async fn greeting(&self) -> Result<Greeting, BrokerError> {
        greeting(&self.endpoint.addresses, self.endpoint.attempt).await
    }

    /// The endpoint of this connection, to open another to the same address.
    pub(super) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// The node's address, without the password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns whether RabbitMQ blocks publishing here: it has raised a memory or disk alarm.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.inner.status().blocked()
    }

    /// Closes the connection after the frames written before. Bounded by 5 s; ignores errors.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(PATIENCE, self.inner.close(200, "OK".into())).await;
    }
}

/// Limits the wait for a reply of RabbitMQ to 5 s. `doing` names the operation in the error.
pub(super) async fn within<T>(
    doing: &'static str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    Ok(in_time(doing, PATIENCE, answer).await??)
}

/// Limits a wait. `doing` names the operation in the error.
pub(super) async fn in_time<T>(
    doing: &'static str,
    waited: Duration,
    answer: impl Future<Output = T>,
) -> Result<T, BrokerError> {
    let answer = tokio::time::timeout(waited, answer).await;
    answer.map_err(|_| BrokerError::Timeout { doing, waited })
}

/// Repeats an operation on a queue while RabbitMQ cannot reach the queue's process, as it does for
/// seconds after a restart. At most 10 s.
pub(super) async fn once_available<T>(
    operation: impl AsyncFn() -> Result<T, BrokerError>,
) -> Result<T, BrokerError> {
    let deadline = Instant::now() + AVAILABLE_WITHIN;
    loop {
        match operation().await {
            Err(BrokerError::Unavailable(_)) if Instant::now() < deadline => {
                tokio::time::sleep(AVAILABLE_EVERY).await;
            }
            done => return done,
        }
    }
}

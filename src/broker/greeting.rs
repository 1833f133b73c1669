//! The broker's product and version, which it sends before authentication.
//!
//! lapin does not expose them, so this module reads the broker's first frame itself.

use std::time::Duration;

use amq_protocol::frame::{AMQPFrame, parsing::parse_frame};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use lapin::{
    protocol::{AMQPClass, connection::AMQPMethod},
    runtime::default_runtime,
    tcp::AMQPUriTcpExt,
    types::AMQPValue,
};
use tokio::time::timeout;

use super::{Addresses, BrokerError, address::is_secure, connect_failure::ConnectFailure, tls};

/// Longest wait for the first frame.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest first frame, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// The protocol header of AMQP 0.9.1.
const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// A broker's address, product and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The address, without the password.
    pub address: String,
    /// The product, such as `RabbitMQ`.
    pub product: String,
    /// The version, such as `4.0.5`.
    pub version: String,
}

impl Greeting {
    /// The version as numbers: major, minor, patch. Missing numbers are 0.
    #[must_use]
    pub fn numbers(&self) -> (u32, u32, u32) {
        let leading = |part: &str| {
            let digits = part.find(|c: char| !c.is_ascii_digit());
            part[..digits.unwrap_or(part.len())].parse().unwrap_or(0)
        };
        let mut parts = self.version.split('.').map(leading);
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next())
    }
}

/// Reads the greeting of the broker at the address for attempt `n`.
///
/// # Errors
/// If no frame arrives within 5 s, or the peer does not use AMQP 0.9.1.
pub async fn greeting(addresses: &Addresses, n: usize) -> Result<Greeting, BrokerError> {
    let (uri, address) = addresses.at(n);
    let greeting = async {
        if is_secure(&uri) {
            return first_frame(tls::stream(&uri, addresses.tls()).await?).await;
        }
        let runtime = default_runtime().map_err(ConnectFailure::Lapin)?;
        let stream = uri.connect_async(&runtime).await;
        first_frame(stream.map_err(|error| ConnectFailure::Lapin(error.into()))?).await
    };
    let frame = timeout(PATIENCE, greeting)
        .await
        .unwrap_or_else(|_| Err(ConnectFailure::Slow(PATIENCE)))
        .map_err(|failure| failure.at(address.clone()))?;
    let Some(AMQPFrame::Method(_, AMQPClass::Connection(AMQPMethod::Start(start)))) = frame else {
        return Err(BrokerError::Unreachable {
            address,
            reason: "the peer does not support AMQP 0.9.1".into(),
        });
    };
    let property = |name: &str| match start.server_properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => "?".to_owned(),
    };
    Ok(Greeting {
        address,
        product: property("product"),
        version: property("version"),
    })
}

/// Reads the first frame; `None` if the peer does not send an AMQP frame.
async fn first_frame(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<Option<AMQPFrame>, ConnectFailure> {
    let exchange = async {
        stream.write_all(HEADER).await?;
        stream.flush().await?;
        let mut bytes = Vec::new();
        loop {
            let mut some = [0; 4096];
            let n = stream.read(&mut some).await?;
            bytes.extend_from_slice(&some[..n]);
            if let Ok((_, frame)) = parse_frame(bytes.as_slice()) {
                return Ok(Some(frame));
            }
            if n == 0 || bytes.len() > MAX_BYTES {
                return Ok(None);
            }
        }
    };
    let exchanged: std::io::Result<_> = exchange.await;
    exchanged.map_err(|error| ConnectFailure::Lapin(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_parsed_into_three_numbers() {
        let numbers = |version: &str| {
            let greeting = Greeting {
                address: String::new(),
                product: String::new(),
                version: version.to_owned(),
            };
            greeting.numbers()
        };
        assert_eq!(numbers("3.10.8"), (3, 10, 8));
        assert_eq!(numbers("4.1.0-rc.2"), (4, 1, 0));
        assert_eq!(numbers("4.2+3"), (4, 2, 0));
        assert_eq!(numbers("?"), (0, 0, 0));
    }
}

//! RabbitMQ's product and version, which it sends before authentication.
//!
//! lapin does not expose them, so this file reads the broker's first frame by itself.

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

use super::{Addresses, BrokerError, address::is_secure, connect::Failure, tls};

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of a first frame.
const MAX_BYTES: usize = 64 * 1024;
/// AMQP 0.9.1.
const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// A broker, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Where it was reached, without the password.
    pub address: String,
    /// Its product, such as `RabbitMQ`.
    pub product: String,
    /// Its version, such as `4.0.5`.
    pub version: String,
}

impl Greeting {
    /// The version as numbers: major, minor, patch. Missing ones are 0.
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

/// Asks the broker whose turn it is at try `n`.
///
/// # Errors
/// If there is no response within 5 s, or the peer is not RabbitMQ.
pub async fn greeting(addresses: &Addresses, n: usize) -> Result<Greeting, BrokerError> {
    let (uri, address) = addresses.at(n);
    let said = async {
        if is_secure(&uri) {
            return first_frame(tls::stream(&uri, addresses.tls()).await?).await;
        }
        let runtime = default_runtime().map_err(Failure::Lapin)?;
        let stream = uri.connect_async(&runtime).await;
        first_frame(stream.map_err(|error| Failure::Lapin(error.into()))?).await
    };
    let frame = timeout(PATIENCE, said)
        .await
        .unwrap_or_else(|_| Err(Failure::Slow))
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

/// The first that comes; `None` where it is none of AMQP's.
async fn first_frame(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<Option<AMQPFrame>, Failure> {
    let asking = async {
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
    let asked: std::io::Result<_> = asking.await;
    asked.map_err(|error| Failure::Lapin(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_three_numbers_however_it_is_written() {
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

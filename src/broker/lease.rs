//! A partition's lease: whoever owns the exclusive queue holds it.

use lapin::{Channel, options::QueueDeclareOptions, types::FieldTable};

use super::{BrokerError, Link, connect::within};

/// A try at, or a hold on, one partition's lease. It is freed with its connection, by the broker.
///
/// Correctness never depends on it: for a moment two workers may both believe that they hold it.
#[derive(Default)]
pub struct Lease {
    held: Option<Channel>,
}

impl Lease {
    /// This connection holds the lease.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.as_ref().is_some_and(|c| c.status().connected())
    }

    /// Tries to take the lease `name`. Returns whether this connection holds it now.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn try_take(&mut self, link: &Link, name: &str) -> Result<bool, BrokerError> {
        if self.is_held() {
            return Ok(true);
        }
        let channel = link.channel().await?;
        let options = QueueDeclareOptions::exclusive();
        let declared = channel.queue_declare(name.into(), options, FieldTable::default());
        match within("taking the lease", declared).await {
            Ok(_) => {
                self.held = Some(channel);
                Ok(true)
            }
            Err(BrokerError::Locked(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

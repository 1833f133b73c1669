//! Declaring a topology and its first settings.

use std::time::Duration;

use super::clock;
use crate::{
    broker::{
        Addresses, Link, Names, backoff,
        settings::{self, SettingsConflict},
        topology,
    },
    domain::Settings,
};

/// What became of a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declared {
    /// The log had no settings: these are in force now.
    New,
    /// The log has settings already: these, which were left as they are.
    Kept(Settings),
}

/// Declares the topology, and its first settings where the log has none.
///
/// # Errors
/// Where the broker refuses, or somebody else declares other settings at the same moment.
pub async fn declare(
    addresses: &Addresses,
    names: &Names,
    first: &Settings,
    retention: topology::Retention,
) -> Result<Declared, SettingsConflict> {
    let link = Link::open_any(addresses, "streamwatch declare").await?;
    if !topology::declare(&link, names, retention).await? {
        tracing::info!("the log is there already: its retention stays, unless a policy says more");
    }
    link.close().await;
    if let Some(kept) = settings::read(addresses, names, 0).await? {
        return Ok(Declared::Kept(kept));
    }
    match settings::append(addresses, names, 0, first, clock::wall()).await {
        Ok(()) => Ok(Declared::New),
        Err(SettingsConflict::Overtaken) => match settings::read(addresses, names, 0).await? {
            Some(kept) => Ok(Declared::Kept(kept)),
            None => Err(SettingsConflict::Overtaken),
        },
        Err(error) => Err(error),
    }
}

/// The same, again and again until it succeeds: a worker may start before its broker.
pub(super) async fn until_declared(
    addresses: &Addresses,
    names: &Names,
    first: &Settings,
    retention: topology::Retention,
) {
    let mut waits = backoff();
    loop {
        match declare(addresses, names, first, retention).await {
            Ok(Declared::New) => return tracing::info!("declared the topology"),
            Ok(Declared::Kept(Settings { number, ttl_ms, .. })) => {
                let given_ms = first.ttl_ms;
                return tracing::info!(
                    number,
                    ttl_ms,
                    given_ms,
                    "the topology is declared; its settings stay, change them with `streamwatch \
                     topology set`"
                );
            }
            Err(error) => {
                let wait = waits.next().unwrap_or(Duration::from_secs(5));
                tracing::error!(%error, ?wait, "cannot declare the topology");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

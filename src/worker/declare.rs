//! Declaring a topology and its first settings.

use super::{clock, retry::Retry};
use crate::{
    broker::{
        Addresses, Connection, Names,
        settings::{self, SettingsConflict},
        topology::{self, Retention, Topology},
    },
    domain::Settings,
    ops::Health,
};

/// Parameters of a declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    /// Number of partitions; by default the existing ones, or one.
    pub partitions: Option<u16>,
    /// The first settings; their number of partitions is not read.
    pub first: Settings,
    /// Retention of new logs.
    pub retention: Retention,
    /// Whether MQTT messages are accepted; `None` changes nothing.
    pub by_mqtt: Option<bool>,
}

/// The outcome of a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declared {
    /// The logs had no settings; the declared ones are in force.
    New,
    /// The logs already had these settings, which stay in force.
    Kept(Settings),
}

/// Declares the topology, and its first settings if the logs have none. If only some logs have
/// settings, because an earlier declaration was interrupted, those are appended to all.
///
/// # Errors
/// If the broker refuses, or another process declares other settings concurrently.
pub async fn declare(
    addresses: &Addresses,
    names: &Names,
    declaration: &Declaration,
) -> Result<Declared, SettingsConflict> {
    let connection = Connection::open_any(addresses, "streamwatch declare").await?;
    let counted = topology::partitions(&connection, names).await?;
    // A log may be lost, so the settings take precedence.
    let there = match counted {
        Some(_) => settings::read(addresses, names, 0)
            .await?
            .map(|settings| settings.partitions)
            .or(counted),
        None => None,
    };
    let (wanted, retention) = (declaration.partitions, declaration.retention);
    let Topology {
        partitions,
        new_logs,
    } = topology::declare(&connection, names, there, wanted, retention).await?;
    if let Some(let_in) = declaration.by_mqtt {
        topology::set_mqtt_enabled(&connection, names, let_in).await?;
    }
    connection.close().await;
    if new_logs < partitions {
        tracing::info!("existing logs keep their retention, unless a policy extends it");
    }
    let first = Settings {
        partitions,
        ..declaration.first.clone()
    };
    let all_new = new_logs == partitions;
    let declared = first_settings(addresses, names, first, all_new).await?;
    if partitions > 1 {
        topology::open_partitions(addresses, names, partitions).await?;
    }
    Ok(declared)
}

/// Appends the first settings if the logs have none.
async fn first_settings(
    addresses: &Addresses,
    names: &Names,
    first: Settings,
    all_new: bool,
) -> Result<Declared, SettingsConflict> {
    let append = async |settings: &Settings| {
        settings::append_all(addresses, names, settings, clock::wall()).await
    };
    let read = async || settings::read_all(addresses, names, first.partitions).await;
    if all_new || read().await?.newest().is_none() {
        match append(&first).await {
            Ok(()) => return Ok(Declared::New),
            Err(SettingsConflict::Overtaken) => {}
            Err(error) => return Err(error),
        }
    }
    let there = read().await?;
    let Some(mut kept) = there.newest().cloned() else {
        return Err(SettingsConflict::Overtaken);
    };
    if !there.agree() {
        kept.number += 1;
        append(&kept).await?;
    }
    Ok(Declared::Kept(kept))
}

/// Declares the topology, with retries until it succeeds: a worker may start before its broker.
pub(super) async fn until_declared(
    addresses: &Addresses,
    names: &Names,
    declaration: &Declaration,
    health: &Health,
) {
    let mut retry = Retry::new("cannot declare the topology", None, addresses);
    loop {
        match declare(addresses, names, declaration).await {
            Ok(Declared::New) => return tracing::info!("declared the topology"),
            Ok(Declared::Kept(Settings { number, ttl_ms, .. })) => {
                let given_ms = declaration.first.ttl_ms;
                return tracing::info!(
                    number,
                    ttl_ms,
                    given_ms,
                    "the topology exists and keeps its settings; change them with `streamwatch \
                     topology set`"
                );
            }
            Err(error) => retry.after(&error, |reason| health.waits(reason)).await,
        }
    }
}

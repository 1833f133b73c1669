//! `streamwatch watch`: prints lifecycle events or rejected messages live.

mod lines;

use std::{num::NonZeroU64, time::Duration};

use serde_json::Value;
use tokio::{sync::watch::Receiver, time::Instant};

use super::{
    arguments::{BrokerArgs, Installation},
    follow::{Follow, Update},
    mistakes::Mistakes,
    output::{LOOK_EVERY, Output, reader_is_gone},
    setting::Setting,
    signals::{over, stop_signal},
    terminal,
};
use crate::{
    broker::{Addresses, BrokerError, Subscribed},
    domain::{AccountId, Tenant},
    wire,
};
use lines::Lines;

/// Print lifecycle events live: opened, refused, stopped, expired
///
/// Each event is printed at least once. A repetition after a fail-over has the same message_id.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print only this tenant's events
    tenant: Option<Setting<Tenant>>,
    /// Print only this account's events
    account: Option<Setting<AccountId>>,
    /// Print rejected messages instead; they contain no account
    #[arg(long)]
    rejected: bool,
    /// End after this time
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Setting<Duration>>,
    /// End after this number of lines
    #[arg(long, value_name = "N")]
    count: Option<Setting<NonZeroU64>>,
}

/// Filter and progress of the output.
struct Watch {
    rejected: bool,
    account: Option<AccountId>,
    /// Number of lines still to be printed; `None` for no limit.
    left: Option<u64>,
    until: Option<Instant>,
    output: Output,
    lines: Lines,
}

impl Args {
    pub(super) async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<()> {
        let mut mistakes = Mistakes::default();
        let installation = broker.check(&mut mistakes);
        let tenant = mistakes.take(&self.tenant);
        let account = mistakes.take(&self.account);
        let duration = mistakes.take(&self.duration);
        let count = mistakes.take(&self.count);
        if self.rejected && self.account.is_some() {
            mistakes.note("ACCOUNT: rejected messages contain no account; omit it with --rejected");
        }
        let Installation { addresses, names } = mistakes.finish(installation)?;
        let exchange = if self.rejected {
            names.rejected()
        } else {
            names.lifecycle()
        };
        let follow = Follow::new("watch", exchange, &names, tenant.as_ref());
        let watch = Watch {
            rejected: self.rejected,
            account,
            left: count.map(NonZeroU64::get),
            until: duration.and_then(|d| Instant::now().checked_add(d)),
            output,
            lines: Lines::default(),
        };
        Ok(watch.run(follow, addresses, stop_signal()?).await?)
    }
}

impl Watch {
    /// Runs until a limit, a signal or an error. After the first connection, reconnects without
    /// limit.
    async fn run(
        mut self,
        follow: Follow,
        addresses: Addresses,
        mut stop: Receiver<bool>,
    ) -> Result<(), BrokerError> {
        let (key, exchange) = (follow.key.clone(), follow.exchange.clone());
        let mut following = follow.start(addresses);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut watched = false;
        let ended = loop {
            let updates = tokio::select! {
                updates = following.next() => updates,
                _ = look.tick() => {
                    if reader_is_gone() {
                        break Ok(());
                    }
                    continue;
                }
                () = over(&mut stop, self.until) => break Ok(()),
            };
            match updates {
                Some(Update::Listening { again }) => {
                    let some = if again {
                        " again; some may have been missed"
                    } else {
                        ""
                    };
                    terminal::note([format!("watching {key} of {exchange}{some}")]);
                    watched = true;
                }
                Some(Update::Subscribed(received)) if self.print(&received) => {}
                Some(Update::Lost(error)) if !watched => break Err(error),
                Some(Update::Lost(error)) => {
                    terminal::note([format!("{error}; trying again")]);
                }
                Some(Update::Subscribed(_)) | None => break Ok(()),
            }
        };
        following.end().await;
        ended
    }

    /// Prints a message if it matches. Returns false after the last one.
    fn print(&mut self, received: &Subscribed) -> bool {
        let Some(line) = self.line(received) else {
            return true;
        };
        let Ok(mut json) = serde_json::from_slice::<Value>(&received.body) else {
            return true;
        };
        if let (Some(object), Some(id)) = (json.as_object_mut(), &received.message_id) {
            object.insert("message_id".to_owned(), id.as_str().into());
        }
        if self.output.try_print([line], &json).is_err() {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        self.left != Some(0)
    }

    /// Returns a message as text; `None` if it does not match or cannot be decoded.
    fn line(&mut self, received: &Subscribed) -> Option<String> {
        let read = if self.rejected {
            wire::decode_rejected(&received.body).map(|it| Some(self.lines.rejected(&it)))
        } else {
            wire::decode_lifecycle(&received.body).map(|event| {
                let wanted = self.account.as_ref();
                let is_wanted = wanted.is_none_or(|a| a.as_str() == event.account);
                is_wanted.then(|| self.lines.event(&event))
            })
        };
        read.unwrap_or_else(|error| {
            tracing::warn!("skipping a message that cannot be decoded: {error}");
            None
        })
    }
}

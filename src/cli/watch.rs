//! `streamwatch watch`: what happens to streams, or what is refused as bad input, as it happens.

mod lines;

use std::{num::NonZeroU64, time::Duration};

use serde_json::Value;
use tokio::{
    sync::watch::Receiver,
    time::{Instant, sleep_until},
};

use super::{
    checked::{BrokerArgs, Mistakes},
    output::{Output, reader_is_gone},
    signals::told_to_stop,
};
use crate::{
    broker::{Addresses, BrokerError, Heard, Link, Listener, backoff},
    domain::{AccountId, Tenant},
    wire,
};
use lines::Lines;

/// How often the exchange is looked at: one that is deleted says nothing.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How often standard output is looked at: a pipe that is closed says nothing either.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A connection that lasted so long ends the back-off.
const STEADY: Duration = Duration::from_secs(10);

/// Print what happens to streams, as it happens: opened, refused, stopped, expired
///
/// Each is told at least once: a repetition after a fail-over has the same message_id.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only this tenant's
    tenant: Option<String>,
    /// Only this account's
    account: Option<String>,
    /// Print what is refused as bad input instead; it names no account
    #[arg(long)]
    rejected: bool,
    /// End after so long
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<String>,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    count: Option<String>,
}

/// Why a connection is listened to no more.
enum End {
    /// Told to stop, nobody reads, or enough was printed.
    Done,
    Lost(BrokerError),
}

/// What is listened for, and how far it has come.
struct Watch {
    exchange: String,
    key: String,
    /// How the name of its queue begins.
    prefix: String,
    rejected: bool,
    account: Option<AccountId>,
    /// How many lines are still to be printed; `None` for any number.
    left: Option<u64>,
    until: Option<Instant>,
    output: Output,
    lines: Lines,
    stop: Receiver<bool>,
}

impl Args {
    pub(super) async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<()> {
        let mut mistakes = Mistakes::default();
        let connection = broker.check(&mut mistakes);
        let tenant = mistakes.check_if::<Tenant>("TENANT", self.tenant.as_deref());
        let account = mistakes.check_if::<AccountId>("ACCOUNT", self.account.as_deref());
        let duration = mistakes.duration_if("--for", self.duration.as_deref());
        let count = mistakes.check_if::<NonZeroU64>("--count", self.count.as_deref());
        if self.rejected && self.account.is_some() {
            mistakes
                .note("ACCOUNT: what is refused names no account; leave it out with --rejected");
        }
        let (addresses, names) = mistakes.finish(connection)?;
        let exchange = if self.rejected {
            names.rejected()
        } else {
            names.lifecycle()
        };
        let watch = Watch {
            exchange,
            prefix: names.subscriptions(tenant.as_ref()) + "watch-",
            key: tenant.map_or_else(|| "#".to_owned(), |tenant| format!("{tenant}.*")),
            rejected: self.rejected,
            account,
            left: count.map(NonZeroU64::get),
            until: duration.and_then(|d| Instant::now().checked_add(d)),
            output,
            lines: Lines::default(),
            stop: told_to_stop()?,
        };
        Ok(watch.run(&addresses).await?)
    }
}

impl Watch {
    /// Watches until something ends it. Losing the broker does not, once it was there.
    async fn run(mut self, addresses: &Addresses) -> Result<(), BrokerError> {
        let mut waits = backoff();
        let mut watched = false;
        for n in 0.. {
            let opening = self.open(addresses, watched.then_some(n));
            let mut stop = self.stop.clone();
            let opened = tokio::select! {
                opened = opening => opened,
                () = over(&mut stop, self.until) => return Ok(()),
            };
            let began = Instant::now();
            let lost = match opened {
                Ok((link, mut listener)) => {
                    let some = if watched {
                        " again; some may have been missed"
                    } else {
                        ""
                    };
                    eprintln!("watching {} of {}{some}", self.key, self.exchange);
                    watched = true;
                    let end = self.listen(&mut listener).await;
                    link.close().await;
                    match end {
                        End::Done => return Ok(()),
                        End::Lost(error) => error,
                    }
                }
                Err(error) if !watched => return Err(error),
                Err(error) => error,
            };
            if began.elapsed() > STEADY {
                waits = backoff();
            }
            let wait = waits.next().unwrap_or(Duration::from_secs(5));
            eprintln!("{lost}; trying again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = over(&mut stop, self.until) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Connects: at first to any address, later to the one whose turn it is.
    async fn open(
        &self,
        addresses: &Addresses,
        turn: Option<usize>,
    ) -> Result<(Link, Listener), BrokerError> {
        const NAME: &str = "streamwatch watch";
        let link = match turn {
            Some(n) => Link::open(addresses, n, NAME).await?,
            None => Link::open_any(addresses, NAME).await?,
        };
        let listener = Listener::open(&link, &self.exchange, &self.key, &self.prefix).await?;
        Ok((link, listener))
    }

    async fn listen(&mut self, listener: &mut Listener) -> End {
        let mut stop = self.stop.clone();
        let mut check = tokio::time::interval(CHECK_EVERY);
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let heard = tokio::select! {
                heard = listener.next() => heard,
                _ = check.tick() => match listener.check().await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
                _ = look.tick() => {
                    if reader_is_gone() {
                        return End::Done;
                    }
                    continue;
                }
                () = over(&mut stop, self.until) => return End::Done,
            };
            match heard {
                Ok(heard) if self.print(&heard) => {}
                Ok(_) => return End::Done,
                Err(error) => return End::Lost(error),
            }
        }
    }

    /// Prints a message, if it is wanted. Returns false where it was the last.
    fn print(&mut self, heard: &Heard) -> bool {
        let Some(line) = self.line(heard) else {
            return true;
        };
        let Ok(mut json) = serde_json::from_slice::<Value>(&heard.body) else {
            return true;
        };
        if let (Some(object), Some(id)) = (json.as_object_mut(), &heard.message_id) {
            object.insert("message_id".to_owned(), id.as_str().into());
        }
        if self.output.try_say(&line, &json).is_err() {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        self.left != Some(0)
    }

    /// A message for people; `None` where it is not wanted, or cannot be read.
    fn line(&mut self, heard: &Heard) -> Option<String> {
        let read = if self.rejected {
            wire::decode_rejected(&heard.body).map(|it| Some(self.lines.rejected(&it)))
        } else {
            wire::decode_lifecycle(&heard.body).map(|told| {
                let wanted = self.account.as_ref();
                let is_wanted = wanted.is_none_or(|a| a.as_str() == told.account);
                is_wanted.then(|| self.lines.told(&told))
            })
        };
        read.unwrap_or_else(|error| {
            tracing::warn!("passed over: {error}");
            None
        })
    }
}

/// It is time to end.
async fn over(stop: &mut Receiver<bool>, until: Option<Instant>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        } => {}
    }
}

//! A hostile player. It publishes bad messages at a modest rate, and sometimes in bursts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::broker::fixture::{Installation, tenant};
use super::counters::{self, Series};
use super::ledger::Ledger;
use super::messages::{Kind, Message};
use super::report::Report;
use super::targets::{Proxies, Targets};
use super::watch::Watch;

/// The pause between messages, on average.
const PAUSE: Duration = Duration::from_millis(200);
/// The share of bursts, and the number of messages in each. All are of one kind and about one account.
const BURSTS: f64 = 1.0 / 60.0;
const BURST: std::ops::RangeInclusive<usize> = 24..=48;
/// Timeout of a confirm, after which the player reconnects.
const PATIENCE: Duration = Duration::from_secs(10);
const RECONNECT: Duration = Duration::from_millis(500);
/// The time within which all replicas count the last message.
const COUNTED_WITHIN: Duration = Duration::from_secs(30);
const PASSWORD: &str = "of-a-player";

/// Number of messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub published: u64,
    pub confirmed: u64,
}

/// Messages sent.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub kinds: BTreeMap<Kind, Sent>,
    /// Messages routed to logs, by the code by which workers count them.
    pub logged: BTreeMap<&'static str, Sent>,
}

impl Tally {
    fn of(&mut self, (kind, logged): (Kind, bool), change: impl Fn(&mut Sent)) {
        change(self.kinds.entry(kind).or_default());
        if logged {
            change(self.logged.entry(kind.code()).or_default());
        }
    }
}

#[derive(Clone)]
pub struct Hostile {
    tally: Arc<Mutex<Tally>>,
    ledger: Arc<Ledger>,
    proxies: Arc<Proxies>,
    exchange: String,
    user: String,
}

impl Hostile {
    /// Adds a user with the permissions that `topology roles` prints for players.
    pub async fn new(targets: &Targets<'_>, ledger: &Arc<Ledger>) -> Self {
        let user = player(&targets.installation, targets).await;
        let proxies = Proxies::open(targets.nodes.nodes).await;
        Self {
            tally: Arc::default(),
            ledger: Arc::clone(ledger),
            exchange: targets.installation.names().exchange().to_owned(),
            user,
            proxies: Arc::new(proxies),
        }
    }

    pub fn tally(&self) -> Tally {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.clone()
    }

    /// Publishes until `stop` is true.
    pub async fn publish(self, seed: u64, stop: watch::Receiver<bool>) {
        let mut random = Rng::with_seed(!seed);
        for url in self.proxies.broker.url().split(',').cycle() {
            if let Ok(Ok(channel)) = timeout(PATIENCE, self.connect(url)).await {
                while !*stop.borrow() && self.some(&channel, &mut random).await {
                    sleep(PAUSE.mul_f64(0.5 + random.f64())).await;
                }
            }
            if *stop.borrow() {
                return;
            }
            sleep(RECONNECT).await;
        }
    }

    async fn connect(&self, url: &str) -> lapin::Result<Channel> {
        let (_, host) = url.rsplit_once('@').expect("a URL with a user");
        let url = format!("amqp://{}:{PASSWORD}@{host}", self.user);
        let name = "hostile player".into();
        let properties = ConnectionProperties::default().with_connection_name(name);
        let connection = Connection::connect(&url, properties).await?;
        let channel = connection.create_channel().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await?;
        Ok(channel)
    }

    /// Publishes one message, or a burst. Returns false if the connection must be replaced.
    async fn some(&self, channel: &Channel, random: &mut Rng) -> bool {
        let burst = random.f64() < BURSTS;
        let first = self
            .tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .kinds
            .is_empty();
        let (kind, count) = match burst {
            // The rarest kind comes first, so that a short soak has it.
            _ if first => (Kind::Undeliverable, 1),
            true => {
                let kind = Kind::any(random);
                (kind, random.usize(BURST) / kind.costs())
            }
            false => (Kind::usual(random), 1),
        };
        let Some(victim) = self.ledger.playing(random) else {
            return true;
        };
        let messages = (0..count).map(|_| Message::new(kind, random, &victim));
        let messages: Vec<_> = messages.collect();
        let published = self.all(channel, &messages);
        matches!(timeout(PATIENCE, published).await, Ok(Ok(())))
    }

    async fn all(&self, channel: &Channel, messages: &[Message]) -> lapin::Result<()> {
        let mut waiting = Vec::new();
        for message in messages {
            let of = (message.kind, message.logged);
            self.note(of, |sent| sent.published += 1);
            let publishing = channel.basic_publish(
                self.exchange.as_str().into(),
                format!("{}.{}", tenant(), message.word).into(),
                BasicPublishOptions::default(),
                &message.body,
                message.properties.clone(),
            );
            waiting.push((of, publishing.await?));
        }
        for (of, confirm) in waiting {
            if let Confirmation::Ack(_) = confirm.await? {
                self.note(of, |sent| sent.confirmed += 1);
            }
        }
        Ok(())
    }

    fn note(&self, of: (Kind, bool), change: impl Fn(&mut Sent)) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.of(of, change);
    }
}

/// Adds a user with the least permissions of a player; returns its name.
async fn player(installation: &Installation<'_>, targets: &Targets<'_>) -> String {
    let tenant = tenant().to_string();
    let roles = ["--json", "topology", "roles", "--tenant", &tenant];
    let roles = installation.cli(&roles).await.json();
    let node = &targets.nodes.nodes[0];
    let of_player = |permissions: &str| {
        let all = roles[permissions].as_array().expect("a list").iter();
        let mut of_players = all.filter(|it| {
            let user = it["user"].as_str().expect("a name");
            user.ends_with(&format!(".{tenant}.player"))
        });
        of_players.next().expect("players have some").clone()
    };
    let (permissions, topics) = (of_player("permissions"), of_player("topic_permissions"));
    let text = |of: &serde_json::Value, name: &str| of[name].as_str().expect("text").to_owned();
    let user = text(&permissions, "user");
    node.ctl(&["add_user", &user, PASSWORD]).await;
    let vhost = ["--vhost", &text(&permissions, "vhost")].map(str::to_owned);
    for (command, of, names) in [
        (
            "set_topic_permissions",
            &topics,
            &["user", "exchange", "write", "read"][..],
        ),
        (
            "set_permissions",
            &permissions,
            &["user", "configure", "write", "read"][..],
        ),
    ] {
        let mut arguments = vec![command, &vhost[0], &vhost[1]];
        let values: Vec<_> = names.iter().map(|name| text(of, name)).collect();
        arguments.extend(values.iter().map(String::as_str));
        node.ctl(&arguments).await;
    }
    user
}

/// Reports the messages sent, and how workers counted them. Every replica must have counted each
/// log entry once.
pub async fn rows(report: &mut Report, tally: &Tally, targets: &Targets<'_>, watch: &Watch) {
    report.section("hostile messages");
    for (kind, sent) in &tally.kinds {
        let Sent {
            published,
            confirmed,
        } = sent;
        report.row(
            kind.to_string(),
            json!({ "published": published, "confirmed": confirmed }),
        );
    }
    let counted = counted(targets).await;
    report.must(counted.is_some(), || {
        "replicas have counted different entries as bad".to_owned()
    });
    let counted = counted.unwrap_or_default();
    let codes: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    for code in codes {
        let sent = tally.logged.get(code).copied().unwrap_or_default();
        let Sent {
            published,
            confirmed,
        } = sent;
        let count = counted.get(code).copied().unwrap_or_default();
        report.row(
            format!("log entries counted as {code}"),
            json!({ "published": published, "confirmed": confirmed, "counted": count }),
        );
        report.must(count > 0, || format!("no log entry was counted as {code}"));
        report.must((confirmed..=published).contains(&count), || {
            format!("{count} log entries counted as {code}: {confirmed} confirmed, {published} published")
        });
    }
    let (skipped, wrongly) = targets.skipped().await.check(targets).await;
    report.row("log entries skipped as undeliverable", skipped);
    report.none(
        "of these, delivered to another client",
        wrongly.len() as u64,
    );
    for (partition, offset) in wrongly {
        eprintln!("skipped, although RabbitMQ delivers it: partition {partition}, offset {offset}");
    }
    watch.count(targets).await;
    for (name, count) in watch.counted() {
        report.row(format!("{name}, at least"), count);
    }
}

/// Bad log entries by code, once the counts of all replicas agree.
async fn counted(targets: &Targets<'_>) -> Option<BTreeMap<String, u64>> {
    let until = Instant::now() + COUNTED_WITHIN;
    loop {
        let mut workers: Vec<Series> = Vec::new();
        for place in &targets.places {
            workers.push(place.probe().series().await);
        }
        let counted = counters::entries(&workers);
        if counted.is_some() || Instant::now() > until {
            return counted;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

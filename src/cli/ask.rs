//! `streamwatch init`, `heartbeat`, `stop` and `status`: one message from the command line.

mod init;
mod limit;
mod stop;
mod tenants;

use std::{process::ExitCode, time::Duration};

use serde_json::{Value, json};

pub use init::Init;
pub use stop::Stop;
pub use tenants::{Accounts, Totals};

use super::{
    arguments::BrokerArgs,
    mistakes::Mistakes,
    output::{Output, by_value, described, duration_ms, plural, table},
    setting::Setting,
    terminal::escape,
};
use crate::{
    client::{
        AccountId, AccountStatus, Activity, Backend, Consistency, GivenReason, Metadata,
        StatusQuery, StreamId, StreamState, Tenant,
    },
    domain::Answer,
    wire::{self, PartitionNumber},
};

/// Exit code if the stream is not active.
const REFUSED: u8 = 6;

/// The account of a message.
#[derive(clap::Args, Debug)]
pub struct Account {
    /// The tenant: 1 to 64 of A-Z a-z 0-9 _ -
    tenant: Setting<Tenant>,
    /// The account
    account: Setting<AccountId>,
}

/// Time to wait.
#[derive(clap::Args, Debug)]
pub struct Patience {
    /// Time to wait for the reply
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    timeout: Setting<Duration>,
}

/// Send one heartbeat of a stream
#[derive(clap::Args, Debug)]
pub struct Heartbeat {
    #[command(flatten)]
    account: Account,
    /// The stream's id
    stream: Setting<StreamId>,
    /// New metadata of the stream, such as device=tv
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// Time to wait for the reply that the stream was stopped
    #[arg(long, default_value = "500ms", value_name = "DURATION")]
    wait: Setting<Duration>,
    #[command(flatten)]
    patience: Patience,
}

/// Show the active streams of an account
#[derive(clap::Args, Debug)]
pub struct Status {
    #[command(flatten)]
    account: Account,
    /// Also show the state of this stream; exit with 6 if it is not active
    #[arg(long)]
    stream: Option<Setting<StreamId>>,
    /// Count the streams by this metadata key; may be repeated 16 times
    #[arg(long, value_name = "KEY")]
    group_by: Vec<String>,
    /// Include all messages that RabbitMQ has confirmed
    #[arg(long)]
    strong: bool,
    #[command(flatten)]
    patience: Patience,
}

impl Account {
    fn check(&self, mistakes: &mut Mistakes) -> Option<(Tenant, AccountId)> {
        let tenant = mistakes.take(&self.tenant);
        tenant.zip(mistakes.take(&self.account))
    }
}

fn connect<T>(
    broker: &BrokerArgs,
    checked: Option<T>,
    patience: &Patience,
    mut mistakes: Mistakes,
) -> Result<(Backend, T), Mistakes> {
    let installation = broker.check(&mut mistakes);
    let patience = mistakes.take(&patience.timeout);
    let all = installation.zip(checked).zip(patience);
    let ((installation, checked), patience) = mistakes.finish(all)?;
    let backend = Backend::new(installation.client());
    Ok((backend.with_patience(patience), checked))
}

fn metadata(pairs: &[String], mistakes: &mut Mistakes) -> Metadata {
    let mut split = Vec::new();
    for pair in pairs {
        match pair.split_once('=') {
            Some(pair) => split.push(pair),
            None => mistakes.note("--metadata: KEY=VALUE"),
        }
    }
    let metadata = Metadata::new(&mut split);
    mistakes.check("--metadata", metadata).unwrap_or_default()
}

impl Heartbeat {
    pub(super) async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<ExitCode> {
        let mut mistakes = Mistakes::default();
        let stream = mistakes.take(&self.stream);
        let wait = mistakes.take(&self.wait);
        let metadata = metadata(&self.metadata, &mut mistakes);
        let account = self.account.check(&mut mistakes);
        let checked = account.zip(stream).zip(wait);
        let (backend, (((tenant, account), stream), wait)) =
            connect(broker, checked, &self.patience, mistakes)?;
        let metadata = (!metadata.is_empty()).then(|| metadata.into());
        let stopped = backend.heartbeat(&tenant, &account, stream, metadata, wait);
        Ok(match stopped.await? {
            None => {
                output.print(["sent"], &json!({ "sent": true, "stopped": null }));
                ExitCode::SUCCESS
            }
            Some(cause) => {
                let (word, given) = (cause.reason.as_str(), cause.given.as_ref());
                let given = given.map(GivenReason::as_str);
                let mut json = json!({ "sent": true, "stopped": word });
                if let Some(given) = given {
                    json["given_reason"] = given.into();
                }
                let because = given.map_or_else(String::new, |text| format!(" ({})", escape(text)));
                let word = word.replace('_', " ");
                let line = format!("the stream was {word}{because}: it does not count");
                output.print([line], &json);
                ExitCode::from(REFUSED)
            }
        })
    }
}

impl Status {
    pub(super) async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<ExitCode> {
        let mut mistakes = Mistakes::default();
        let query = StatusQuery {
            stream: mistakes.take(&self.stream),
            group_by: self.group_by.clone(),
            consistency: if self.strong {
                Consistency::Strong
            } else {
                Consistency::Local
            },
        };
        let account = self.account.check(&mut mistakes);
        let (backend, (tenant, account)) = connect(broker, account, &self.patience, mistakes)?;
        let asked = backend.status(&tenant, &account, &query);
        let AccountStatus {
            activity,
            by,
            state,
            partition,
        } = asked.await?;
        let mut lines = streams(&activity);
        lines.extend(by.iter().map(|(key, counts)| by_value(key, counts)));
        let stream = query.stream.zip(state);
        if let Some((id, state)) = stream {
            lines.push(format!("{id} is {}", state.as_str()));
        }
        let answer = Answer::Status { activity, stream };
        output.print(lines, &as_json(&answer, &self.group_by, partition)?);
        let inactive = stream.is_some_and(|(_, state)| state != StreamState::Active);
        Ok(ExitCode::from(if inactive { REFUSED } else { 0 }))
    }
}

/// The contract's reply, so that programs need no second format.
fn as_json(
    answer: &Answer,
    group_by: &[String],
    partition: Option<PartitionNumber>,
) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(
        &wire::answer(answer, group_by, partition).body,
    )?)
}

/// An account's streams, as a table.
fn streams(activity: &Activity) -> Vec<String> {
    let count = activity.count();
    let head = format!(
        "{}: {count} active stream{} at {}",
        activity.key.as_str(),
        plural(count),
        wire::show(activity.as_of)
    );
    if count == 0 {
        return vec![head];
    }
    let mut rows =
        vec![["stream", "started", "last seen", "expires in", "metadata"].map(str::to_owned)];
    for s in &activity.streams {
        rows.push([
            s.stream.to_string(),
            wire::show(s.started_at),
            wire::show(s.last_seen),
            duration_ms(s.expires_in_ms),
            described(s),
        ]);
    }
    let mut lines = vec![head];
    lines.extend(table(&rows));
    lines
}

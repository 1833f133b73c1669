//! `streamwatch stop`

use std::{process::ExitCode, time::Duration};

use serde_json::json;

use super::{Account, BrokerArgs, Mistakes, Output, Patience, Setting, connect};
use crate::client::{GivenReason, Stop as Ending, StopTarget, StreamId};

/// End a stream, or all streams of an account
#[derive(clap::Args, Debug)]
pub struct Stop {
    #[command(flatten)]
    account: Account,
    /// The stream's id
    stream: Option<Setting<StreamId>>,
    /// End all active streams of the account
    #[arg(long)]
    all: bool,
    /// The reason for the players, at most 64 bytes
    #[arg(long, value_name = "TEXT")]
    reason: Option<Setting<GivenReason>>,
    /// Time to wait for an error
    #[arg(long, default_value = "500ms", value_name = "DURATION")]
    wait: Setting<Duration>,
    #[command(flatten)]
    patience: Patience,
}

impl Stop {
    pub async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<ExitCode> {
        let mut mistakes = Mistakes::default();
        let stream = mistakes.take(&self.stream);
        let target = match (self.all, &self.stream) {
            (true, None) => Some(StopTarget::All),
            (false, Some(_)) => stream.map(StopTarget::One),
            (true, Some(_)) | (false, None) => {
                mistakes.reject("STREAM: either the id of one stream, or --all")
            }
        };
        let reason = mistakes.take(&self.reason);
        let wait = mistakes.take(&self.wait);
        let account = self.account.check(&mut mistakes);
        let checked = account.zip(target).zip(wait);
        let (backend, (((tenant, account), target), wait)) =
            connect(broker, checked, &self.patience, mistakes)?;
        let reason = reason.map(Ok);
        let stop = Ending { target, reason };
        backend.send_stop(&tenant, &account, stop, wait).await?;
        output.print(["sent"], &json!({ "sent": true }));
        Ok(ExitCode::SUCCESS)
    }
}

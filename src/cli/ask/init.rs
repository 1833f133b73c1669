//! `streamwatch init`

use std::{num::NonZeroU32, process::ExitCode, time::Duration};

use super::{
    Account, BrokerArgs, Mistakes, Output, Patience, REFUSED, Setting, as_json, connect, limit,
    metadata, streams,
};
use crate::{
    cli::output::{duration, duration_ms},
    client::{Conflict, GivenReason, OnLimit, OpenRequest, Opening, Refused, StreamId, Terms},
    domain::{Answer, MAX_LIMITS, MAX_SAME_KEYS},
};

/// Open a stream
#[derive(clap::Args, Debug)]
pub struct Init {
    #[command(flatten)]
    account: Account,
    /// The stream's id, a UUID [default: a new one]
    #[arg(long)]
    stream: Option<Setting<StreamId>>,
    /// Refuse the stream if the account would then have more active streams than this
    #[arg(long, value_name = "N")]
    max_active: Option<Setting<NonZeroU32>>,
    /// Refuse the stream beyond this limit: N, or parts such as max=3,distinct=device or
    /// max=1,where=kind:live|vod; may be repeated 8 times
    #[arg(long, value_name = "LIMIT")]
    limit: Vec<String>,
    /// End the account's streams that agree with this one in this metadata key, such as device; if
    /// repeated, in all of them
    #[arg(long, value_name = "KEY")]
    same: Vec<String>,
    /// Reaction to a broken limit: refuse, or replace-oldest to end the oldest streams in the way
    #[arg(long, value_name = "CHOICE")]
    on_limit: Option<String>,
    /// Stop this stream in the same step; may be repeated 16 times
    #[arg(long, value_name = "STREAM")]
    replace: Vec<Setting<StreamId>>,
    /// The reason for the players of the streams that it ends, at most 64 bytes
    #[arg(long, value_name = "TEXT")]
    reason: Option<Setting<GivenReason>>,
    /// Metadata of the stream, such as device=tv; may be repeated 16 times
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    #[command(flatten)]
    patience: Patience,
}

impl Init {
    pub async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<ExitCode> {
        let mut mistakes = Mistakes::default();
        let request = self.request(&mut mistakes);
        let account = self.account.check(&mut mistakes);
        let (backend, (tenant, account)) = connect(broker, account, &self.patience, mistakes)?;
        let opening = backend.open(&tenant, &account, &request);
        let (stream, opening) = opening.await?;
        Ok(match opening {
            Opening::Opened {
                heartbeat_every,
                ttl,
                replaced,
                activity,
                partition,
                ..
            } => {
                let mut lines = vec![format!(
                    "opened {stream}: send a heartbeat every {}, it counts for {}",
                    duration(heartbeat_every),
                    duration(ttl)
                )];
                if !replaced.is_empty() {
                    lines.push(format!("ended {}", listed(&replaced)));
                }
                lines.extend(streams(&activity));
                let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
                let answer = Answer::Opened {
                    stream,
                    heartbeat_every_ms: ms(heartbeat_every),
                    ttl_ms: ms(ttl),
                    replaced,
                    activity,
                };
                output.print(lines, &as_json(&answer, &[], partition)?);
                ExitCode::SUCCESS
            }
            Opening::Refused {
                refusal,
                activity,
                partition,
                ..
            } => {
                let mut lines = refusal_lines(&refusal);
                lines.extend(streams(&activity));
                let answer = Answer::Refused {
                    stream,
                    refusal,
                    activity,
                };
                output.print(lines, &as_json(&answer, &[], partition)?);
                ExitCode::from(REFUSED)
            }
        })
    }

    fn request(&self, mistakes: &mut Mistakes) -> OpenRequest {
        let max_active = mistakes.take(&self.max_active);
        if max_active.is_some() && !self.limit.is_empty() {
            mistakes.note("--max-active: write --limit N beside other limits");
        }
        let replace = self.replace.iter();
        OpenRequest {
            stream: mistakes.take(&self.stream),
            metadata: metadata(&self.metadata, mistakes),
            max_active: max_active.map(NonZeroU32::get),
            replace: replace.filter_map(|id| mistakes.take(id)).collect(),
            terms: self.terms(mistakes),
            group_by: Vec::new(),
        }
    }

    fn terms(&self, mistakes: &mut Mistakes) -> Terms {
        let bounds = [
            ("--limit", self.limit.len(), MAX_LIMITS),
            ("--same", self.same.len(), MAX_SAME_KEYS),
        ];
        for (name, _, most) in bounds.iter().filter(|(_, count, most)| count > most) {
            mistakes.note(format!("{name}: at most {most} times"));
        }
        let limits = self.limit.iter();
        let limits = limits.filter_map(|text| mistakes.check("--limit", limit::parse(text)));
        let limits = limits.collect();
        let on_limit = match self.on_limit.as_deref() {
            None | Some("refuse") => OnLimit::Refuse,
            Some("replace-oldest" | "replace_oldest") => OnLimit::ReplaceOldest,
            Some(_) => {
                mistakes.note("--on-limit: refuse or replace-oldest");
                OnLimit::Refuse
            }
        };
        Terms {
            limits,
            same: self.same.iter().map(|key| key.as_str().into()).collect(),
            on_limit,
            reason: mistakes.take(&self.reason),
        }
    }
}

fn refusal_lines(refusal: &Refused) -> Vec<String> {
    let mut first = format!("refused ({})", refusal.reason.as_str());
    if refusal.is_remembered {
        first += ", as before";
    }
    if let Some(ms) = refusal.retry_after_ms {
        first += &format!("; try again in {}", duration_ms(ms));
    }
    let conflicts = refusal.conflicts.iter();
    let conflicts = conflicts
        .map(|Conflict { limit, streams }| format!("limit {}: {}", limit + 1, listed(streams)));
    std::iter::once(first).chain(conflicts).collect()
}

fn listed(streams: &[StreamId]) -> String {
    let ids: Vec<String> = streams.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

//! Evaluation results: bodies that state why a session was not opened, or has ended.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::{
    ended::{EndedBy, created, termination_code},
    policy::{APPLICATION, Application, AppliedRule, Policies},
};
use crate::{
    client::{ActiveStream, Activity, Conflict, Metadata, StreamId},
    wire::show,
};

/// The value for viewers if metadata has none.
const UNKNOWN: &str = "Unknown";

/// A view of streams for the players of one application.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// The policies, for the names of applications.
    pub(super) policies: &'a Policies,
    /// The application.
    pub(super) application: &'a Application,
}

impl View<'_> {
    /// The body of a refused `init`: an advice for each violated rule, with the sessions in its way.
    pub(super) fn violations(
        &self,
        applied: &[AppliedRule],
        conflicts: &[Conflict],
        activity: &Activity,
    ) -> Value {
        let advices = conflicts.iter().filter_map(|conflict| {
            let applied = applied.get(conflict.limit)?;
            let sessions = conflict
                .streams
                .iter()
                .map(|id| (*id, activity.stream(*id)));
            Some(self.violation(applied, sessions))
        });
        evaluation(advices.collect(), Vec::new())
    }

    /// The body for a session that a policy has ended for `successor`.
    pub(super) fn replaced(&self, successor: StreamId, activity: &Activity) -> Value {
        let stream = activity.stream(successor);
        let metadata = stream.map_or_else(Metadata::default, |stream| stream.metadata.clone());
        let applied = self.application.applied(&metadata);
        let applied: Vec<_> = applied.into_iter().filter(AppliedRule::replaces).collect();
        let full: Vec<_> = applied
            .iter()
            .filter(|rule| rule.count(activity) >= rule.max())
            .collect();
        let violated = if full.is_empty() {
            applied.iter().collect()
        } else {
            full
        };
        let advices = violated
            .into_iter()
            .map(|applied| self.violation(applied, std::iter::once((successor, stream))));
        evaluation(advices.collect(), Vec::new())
    }

    fn violation<'s>(
        &self,
        applied: &AppliedRule,
        sessions: impl Iterator<Item = (StreamId, Option<&'s ActiveStream>)>,
    ) -> Value {
        let rule = applied.rule;
        let mut conflicts: Map<String, Value> = Map::new();
        for (id, stream) in sessions {
            let distinct = applied.limit.distinct.as_deref();
            let value = distinct.and_then(|key| stream?.metadata.get(key));
            let value = value.map_or_else(|| id.to_string(), str::to_owned);
            let list = conflicts.entry(value).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(self.conflict(id, stream));
            }
        }
        let mut advice = json!({
            "type": "rule-violation",
            "message": rule.message,
            "policyName": rule.policy,
            "ruleName": rule.name,
            "threshold": applied.limit.max,
            "conflicts": conflicts,
        });
        if let Some(key) = &applied.limit.distinct {
            advice["attribute"] = json!(key);
        }
        advice
    }

    /// The body for a session that another client has ended, if it states one.
    pub(super) fn ended(&self, by: &EndedBy, activity: &Activity) -> Option<Value> {
        let (message, terminator) = match by {
            EndedBy::Termination(id) => {
                let session = self.session(*id, activity.stream(*id));
                ("Another session has ended this one".to_owned(), session)
            }
            EndedBy::Backend(reason) => (reason.as_str().to_owned(), self.of_unknown()),
            EndedBy::Policy(_) | EndedBy::Unstated => return None,
        };
        let advice = json!({
            "type": "remote-termination",
            "message": message,
            "terminator": terminator,
        });
        Some(evaluation(vec![advice], Vec::new()))
    }

    /// The running sessions of an account.
    pub(super) fn running(&self, activity: &Activity) -> Value {
        let sessions = activity.streams.iter().map(|stream| {
            let id = stream.metadata.get(APPLICATION);
            let mut session = json!({
                "sessionId": stream.stream.to_string(),
                "startTime": stream.started_at.0,
                "applicationId": id.unwrap_or(UNKNOWN),
                "applicationName": self.application_name(&stream.metadata),
                "metadata": shown(&stream.metadata),
            });
            self.add_code(&mut session, stream.stream);
            session
        });
        let mut body = json!({"runningStreams": sessions.collect::<Vec<_>>()});
        if activity.streams.is_empty() || activity.left_out > 0 {
            body["otherStreams"] = json!(activity.left_out);
        }
        body
    }

    /// A session in the way of another.
    fn conflict(&self, id: StreamId, stream: Option<&ActiveStream>) -> Value {
        let mut session = self.session(id, stream);
        let metadata = stream
            .map(|stream| shown(&stream.metadata))
            .unwrap_or_default();
        if !metadata.is_empty() {
            session["metadata"] = Value::Object(metadata);
        }
        self.add_code(&mut session, id);
        session
    }

    fn add_code(&self, session: &mut Value, id: StreamId) {
        if self.application.may_terminate {
            session["terminationCode"] = json!(termination_code(id));
        }
    }

    /// A session for other viewers of the account.
    fn session(&self, id: StreamId, stream: Option<&ActiveStream>) -> Value {
        let Some(stream) = stream else {
            let mut session = self.of_unknown();
            if let Some(at) = created(id) {
                session["startedAt"] = json!(show(at));
            }
            return session;
        };
        let get = |key| stream.metadata.get(key).unwrap_or(UNKNOWN);
        json!({
            "channel": get("channel"),
            "startedAt": show(stream.started_at),
            "deviceName": get("deviceName"),
            "applicationName": self.application_name(&stream.metadata),
        })
    }

    fn of_unknown(&self) -> Value {
        json!({"channel": UNKNOWN, "deviceName": UNKNOWN, "applicationName": UNKNOWN})
    }

    fn application_name<'m>(&'m self, metadata: &'m Metadata) -> &'m str {
        let id = metadata.get(APPLICATION);
        id.map_or(UNKNOWN, |id| self.policies.name_of(id).unwrap_or(id))
    }
}

/// The body for a request that lacks metadata, or whose metadata a policy cannot use.
pub(super) fn refresh_metadata() -> Value {
    let obligation = json!({
        "namespace": "adobe.primetime.cm",
        "action": "refresh",
        "arguments": ["metadata"],
    });
    evaluation(Vec::new(), vec![obligation])
}

fn evaluation(advices: Vec<Value>, obligations: Vec<Value>) -> Value {
    json!({"associatedAdvice": advices, "obligations": obligations})
}

/// The metadata that a session was sent with, and the sessions that it has replaced.
fn shown(metadata: &Metadata) -> Map<String, Value> {
    let pairs = metadata.pairs().filter(|(key, _)| *key != APPLICATION);
    pairs
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect()
}

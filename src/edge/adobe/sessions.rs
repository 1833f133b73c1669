//! Sessions: the operations of both versions of the API.

use axum::http::StatusCode;
use tokio::time::Instant;

use super::{
    call::Call,
    displaced::displaced,
    ended::EndedBy,
    evaluation::View,
    policy::{Application, AppliedRule},
    response::{AdobeResponse, Outcome},
};
use crate::{
    client::{
        AccountId, AccountKey, AccountStatus, ClientError, Consistency, Heartbeat, MAX_REPLACED,
        Metadata, OpenRequest, Opening, Refused, RefusedReason, StatusQuery, StreamId, Tenant,
    },
    edge::{Caller, Denied, HeartbeatReply, UnknownStream, players::StreamKey},
};

/// The subject of a request, as an account.
pub(super) struct Subject<'a> {
    call: &'a Call,
    /// The application that sends the request.
    pub(super) application: &'a Application,
    tenant: Tenant,
    account: AccountId,
}

impl Call {
    /// The account in its path, which the caller must reach.
    pub(super) fn subject(&self, by: Result<Caller, Denied>) -> Outcome<Subject<'_>> {
        let caller = by?;
        let application = self.application(&caller)?;
        let account = application.account(&caller.tenant, &self.at.idp, &self.at.subject);
        let (tenant, account) = account.map_err(AdobeResponse::bad)?;
        if !caller.reaches(&account) {
            let reason = "the credentials belong to another account";
            return Err(AdobeResponse::stating(StatusCode::FORBIDDEN, reason));
        }
        let limited = self.edge.limits.account(&tenant, &account);
        limited.map_err(AdobeResponse::throttled)?;
        Ok(Subject {
            call: self,
            application,
            tenant,
            account,
        })
    }
}

impl<'a> Subject<'a> {
    pub(super) fn view(&self) -> View<'a> {
        View {
            policies: &self.call.policies,
            application: self.application,
        }
    }

    /// Counts a request that opens a session.
    pub(super) fn admit_open(&self) -> Outcome<()> {
        let key = AccountKey::new(&self.tenant, &self.account);
        let most = self.call.policies.requests_per_minute;
        let windows = &self.call.shared.of_accounts;
        let admitted = windows.admit(key, most, Instant::now());
        admitted.map_err(AdobeResponse::throttled)
    }

    /// Counts a request of a session.
    pub(super) fn admit(&self, stream: StreamId) -> Outcome<()> {
        let key = StreamKey::new(&self.tenant, &self.account, stream);
        let most = self.call.policies.requests_per_minute;
        let windows = &self.call.shared.of_sessions;
        let admitted = windows.admit(key, most, Instant::now());
        admitted.map_err(AdobeResponse::throttled)
    }

    /// Opens a session under the rules of its application, and ends those that its viewer has
    /// chosen. Returns the rules that apply to it, and the decision.
    pub(super) async fn open(
        &self,
        stream: StreamId,
        metadata: Metadata,
        terminated: Vec<StreamId>,
    ) -> Result<(Vec<AppliedRule<'a>>, Opening), ClientError> {
        let applied = self.application.applied(&metadata);
        let mut request = OpenRequest {
            stream: Some(stream),
            terms: self.application.terms(&applied),
            metadata,
            replace: terminated,
            ..OpenRequest::default()
        };
        let by = if request.replace.is_empty() {
            EndedBy::Policy(stream)
        } else {
            EndedBy::Termination(stream)
        };
        if !request.replace.is_empty() || request.terms.first_field().is_some() {
            request.terms.reason = by.reason();
        }
        let mut opening = self.try_open(&request).await?;
        if let Opening::Refused {
            refusal, activity, ..
        } = &opening
            && let Some(oldest) = displaced(&applied, &refusal.conflicts, activity)
            && request.replace.len() + oldest.len() <= MAX_REPLACED
        {
            request.replace.extend(oldest);
            opening = self.try_open(&request).await?;
        }
        Ok((applied, opening))
    }

    /// Revives an expired stream, since it plays. No rule is applied.
    pub(super) async fn resume(
        &self,
        stream: StreamId,
        metadata: Metadata,
    ) -> Result<(), ClientError> {
        let request = OpenRequest {
            stream: Some(stream),
            metadata,
            ..OpenRequest::default()
        };
        self.try_open(&request).await.map(drop)
    }

    async fn try_open(&self, request: &OpenRequest) -> Result<Opening, ClientError> {
        let players = &self.call.edge.players;
        let opened = players.open(&self.tenant, &self.account, request);
        let (_, opening) = opened.await?;
        if let Opening::Opened {
            heartbeat_every, ..
        } = &opening
        {
            self.call.shared.learn(*heartbeat_every);
        }
        Ok(opening)
    }

    /// Sends the heartbeat of a session, unless it has expired.
    ///
    /// A player over AMQP creates its id, and its heartbeat begins an unknown stream. An edge
    /// creates the ids of sessions, so an unknown one has expired.
    pub(super) async fn heartbeat(
        &self,
        stream: StreamId,
        metadata: Option<Metadata>,
    ) -> Result<HeartbeatReply, ClientError> {
        let heartbeat = Heartbeat {
            stream,
            every_ms: Some(self.call.shared.interval_ms()),
            metadata: metadata.map(Into::into),
        };
        let players = &self.call.edge.players;
        let (tenant, account) = (&self.tenant, &self.account);
        let sent = players.heartbeat(tenant, account, heartbeat, UnknownStream::HasExpired);
        let outcome = sent.await?;
        if let HeartbeatReply::Stored { changed: Some(new) } = &outcome {
            self.call.shared.learn(new.every);
        }
        Ok(outcome)
    }

    /// Stops a session.
    pub(super) async fn stop(&self, stream: StreamId) -> Result<(), ClientError> {
        let players = &self.call.edge.players;
        let stopped = players.stop(&self.tenant, &self.account, stream);
        stopped.await
    }

    /// The account's activity, with every message that was confirmed before.
    pub(super) async fn status(
        &self,
        stream: Option<StreamId>,
    ) -> Result<AccountStatus, ClientError> {
        let query = StatusQuery {
            stream,
            consistency: Consistency::Strong,
            ..StatusQuery::default()
        };
        let players = &self.call.edge.players;
        let status = players.activity(&self.tenant, &self.account, &query);
        status.await
    }
}

/// Whether a refusal is the decision of the rules, and not a lack of room.
pub(super) const fn is_by_rules(refusal: &Refused) -> bool {
    matches!(
        refusal.reason,
        RefusedReason::Limits | RefusedReason::MaxActive | RefusedReason::AccountCap
    )
}

/// Whether an edge may have created this id.
pub(super) fn is_of_an_edge(stream: StreamId) -> bool {
    stream.0.get_version_num() == 7
}

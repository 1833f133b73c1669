//! Sessions: the operations of both versions of the API.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};

use super::{
    displaced::displaced,
    ended::EndedBy,
    evaluation::View,
    policy::{Application, AppliedRule, Policies},
    response::AdobeError,
    state::AdobeState,
};
use crate::{
    client::{
        AccountId, AccountKey, AccountStatus, Activity, Consistency, Heartbeat, MAX_REPLACED,
        Metadata, OpenRequest, Opening, Refused, RefusedReason, StatusQuery, StreamId, Tenant,
    },
    edge::{Caller, Edge, HeartbeatReply, PlayersError, UnknownStream, players::StreamKey},
};

/// The operations of sessions. Clones are cheap and share the state of the edge and of these routes.
#[derive(Clone)]
pub struct Sessions {
    pub(super) edge: Edge,
    pub(super) shared: Arc<AdobeState>,
    /// The policies at the start of the request.
    policies: Arc<Policies>,
}

/// The subject of a request, as an account.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The application that sends the request.
    pub application: &'a Application,
    /// The tenant.
    pub tenant: Tenant,
    /// The account.
    pub account: AccountId,
}

/// A session to open.
#[derive(Debug)]
pub struct NewSession {
    /// Its id.
    pub stream: StreamId,
    /// Its metadata.
    pub metadata: Metadata,
    /// The sessions that its viewer has chosen to end.
    pub terminated: Vec<StreamId>,
}

/// The decision on a session.
#[derive(Debug)]
pub enum Admission<'a> {
    /// It is active.
    Opened(Activity),
    /// It is not active.
    Refused {
        /// The rules that apply to it.
        applied: Vec<AppliedRule<'a>>,
        /// The reason.
        refusal: Refused,
        /// The active sessions of the account.
        activity: Activity,
    },
}

impl FromRequestParts<Edge> for Sessions {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, StatusCode> {
        let shared = parts.extensions.get::<Arc<AdobeState>>();
        let shared = shared.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok(Self {
            edge: edge.clone(),
            shared: Arc::clone(shared),
            policies: shared.policies(),
        })
    }
}

impl Sessions {
    /// The application of a caller.
    pub(super) fn application(&self, caller: &Caller) -> Result<&Application, AdobeError> {
        let id = caller.application.as_deref();
        id.and_then(|id| self.policies.application(id))
            .ok_or(AdobeError::Forbidden(
                "the policy file has no entry for the application",
            ))
    }

    /// The account of a caller's request.
    pub(super) fn subject(
        &self,
        caller: &Caller,
        idp: &str,
        subject: &str,
    ) -> Result<Subject<'_>, AdobeError> {
        let application = self.application(caller)?;
        let (tenant, account) = application.account(&caller.tenant, idp, subject)?;
        if !caller.reaches(&account) {
            return Err(AdobeError::Forbidden(
                "the credentials belong to another account",
            ));
        }
        let limited = self.edge.limits.account(&tenant, &account);
        limited.map_err(AdobeError::Throttled)?;
        Ok(Subject {
            application,
            tenant,
            account,
        })
    }

    pub(super) fn view<'a>(&'a self, subject: &Subject<'a>) -> View<'a> {
        View {
            policies: &self.policies,
            application: subject.application,
        }
    }

    /// Counts a request that opens a session of an account.
    pub(super) fn admit_account(&self, subject: &Subject) -> Result<(), AdobeError> {
        let key = AccountKey::new(&subject.tenant, &subject.account);
        let most = self.policies.requests_per_minute;
        let admitted = self.shared.admit_account(key, most);
        admitted.map_err(AdobeError::Throttled)
    }

    /// Counts a request of a session.
    pub(super) fn admit_session(
        &self,
        subject: &Subject,
        stream: StreamId,
    ) -> Result<(), AdobeError> {
        let key = StreamKey::new(&subject.tenant, &subject.account, stream);
        let most = self.policies.requests_per_minute;
        let admitted = self.shared.admit_session(key, most);
        admitted.map_err(AdobeError::Throttled)
    }

    /// The interval of heartbeats.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_millis(self.shared.interval_ms().into())
    }

    /// Opens a session under the rules of its application.
    pub(super) async fn open<'a>(
        &self,
        subject: &Subject<'a>,
        session: NewSession,
    ) -> Result<Admission<'a>, PlayersError> {
        let NewSession {
            stream,
            metadata,
            terminated,
        } = session;
        let applied = subject.application.applied(&metadata);
        let mut request = OpenRequest {
            stream: Some(stream),
            terms: subject.application.terms(&applied),
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
        let mut opening = self.try_open(subject, &request).await?;
        if let Opening::Refused {
            refusal, activity, ..
        } = &opening
            && let Some(oldest) = displaced(&applied, &refusal.conflicts, activity)
            && request.replace.len() + oldest.len() <= MAX_REPLACED
        {
            request.replace.extend(oldest);
            opening = self.try_open(subject, &request).await?;
        }
        Ok(match opening {
            Opening::Opened { activity, .. } => Admission::Opened(activity),
            Opening::Refused {
                refusal, activity, ..
            } => Admission::Refused {
                applied,
                refusal,
                activity,
            },
        })
    }

    /// Revives an expired stream, since it plays. No rule is applied.
    pub(super) async fn resume(
        &self,
        subject: &Subject<'_>,
        session: NewSession,
    ) -> Result<(), PlayersError> {
        let request = OpenRequest {
            stream: Some(session.stream),
            metadata: session.metadata,
            ..OpenRequest::default()
        };
        self.try_open(subject, &request).await.map(drop)
    }

    async fn try_open(
        &self,
        subject: &Subject<'_>,
        request: &OpenRequest,
    ) -> Result<Opening, PlayersError> {
        let players = &self.edge.players;
        let opened = players.open(&subject.tenant, &subject.account, request);
        let (_, opening) = opened.await?;
        if let Opening::Opened {
            heartbeat_every, ..
        } = &opening
        {
            self.shared.learn(*heartbeat_every);
        }
        Ok(opening)
    }

    /// Sends the heartbeat of a session, unless it has expired.
    ///
    /// A player over AMQP creates its id, and its heartbeat begins an unknown stream. An edge
    /// creates the ids of sessions, so an unknown one has expired.
    pub(super) async fn heartbeat(
        &self,
        subject: &Subject<'_>,
        stream: StreamId,
        metadata: Option<Metadata>,
    ) -> Result<HeartbeatReply, PlayersError> {
        let heartbeat = Heartbeat {
            stream,
            every_ms: Some(self.shared.interval_ms()),
            metadata: metadata.map(Into::into),
        };
        let players = &self.edge.players;
        let (tenant, account) = (&subject.tenant, &subject.account);
        let sent = players.heartbeat(tenant, account, heartbeat, UnknownStream::HasExpired);
        let outcome = sent.await?;
        if let HeartbeatReply::Stored { changed: Some(new) } = &outcome {
            self.shared.learn(new.every);
        }
        Ok(outcome)
    }

    /// Stops a session.
    pub(super) async fn stop(
        &self,
        subject: &Subject<'_>,
        stream: StreamId,
    ) -> Result<(), PlayersError> {
        let players = &self.edge.players;
        players
            .stop(&subject.tenant, &subject.account, stream, None)
            .await
    }

    /// The account's activity, with every message that was confirmed before.
    pub(super) async fn status(
        &self,
        subject: &Subject<'_>,
        stream: Option<StreamId>,
    ) -> Result<AccountStatus, PlayersError> {
        let query = StatusQuery {
            stream,
            consistency: Consistency::Strong,
            ..StatusQuery::default()
        };
        self.edge
            .players
            .activity(&subject.tenant, &subject.account, &query)
            .await
    }
}

/// Whether a refusal is the decision of the rules, and not a lack of room.
pub(super) const fn is_by_rules(refusal: &Refused) -> bool {
    matches!(
        refusal.reason,
        RefusedReason::Limits | RefusedReason::MaxActive | RefusedReason::AccountCap
    )
}

/// The id in a path. The edge creates UUIDs.
pub(super) fn session_id(text: &str) -> Result<StreamId, AdobeError> {
    text.parse().map_err(|_| AdobeError::NoSession)
}

/// Whether an edge may have created this id.
pub(super) fn is_of_an_edge(stream: StreamId) -> bool {
    stream.0.get_version_num() == 7
}

//! Sessions: the operations of both versions of the API.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    answer::Failure,
    displaced::displaced,
    ended::EndedBy,
    evaluation::View,
    policy::{Application, AppliedRule, Policies},
    throttle::Windows,
};
use crate::{
    client::{
        AccountId, AccountKey, AccountStatus, Activity, Consistency, Heartbeat, Metadata,
        OpenRequest, Opening, Refused, RefusedReason, StatusQuery, StreamId, Tenant,
    },
    edge::{Caller, Edge, HeartbeatOutcome, PlayersError},
};

/// The interval that a player has until the edge has learned that of the installation.
const FIRST_INTERVAL_MS: u32 = 5_000;

/// The state of the routes. Clones are cheap and share it.
#[derive(Clone)]
pub struct Sessions {
    pub(super) edge: Edge,
    pub(super) policies: Arc<Policies>,
    /// The installation's interval of heartbeats, as last learned.
    interval_ms: Arc<AtomicU32>,
    of_accounts: Windows<AccountKey>,
    of_sessions: Windows<StreamId>,
    start: Instant,
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

impl Sessions {
    /// Creates the state.
    #[must_use]
    pub fn new(edge: Edge, policies: Policies) -> Self {
        let most = policies.requests_per_minute;
        Self {
            edge,
            policies: Arc::new(policies),
            interval_ms: Arc::new(AtomicU32::new(FIRST_INTERVAL_MS)),
            of_accounts: Windows::new(most),
            of_sessions: Windows::new(most),
            start: Instant::now(),
        }
    }

    /// The application of a caller.
    pub(super) fn application(&self, caller: &Caller) -> Result<&Application, Failure> {
        let id = caller.application.as_deref();
        id.and_then(|id| self.policies.application(id))
            .ok_or(Failure::Forbidden(
                "the application has no entry in the file of policies",
            ))
    }

    /// The account of a caller's request.
    pub(super) fn subject(
        &self,
        caller: &Caller,
        idp: &str,
        subject: &str,
    ) -> Result<Subject<'_>, Failure> {
        let application = self.application(caller)?;
        let (tenant, account) = application.account(&caller.tenant, idp, subject)?;
        if !caller.reaches(&account) {
            return Err(Failure::Forbidden(
                "the credentials are those of another account",
            ));
        }
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
    pub(super) fn admit_account(&self, subject: &Subject) -> Result<(), Failure> {
        let key = AccountKey::new(&subject.tenant, &subject.account);
        let admitted = self.of_accounts.admit(key, self.start.elapsed());
        admitted.map_err(Failure::Throttled)
    }

    /// Counts a request of a session.
    pub(super) fn admit_session(&self, stream: StreamId) -> Result<(), Failure> {
        let admitted = self.of_sessions.admit(stream, self.start.elapsed());
        admitted.map_err(Failure::Throttled)
    }

    /// The interval of heartbeats.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms.load(Ordering::Relaxed).into())
    }

    fn learn_interval(&self, every: Duration) {
        if let Ok(ms) = u32::try_from(every.as_millis()) {
            self.interval_ms.store(ms.max(1), Ordering::Relaxed);
        }
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
        request.terms.reason = by.reason();
        let mut opening = self.try_open(subject, &request).await?;
        if let Opening::Refused {
            refusal, activity, ..
        } = &opening
            && let Some(oldest) = displaced(&applied, &refusal.conflicts, activity)
        {
            request.replace.extend(oldest);
            request.terms.reason = EndedBy::Policy(stream).reason();
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

    /// Counts a stream again that has expired, since it plays. No rule decides on it.
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
        let (_, opening) = players
            .open(&subject.tenant, &subject.account, request)
            .await?;
        if let Opening::Opened {
            heartbeat_every, ..
        } = &opening
        {
            self.learn_interval(*heartbeat_every);
        }
        Ok(opening)
    }

    /// Sends a heartbeat.
    pub(super) async fn heartbeat(
        &self,
        subject: &Subject<'_>,
        stream: StreamId,
        metadata: Option<Metadata>,
    ) -> Result<HeartbeatOutcome, PlayersError> {
        let heartbeat = Heartbeat {
            stream,
            every_ms: Some(self.interval_ms.load(Ordering::Relaxed)),
            metadata: metadata.map(Into::into),
        };
        let players = &self.edge.players;
        let outcome = players
            .heartbeat(&subject.tenant, &subject.account, heartbeat)
            .await?;
        if let HeartbeatOutcome::Stored { changed: Some(new) } = &outcome {
            self.learn_interval(new.every);
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
pub(super) fn session_id(text: &str) -> Result<StreamId, Failure> {
    text.parse().map_err(|_| Failure::NoSession)
}

/// Whether an edge may have created this id.
pub(super) fn is_of_an_edge(stream: StreamId) -> bool {
    stream.0.get_version_num() == 7
}

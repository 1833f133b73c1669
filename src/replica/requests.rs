//! Pending requests: proposed, answered from the state, held while the replica is not fresh, or
//! requeued.

use super::{
    Applied, Effect, Mono, Now, Replica,
    in_flight::{HeldContent, Pending},
};
use crate::domain::{
    Account, Answer, Consistency, InitRequest, Internal, LogTime, Moment, Open, OpenOutcome,
    StatusRequest, StreamState,
};

/// Time after which a request is requeued if its proposal has not been read back, in milliseconds.
const PROPOSAL_MS: u64 = 5_000;
/// Maximum time from a `status` to its answer, in milliseconds.
pub(super) const STATUS_MS: u64 = 10_000;

impl<T> Replica<T> {
    /// Proposes an `init` in the log. It is answered when the proposal is read back.
    pub fn init(&mut self, request: T, init: InitRequest, now: Now) {
        if !self.is_live(now.mono) {
            return self.hold(request, HeldContent::Init, now);
        }
        let Some(settings) = &self.settings else {
            return self.effects.push(Effect::Release(request));
        };
        // Replicas of an earlier version would not see the field.
        if let Some(field) = init.field_beyond(settings.rules()) {
            return self.effects.push(Effect::OldRules { request, field });
        }
        let valid_ms = settings.request_ms();
        let open = Open {
            key: init.key,
            stream: init.stream,
            request: init.request,
            not_after: self.read_estimate(now.mono).plus(valid_ms),
            max_active: init.max_active,
            replace: init.replace,
            metadata: init.metadata,
            terms: init.terms,
        };
        let seq = self.append(now, Internal::Open(Box::new(open)));
        let pending = Pending {
            request,
            at: now.mono,
            content: init.group_by,
        };
        self.requests.opens.insert(seq, pending);
    }

    /// Answers a `status`; a strong one when a marker is read back.
    pub fn status(&mut self, request: T, status: StatusRequest, now: Now) {
        if !self.is_live(now.mono) {
            return self.hold(request, HeldContent::Status(status), now);
        }
        match status.query.consistency {
            Consistency::Local => {
                let at = self.read_estimate(now.mono);
                self.answer_status(request, status, at);
            }
            Consistency::Strong => {
                self.requests.next_strong.push(Pending {
                    request,
                    at: now.mono,
                    content: status,
                });
                self.append_marker(now);
            }
        }
    }

    pub(super) fn hold(&mut self, request: T, content: HeldContent, now: Now) {
        self.requests.held.push(Pending {
            request,
            at: now.mono,
            content,
        });
    }

    fn append_marker(&mut self, now: Now) {
        if self.requests.marker.is_none() && !self.requests.next_strong.is_empty() {
            self.requests.strong = std::mem::take(&mut self.requests.next_strong);
            self.requests.marker = Some(self.append(now, Internal::Tick(None)));
        }
    }

    /// Answers the strong requests that waited for the marker `seq`, at log time.
    pub(super) fn answer_strong(&mut self, seq: u64, now: Now) {
        if self.requests.marker.is_none_or(|marker| seq < marker) {
            return;
        }
        self.requests.marker = None;
        let at = self.clock.now().unwrap_or_default();
        for waiting in std::mem::take(&mut self.requests.strong) {
            if now.mono.ms_since(waiting.at) < STATUS_MS {
                self.answer_status(waiting.request, waiting.content, at);
            } else {
                self.effects.push(Effect::Late(waiting.request));
            }
        }
        self.append_marker(now);
    }

    fn answer_status(&mut self, request: T, status: StatusRequest, at: LogTime) {
        let activity = self.activity(&status.key, at);
        let stream = status.query.stream.map(|id| {
            let account = self.accounts.get(&status.key);
            let state = account.map(|account| account.state_of(id, at));
            (id, state.unwrap_or(StreamState::Unknown))
        });
        self.effects.push(Effect::Answer {
            request,
            answer: Answer::Status { activity, stream },
            group_by: status.query.group_by,
        });
    }

    /// Answers the `init` of an applied proposal, with the state at that entry.
    pub(super) fn answer_open(&mut self, seq: u64, open: &Open, applied: &Applied, now: Now) {
        let Some(pending) = self.requests.opens.remove(&seq) else {
            return; // requeued, or of an earlier connection
        };
        let (Some(settings), Some(at)) = (&self.settings, self.clock.now()) else {
            return;
        };
        let moment = Moment {
            now: at,
            shift: self.clock.shift(),
            settings,
            full: false,
        };
        let activity = || self.activity(&open.key, at);
        let answer = match applied {
            // The sender has timed out. The broker drops the request if its TTL is over; otherwise
            // it is proposed again.
            _ if now.mono.ms_since(pending.at) > settings.request_ms() => {
                return self.effects.push(pending.release());
            }
            Applied::Open(OpenOutcome::Opened { replaced }) => Answer::Opened {
                stream: open.stream,
                heartbeat_every_ms: settings.heartbeat_every_ms,
                ttl_ms: settings.ttl_ms,
                replaced: replaced.clone(),
                activity: activity(),
            },
            Applied::Open(OpenOutcome::Refused {
                reason,
                is_remembered,
            }) => {
                // A full partition stores no account for a refusal.
                let none = Account::default();
                let account = self.accounts.get(&open.key).unwrap_or(&none);
                Answer::Refused {
                    stream: open.stream,
                    refusal: account.describe_refusal(&moment, open, *reason, *is_remembered),
                    activity: activity(),
                }
            }
            Applied::OldRules(field) => {
                let (request, field) = (pending.request, *field);
                return self.effects.push(Effect::OldRules { request, field });
            }
            _ => return self.effects.push(Effect::Late(pending.request)),
        };
        self.effects.push(Effect::Answer {
            request: pending.request,
            answer,
            group_by: pending.content,
        });
    }

    /// Answers the requests of an entry that the broker has not accepted.
    pub(super) fn append_failed(&mut self, seq: u64, now: Now) {
        if let Some(pending) = self.requests.opens.remove(&seq) {
            self.effects.push(Effect::Unavailable(pending.request));
        }
        if self.requests.marker == Some(seq) {
            self.requests.marker = None;
            let strong = self.requests.strong.drain(..);
            let failed = strong.map(|waiting| Effect::Unavailable(waiting.request));
            self.effects.extend(failed);
            // Later requests wait for a marker of their own, which is appended here.
            self.append_marker(now);
        }
    }

    /// Consumes requests again, and processes the held ones, as the replica is fresh.
    pub(super) fn resume(&mut self, now: Now) {
        if !self.requests.taking {
            self.requests.taking = true;
            self.effects.push(Effect::Resume);
        }
        for held in std::mem::take(&mut self.requests.held) {
            match held.content {
                // An `init` may have waited in a buffer while this worker was stalled. The broker
                // has its age: after requeueing, it is delivered again only if it is still valid.
                HeldContent::Init => self.effects.push(held.release()),
                _ if now.mono.ms_since(held.at) >= STATUS_MS => {
                    self.effects.push(Effect::Late(held.request));
                }
                HeldContent::Status(status) => self.status(held.request, status, now),
                HeldContent::Tenant(tenant) => self.about_tenant(held.request, tenant, now),
            }
        }
    }

    /// Requeues requests that this replica cannot answer in time.
    pub(super) fn maintain_requests(&mut self, now: Now) {
        let late = |at: Mono| now.mono.ms_since(at) >= PROPOSAL_MS;
        let requests = &mut self.requests;
        let opens = requests.opens.extract_if(|_, pending| late(pending.at));
        self.effects.extend(opens.map(|(_, open)| open.release()));

        let lag_ms = self.lag_ms(now.mono).unwrap_or(u64::MAX);
        if self.requests.taking && lag_ms >= 6 * self.interval_ms() {
            self.requests.taking = false;
            self.effects.push(Effect::Pause);
        }
        if !self.requests.taking {
            let requests = std::mem::take(&mut self.requests);
            self.requests.opens = requests.opens;
            self.accounts.scan = None;
            let held = requests.held.into_iter().map(Pending::release);
            let strong = requests.strong.into_iter().chain(requests.next_strong);
            let pages = requests.pages.into_iter().chain(requests.next_pages);
            let held = held.chain(strong.map(Pending::release));
            self.effects.extend(held.chain(pages.map(Pending::release)));
        }
    }

    /// Number of unanswered requests.
    #[must_use]
    pub fn pending(&self) -> usize {
        let requests = &self.requests;
        requests.opens.len()
            + requests.held.len()
            + requests.strong.len()
            + requests.next_strong.len()
            + requests.pages.len()
            + requests.next_pages.len()
    }
}

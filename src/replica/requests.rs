//! Requests: proposed or looked up, held while the replica is not fresh, answered or requeued.

use std::collections::{HashMap, VecDeque};

use super::{Applied, Effect, Mono, Now, Replica};
use crate::domain::{
    Answer, Consistency, InitRequest, Internal, LogTime, Open, OpenOutcome, Settings,
    StatusRequest, StreamState,
};

/// How long an own proposal may take to come back before its request is left to another replica,
/// in milliseconds.
const PROPOSAL_MS: u64 = 5_000;
/// How long a question may wait for its answer, in milliseconds.
const QUESTION_MS: u64 = 10_000;

/// A request that waits for the replica to be fresh again.
#[derive(Debug)]
struct Held<T> {
    request: T,
    at: Mono,
    /// `None` for a request to open.
    question: Option<StatusRequest>,
}

#[derive(Debug)]
struct PendingOpen<T> {
    request: T,
    group_by: Vec<String>,
    at: Mono,
}

#[derive(Debug)]
struct Question<T> {
    request: T,
    question: StatusRequest,
    at: Mono,
}

/// Strong questions. One mark is under way at a time; it answers those that had come before it was
/// written, and the ones since share the next.
#[derive(Debug)]
struct Strong<T> {
    mark: Option<u64>,
    asked: Vec<Question<T>>,
    next: Vec<Question<T>>,
}

impl<T> Default for Strong<T> {
    fn default() -> Self {
        Self {
            mark: None,
            asked: Vec::new(),
            next: Vec::new(),
        }
    }
}

/// The requests that a replica has taken and not answered.
#[derive(Debug)]
pub(super) struct Requests<T> {
    /// Requests are consumed.
    taking: bool,
    /// Own proposals that have not come back, by the number of their entry.
    opens: HashMap<u64, PendingOpen<T>>,
    strong: Strong<T>,
    held: VecDeque<Held<T>>,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self {
            taking: false,
            opens: HashMap::new(),
            strong: Strong::default(),
            held: VecDeque::new(),
        }
    }
}

impl<T> Replica<T> {
    /// A request to open a stream: proposed to the log, answered when the proposal comes back.
    pub fn init(&mut self, request: T, init: InitRequest, now: Now) {
        if !self.is_live(now.mono) {
            return self.hold(request, None, now);
        }
        let Some(valid_ms) = self.settings.as_ref().map(Settings::request_ms) else {
            return self.effects.push(Effect::Release(request));
        };
        let not_after = self.read_estimate(now.mono).plus(valid_ms);
        let open = Open {
            key: init.key,
            stream: init.stream,
            request: init.request,
            not_after,
            max_active: init.max_active,
            replace: init.replace,
            metadata: init.metadata,
        };
        let seq = self.append(now, Internal::Open(Box::new(open)));
        let pending = PendingOpen {
            request,
            group_by: init.group_by,
            at: now.mono,
        };
        self.requests.opens.insert(seq, pending);
    }

    /// A question about an account.
    pub fn status(&mut self, request: T, question: StatusRequest, now: Now) {
        if !self.is_live(now.mono) {
            return self.hold(request, Some(question), now);
        }
        match question.consistency {
            Consistency::Local => {
                let at = self.read_estimate(now.mono);
                self.answer_status(request, question, at);
            }
            Consistency::Strong => {
                self.requests.strong.next.push(Question {
                    request,
                    question,
                    at: now.mono,
                });
                self.ask_strong(now);
            }
        }
    }

    fn hold(&mut self, request: T, question: Option<StatusRequest>, now: Now) {
        self.requests.held.push_back(Held {
            request,
            at: now.mono,
            question,
        });
    }

    fn ask_strong(&mut self, now: Now) {
        if self.requests.strong.mark.is_none() && !self.requests.strong.next.is_empty() {
            self.requests.strong.asked = std::mem::take(&mut self.requests.strong.next);
            self.requests.strong.mark = Some(self.append(now, Internal::Tick(None)));
        }
    }

    /// An own mark came back: answers the questions that waited for it, at the log's own time.
    pub(super) fn answer_strong(&mut self, seq: u64, now: Now) {
        if self.requests.strong.mark.is_none_or(|mark| seq < mark) {
            return;
        }
        self.requests.strong.mark = None;
        let at = self.clock.now().unwrap_or_default();
        for asked in std::mem::take(&mut self.requests.strong.asked) {
            if now.mono.ms_since(asked.at) < QUESTION_MS {
                self.answer_status(asked.request, asked.question, at);
            } else {
                self.effects.push(Effect::Late(asked.request));
            }
        }
        self.ask_strong(now);
    }

    fn answer_status(&mut self, request: T, question: StatusRequest, at: LogTime) {
        let activity = self.activity(&question.key, at);
        let stream = question.stream.map(|id| {
            let state = self.accounts.read(&question.key, |a| a.state_of(id, at));
            (id, state.unwrap_or(StreamState::Unknown))
        });
        self.effects.push(Effect::Answer {
            request,
            answer: Answer::Status { activity, stream },
            group_by: question.group_by,
        });
    }

    /// An own proposal was applied: answers with the state at that entry.
    pub(super) fn answer_open(&mut self, seq: u64, open: &Open, applied: &Applied, now: Now) {
        let Some(pending) = self.requests.opens.remove(&seq) else {
            return; // released, or of a connection before
        };
        let (Some(settings), Some(at)) = (&self.settings, self.clock.now()) else {
            return;
        };
        let answer = match applied {
            // The sender has timed out; a repetition of the request is decided again.
            _ if now.mono.ms_since(pending.at) > settings.request_ms() => {
                return self.effects.push(Effect::Release(pending.request));
            }
            Applied::Open(OpenOutcome::Opened) => Answer::Opened {
                stream: open.stream,
                heartbeat_every_ms: settings.heartbeat_every_ms,
                ttl_ms: settings.ttl_ms,
                activity: self.activity(&open.key, at),
            },
            Applied::Open(OpenOutcome::Refused(reason)) => Answer::Refused {
                stream: open.stream,
                reason: *reason,
                max_active: open.max_active,
                activity: self.activity(&open.key, at),
            },
            _ => return self.effects.push(Effect::Late(pending.request)),
        };
        self.effects.push(Effect::Answer {
            request: pending.request,
            answer,
            group_by: pending.group_by,
        });
    }

    /// The broker did not take an own entry.
    pub(super) fn append_failed(&mut self, seq: u64, now: Now) {
        if let Some(pending) = self.requests.opens.remove(&seq) {
            self.effects.push(Effect::Unavailable(pending.request));
        }
        if self.requests.strong.mark == Some(seq) {
            self.requests.strong.mark = None;
            let asked = std::mem::take(&mut self.requests.strong.asked);
            let failed = asked.into_iter().map(|a| Effect::Unavailable(a.request));
            self.effects.extend(failed);
            // Later requests wait for a marker of their own, which is appended here.
            self.ask_strong(now);
        }
    }

    /// The replica is fresh: takes requests, and looks at those that waited.
    pub(super) fn resume(&mut self, now: Now) {
        if !self.requests.taking {
            self.requests.taking = true;
            self.effects.push(Effect::Resume);
        }
        for held in std::mem::take(&mut self.requests.held) {
            match held.question {
                // An `init` may have waited in a buffer while this worker was stalled. The broker
                // has its age: after requeueing, it is delivered again only if it is still valid.
                None => self.effects.push(Effect::Release(held.request)),
                Some(_) if now.mono.ms_since(held.at) >= QUESTION_MS => {
                    self.effects.push(Effect::Late(held.request));
                }
                Some(question) => self.status(held.request, question, now),
            }
        }
    }

    /// Releases requests that this replica cannot answer in time.
    pub(super) fn maintain_requests(&mut self, now: Now) {
        let late = |at: Mono| now.mono.ms_since(at) >= PROPOSAL_MS;
        let opens = self
            .requests
            .opens
            .extract_if(|_, pending| late(pending.at));
        let opens = opens.map(|(_, pending)| Effect::Release(pending.request));
        self.effects.extend(opens);

        let lag_ms = self.lag_ms(now.mono).unwrap_or(u64::MAX);
        if self.requests.taking && lag_ms >= 6 * self.interval_ms() {
            self.requests.taking = false;
            self.effects.push(Effect::Pause);
        }
        if !self.requests.taking {
            let held = self
                .requests
                .held
                .drain(..)
                .map(|h| Effect::Release(h.request));
            self.effects.extend(held);
            let strong = &mut self.requests.strong;
            let questions = strong.asked.drain(..).chain(strong.next.drain(..));
            let questions = questions.map(|q| Effect::Release(q.request));
            self.effects.extend(questions);
            strong.mark = None;
        }
    }

    /// How many requests wait for something.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.requests.opens.len()
            + self.requests.held.len()
            + self.requests.strong.asked.len()
            + self.requests.strong.next.len()
    }
}

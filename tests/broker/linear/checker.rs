//! A linearizability checker: it searches for an order of a history's operations, each at a moment
//! between its invocation and its answer, in which the model returns every recorded answer.
//!
//! The search is that of Wing and Gong, with Lowe's cache of visited configurations: the set of
//! operations taken, and the resulting state. An operation without an answer may be taken at any
//! time after its invocation, or left out.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use super::model::{Answer, Call, MOST_OPERATIONS, Operation, State};
use streamwatch::client::RefusedReason;

/// The explanation of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explained {
    /// By one moment for each operation.
    Atomic,
    /// Only if an `init` whose worker died was decided twice.
    Repeated,
}

/// No order explains these operations.
#[derive(Debug)]
pub struct Violation {
    operations: Vec<Operation>,
    /// The longest partial order found.
    order: Vec<Call>,
    state: State,
}

/// Searches for an order.
pub fn check(history: &[Operation]) -> Result<Explained, Box<Violation>> {
    let atomic: Vec<Operation> = history.iter().map(without_repetition).collect();
    if Search::new(&atomic).finds() {
        return Ok(Explained::Atomic);
    }
    if Search::new(history).finds() {
        return Ok(Explained::Repeated);
    }
    let operations = fewest(history);
    let mut search = Search::new(&operations);
    assert!(!search.finds(), "the shorter history can be explained");
    let (order, state) = (search.longest.0, search.longest.1);
    Err(Box::new(Violation {
        order: order.iter().map(|&n| operations[n].call).collect(),
        state,
        operations,
    }))
}

fn without_repetition(operation: &Operation) -> Operation {
    Operation {
        repeated: false,
        ..*operation
    }
}

/// A shorter history with the same violation: up to the first unexplained answer, and without reads
/// that do not affect the violation.
fn fewest(history: &[Operation]) -> Vec<Operation> {
    let mut ends: Vec<Duration> = history.iter().filter_map(|o| Some(o.answered?.0)).collect();
    ends.sort_unstable();
    let fits = |end: &Duration| Search::new(&until(history, *end)).finds();
    let first = ends.partition_point(fits);
    let mut left = until(history, ends[first]);
    for n in (0..left.len()).rev() {
        if left[n].is_a_read() {
            let read = left.remove(n);
            if Search::new(&left).finds() {
                left.insert(n, read);
            }
        }
    }
    left
}

/// The history up to `end`.
fn until(history: &[Operation], end: Duration) -> Vec<Operation> {
    let begun = history.iter().filter(|o| o.invoked <= end);
    let as_it_was = begun.map(|o| Operation {
        answered: o.answered.filter(|(at, _)| *at <= end),
        ..*o
    });
    as_it_was.collect()
}

/// A set of operations, by their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Taken(u128);

impl Taken {
    const fn has(self, n: usize) -> bool {
        self.0 & 1 << n != 0
    }

    const fn with(self, n: usize) -> Self {
        Self(self.0 | 1 << n)
    }

    const fn without(self, n: usize) -> Self {
        Self(self.0 & !(1 << n))
    }
}

/// A configuration of the search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Place {
    taken: Taken,
    /// Operations decided by a worker that died, still to be decided again and answered.
    decided: Taken,
    /// Operations of these that were refused for the account's limit. A repetition is refused for
    /// the same reason.
    refused: Taken,
    state: State,
}

struct Search<'h> {
    history: &'h [Operation],
    /// Whether any operation ends streams. Otherwise, a refusal for a limit is final.
    streams_end: bool,
    seen: HashSet<Place>,
    path: Vec<usize>,
    longest: (Vec<usize>, State),
}

impl<'h> Search<'h> {
    fn new(history: &'h [Operation]) -> Self {
        assert!(history.len() <= MOST_OPERATIONS, "too long a history");
        Self {
            history,
            streams_end: history
                .iter()
                .any(|operation| operation.call.may_end_streams()),
            seen: HashSet::new(),
            path: Vec::new(),
            longest: (Vec::new(), State::default()),
        }
    }

    fn finds(&mut self) -> bool {
        let state = State::before(self.history);
        self.goes_on(Place {
            state,
            ..Place::default()
        })
    }

    fn goes_on(&mut self, place: Place) -> bool {
        if self.path.len() > self.longest.0.len() {
            self.longest = (self.path.clone(), place.state);
        }
        let history = self.history;
        let left = || {
            let all = history.iter().enumerate();
            all.filter(|(n, _)| !place.taken.has(*n))
        };
        // Later invocations follow the operation that was answered at this time.
        let Some(end) = left().filter_map(|(_, o)| Some(o.answered?.0)).min() else {
            return true;
        };
        if !self.seen.insert(place) {
            return false;
        }
        let may_be_next = || left().filter(move |(_, o)| o.invoked <= end);
        // If it fits at a later place, it fits here, too.
        let without_effect = may_be_next().find_map(|(n, operation)| {
            let (answered, answer) = place.answers(n, operation);
            let fits = operation
                .answered
                .is_some_and(|(_, output)| output == answer);
            (fits && operation.never_had_an_effect()).then_some((n, answered))
        });
        if let Some((n, answered)) = without_effect {
            return self.takes(n, answered);
        }
        for (n, operation) in may_be_next() {
            let (answered, answer) = place.answers(n, operation);
            let fits = match operation.answered {
                Some((_, output)) => output == answer,
                // An unanswered operation without effect is ignored.
                None => answered.state != place.state,
            };
            if fits && self.takes(n, answered) {
                return true;
            }
            if operation.repeated
                && !place.decided.has(n)
                && let Some(decided) = self.decides(place, n, operation)
                && self.takes(n, decided)
            {
                return true;
            }
        }
        false
    }

    /// Applies an operation whose worker dies before it replies, unless this would explain nothing or
    /// contradict the answer to its repetition.
    fn decides(&self, mut place: Place, n: usize, operation: &Operation) -> Option<Place> {
        // A repetition ends only streams that the request names.
        if let Some((_, Answer::Opened { replaced, .. })) = operation.answered
            && !operation.call.names(replaced)
        {
            return None;
        }
        let by_limit = |answer| matches!(answer, Answer::Refused(reason, _) if reason != RefusedReason::Stopped);
        let (state, answer) = place.state.after(operation.call);
        let refused = by_limit(answer);
        let refused_again = operation
            .answered
            .is_some_and(|(_, answer)| by_limit(answer));
        if refused != refused_again
            || (refused && !self.streams_end)
            || (!refused && state == place.state)
        {
            return None;
        }
        if refused {
            place.refused = place.refused.with(n);
        }
        place.decided = place.decided.with(n);
        place.state = state;
        Some(place)
    }

    fn takes(&mut self, n: usize, place: Place) -> bool {
        self.path.push(n);
        let found = self.goes_on(place);
        self.path.pop();
        found
    }
}

impl Place {
    /// Applies an operation with its answer.
    fn answers(mut self, n: usize, operation: &Operation) -> (Self, Answer) {
        let (state, mut answer) = self.state.after(operation.call);
        if let (true, Call::Init { limits, .. }) = (self.refused.has(n), operation.call) {
            answer = Answer::Refused(limits.reason(), self.state.active);
        } else {
            self.state = state;
        }
        self.taken = self.taken.with(n);
        self.decided = self.decided.without(n);
        self.refused = self.refused.without(n);
        (self, answer)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order explains these operations:")?;
        for operation in &self.operations {
            writeln!(f, "  {operation}")?;
        }
        let order: Vec<String> = self.order.iter().map(ToString::to_string).collect();
        writeln!(f, "the longest attempt: {}", order.join("; "))?;
        write!(f, "then {} are active, and none fits", self.state.active)
    }
}

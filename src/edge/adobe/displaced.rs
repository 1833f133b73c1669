//! The sessions that give way under rules of both kinds.

use std::collections::BTreeSet;

use super::policy::AppliedRule;
use crate::client::{Activity, Conflict, MAX_REPLACED, StreamId};

/// The oldest sessions whose end makes room, if all violated rules let the oldest give way. `None`
/// if a rule blocks the new session, or more sessions would have to end than an `init` can replace.
///
/// An `init` has one reaction to all limits. Under rules of both kinds, a first `init` is refused
/// and lists the conflicts; a second one names these sessions. It is refused as well if another
/// session opens in between, and then it ends none.
pub(super) fn displaced(
    applied: &[AppliedRule],
    conflicts: &[Conflict],
    activity: &Activity,
) -> Option<Vec<StreamId>> {
    let mut ended: Vec<StreamId> = Vec::new();
    for conflict in conflicts {
        let rule = applied.get(conflict.limit)?;
        if !rule.replaces() {
            return None;
        }
        // Groups in the order of their oldest stream; the new session is a group of its own.
        let mut groups: Vec<(Option<&str>, Vec<StreamId>)> = Vec::new();
        for id in conflict.streams.iter().filter(|id| !ended.contains(id)) {
            let value = value_of(rule, activity, *id);
            match groups
                .iter_mut()
                .find(|(other, _)| value.is_some() && *other == value)
            {
                Some((_, group)) => group.push(*id),
                None => groups.push((value, vec![*id])),
            }
        }
        let surplus = (groups.len() + 1).saturating_sub(rule.max());
        ended.extend(
            groups
                .into_iter()
                .take(surplus)
                .flat_map(|(_, group)| group),
        );
    }
    let distinct: BTreeSet<_> = ended.iter().collect();
    (!ended.is_empty() && distinct.len() <= MAX_REPLACED).then_some(ended)
}

fn value_of<'a>(rule: &AppliedRule, activity: &'a Activity, id: StreamId) -> Option<&'a str> {
    let key = rule.limit.distinct.as_deref()?;
    activity.stream(id)?.metadata.get(key)
}

//! Termination codes, and the session that has ended another.

use crate::client::{
    Activity, GivenReason, MAX_REPLACED, StopCause, StoppedReason, StreamId, WallTime,
};

/// The code that terminates a session: the last eight digits of its id.
pub(super) fn termination_code(stream: StreamId) -> String {
    let id = stream.0.simple().to_string();
    id[id.len() - 8..].to_owned()
}

/// The time in a UUID of version 7.
pub(super) fn created(id: StreamId) -> Option<WallTime> {
    let (seconds, nanos) = id.0.get_timestamp()?.to_unix();
    let ms = seconds
        .checked_mul(1_000)?
        .checked_add(u64::from(nanos / 1_000_000))?;
    Some(WallTime(i64::try_from(ms).ok()?))
}

/// The active sessions with these codes. The id of a session is accepted as its code.
pub(super) fn terminated(codes: &[&str], activity: &Activity) -> Vec<StreamId> {
    let ids = activity.streams.iter().map(|stream| stream.stream);
    let named = ids.filter(|id| {
        let (code, text) = (termination_code(*id), id.to_string());
        let is_it = |one: &&str| one.eq_ignore_ascii_case(&code) || one.eq_ignore_ascii_case(&text);
        codes.iter().any(is_it)
    });
    named.take(MAX_REPLACED).collect()
}

/// The codes in the values of the header `X-Terminate`.
#[must_use]
pub fn termination_codes<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let codes = values.flat_map(|value| value.split([',', ' ', '\t', '"', '[', ']']));
    let mut codes: Vec<_> = codes.filter(|code| !code.is_empty()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// The cause of a session's end. The reason of the `init` contains the successor's id, so that any
/// edge can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EndedBy {
    /// By another session with its termination code.
    Termination(StreamId),
    /// By a policy whose oldest sessions give way to another.
    Policy(StreamId),
    /// By a backend, with its reason.
    Backend(GivenReason),
    /// By the application itself, by its age, or by a backend without a reason.
    Unstated,
}

const TERMINATED: &str = "terminated by session ";
const REPLACED: &str = "replaced by session ";

impl EndedBy {
    /// The reason for the players of the sessions that an `init` ends.
    pub(super) fn reason(&self) -> Option<GivenReason> {
        let text = match self {
            Self::Termination(successor) => format!("{TERMINATED}{successor}"),
            Self::Policy(successor) => format!("{REPLACED}{successor}"),
            Self::Backend(given) => return Some(given.clone()),
            Self::Unstated => return None,
        };
        GivenReason::new(&text).ok()
    }

    /// Reads the cause from a stop.
    pub(super) fn of(cause: &StopCause) -> Self {
        let Some(given) = &cause.given else {
            return Self::Unstated;
        };
        let successor = |prefix| given.as_str().strip_prefix(prefix)?.parse().ok();
        match cause.reason {
            StoppedReason::Replaced => {
                let by_code = successor(TERMINATED).map(Self::Termination);
                let by = by_code.or_else(|| successor(REPLACED).map(Self::Policy));
                by.unwrap_or_else(|| Self::Backend(given.clone()))
            }
            StoppedReason::Stopped => Self::Backend(given.clone()),
            StoppedReason::TooOld => Self::Unstated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{AccountKey, ActiveStream};

    const ID: &str = "0192f0c1-7a52-7b1e-9d7e-0a4ce5b2a111";
    const OTHER: &str = "0192f0c4-9c10-7d55-8a31-6a1c9b3f0e22";

    fn activity() -> Activity {
        let streams = [ID, OTHER].map(|id| ActiveStream {
            stream: id.parse().unwrap(),
            admitted: true,
            started_at: WallTime(0),
            last_seen: WallTime(0),
            expires_in_ms: 90_000,
            metadata: crate::client::Metadata::default(),
        });
        Activity {
            key: AccountKey::of("acme", "idp/alice").unwrap(),
            as_of: WallTime(0),
            streams: streams.into(),
            left_out: 0,
        }
    }

    #[test]
    fn a_code_names_an_active_session_of_the_account() {
        let (id, other): (StreamId, StreamId) = (ID.parse().unwrap(), OTHER.parse().unwrap());
        assert_eq!(termination_code(id), "e5b2a111");
        let named = |codes: &[&str]| terminated(codes, &activity());
        assert_eq!(named(&["E5B2A111"]), [id]);
        assert_eq!(named(&["9b3f0e22", "e5b2a111"]), [id, other]);
        assert_eq!(named(&[OTHER]), [other]);
        assert!(named(&["00000000", "111", ""]).is_empty());
    }

    #[test]
    fn codes_are_separated_by_commas_or_repeated_headers() {
        let values = ["a1, b2", "c3", "[\"d4\"]", " ,a1"];
        assert_eq!(
            termination_codes(values.into_iter()),
            ["a1", "b2", "c3", "d4"]
        );
        assert!(termination_codes(std::iter::empty()).is_empty());
    }

    #[test]
    fn the_reason_of_an_init_names_the_successor_to_the_ended_player() {
        let id: StreamId = ID.parse().unwrap();
        for by in [EndedBy::Termination(id), EndedBy::Policy(id)] {
            let cause = StopCause {
                reason: StoppedReason::Replaced,
                given: by.reason(),
            };
            assert!(cause.given.is_some(), "it fits");
            assert_eq!(EndedBy::of(&cause), by);
        }
        let kicked = GivenReason::new("kicked by support").unwrap();
        for reason in [StoppedReason::Stopped, StoppedReason::Replaced] {
            let cause = StopCause {
                reason,
                given: Some(kicked.clone()),
            };
            assert_eq!(EndedBy::of(&cause), EndedBy::Backend(kicked.clone()));
        }
        assert_eq!(
            EndedBy::of(&StoppedReason::Stopped.into()),
            EndedBy::Unstated
        );
    }

    #[test]
    fn a_stop_with_the_text_of_a_session_is_the_reason_of_a_backend() {
        let text = GivenReason::new(&format!("{TERMINATED}{ID}")).unwrap();
        let cause = StopCause {
            reason: StoppedReason::Stopped,
            given: Some(text.clone()),
        };
        assert_eq!(EndedBy::of(&cause), EndedBy::Backend(text));
    }
}

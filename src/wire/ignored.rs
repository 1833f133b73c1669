//! Problems of fields that are ignored, while the rest of their message counts.

use serde::Deserialize;

use super::{
    Code, Message, Problem, amqp_value::unwrapped, batch, diagnosis::diagnose, fields::ReasonField,
    metadata_field::StrictPatchField, terms::bad_reason,
};
use crate::domain::MAX_PAIRS;

/// The fields of a heartbeat and a stop that may be ignored, with the reasons.
#[derive(Deserialize)]
#[allow(dead_code, reason = "only its errors are read")]
struct Strict {
    metadata: Option<StrictPatchField>,
}

/// The field of a stop that may be ignored.
#[derive(Deserialize)]
struct Given {
    reason: Option<ReasonField>,
}

/// Returns the problem of the field of a heartbeat or a stop that was ignored. `index` is its
/// position in a batch.
#[must_use]
pub fn ignored(message: &Message, index: Option<u16>) -> Problem {
    let problem = match index {
        None => unwrapped(message.body).ok().map(field),
        Some(index) => batch::with_event(message, index, field),
    };
    problem.unwrap_or_else(too_many_pairs)
}

/// Returns the problem of the field of a heartbeat or a stop, by its body.
fn field(body: &[u8]) -> Problem {
    let given = serde_json::from_slice::<Given>(body);
    if let Ok(Given {
        reason: Some(ReasonField(Err(_))),
    }) = given
    {
        return Problem::field(
            Code::BadField,
            "reason",
            but_counts(&bad_reason(), "stop", "reason"),
        );
    }
    let problem = diagnose::<Strict>(body);
    if problem.code == Code::BadField {
        let message = but_counts(&problem.message, "heartbeat", "metadata");
        return Problem::field(Code::BadField, "metadata", message);
    }
    too_many_pairs()
}

fn too_many_pairs() -> Problem {
    let message = format!("must keep the stream's metadata at {MAX_PAIRS} pairs, not add more");
    Problem::field(
        Code::BadField,
        "metadata",
        but_counts(&message, "heartbeat", "metadata"),
    )
}

fn but_counts(problem: &str, event: &str, field: &str) -> String {
    format!("{problem}; the {event} counts, its {field} is ignored")
}

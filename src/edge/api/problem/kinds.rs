//! The kinds of problems: the table of their codes, and the pages about them.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::IntoResponse,
};

use super::{ApiError, Details};
use crate::client::Code;

/// Time for which a client may keep a page.
const CACHED_FOR: &str = "public, max-age=86400";
/// The reaction to a mistake that a player cannot repair.
const MISTAKE: &str = "reports a mistake of its application: a repetition fails too.";
/// The reaction to a problem that passes.
const LATER: &str = "plays on, and repeats the request with the same stream id after Retry-After.";

/// A kind of problem.
#[derive(Debug)]
pub(in crate::edge) struct ProblemKind {
    /// The stable code.
    pub(in crate::edge::api) code: &'static str,
    /// The status of its responses.
    pub(in crate::edge::api) status: StatusCode,
    /// The kind in words.
    pub(in crate::edge::api) title: &'static str,
    meaning: &'static str,
    /// The reaction of a player.
    player: &'static str,
}

macro_rules! kinds {
    ($($name:ident: $code:literal, $status:ident, $title:literal, $meaning:literal, $player:expr;)*) => {
        $(pub(in crate::edge) static $name: ProblemKind = ProblemKind {
            code: $code,
            status: StatusCode::$status,
            title: $title,
            meaning: $meaning,
            player: $player,
        };)*
        /// All kinds.
        static ALL: &[&ProblemKind] = &[$(&$name),*];
    };
}

kinds! {
    REFUSED: "refused", CONFLICT, "The stream is refused",
        "A limit or a bound refuses the stream, which does not count. The reason states which one, \
         the conflicts list the active streams in the way of each limit, and the activity lists all. \
         With retry_after_ms, the same request can succeed after that time.",
        "does not play. It can show the conflicts, and let its viewer choose a stream to replace.";
    ENDED: "ended", GONE, "The stream has ended",
        "The stream was stopped or replaced, is too old, or has expired without heartbeats. The \
         reason states which.",
        "stops playing. To play again, it opens a new stream.";
    THROTTLED: "throttled", TOO_MANY_REQUESTS, "Too many requests",
        "The tenant, the account or the client's address sends more requests a second than the \
         installation or the edge accepts. The request has changed nothing.",
        LATER;
    UNAVAILABLE: "unavailable", SERVICE_UNAVAILABLE, "Temporarily unavailable",
        "RabbitMQ or every worker is unavailable, or the edge is overloaded. The request may take \
         effect.",
        LATER;
    TIMEOUT: "timeout", REQUEST_TIMEOUT, "The request took too long",
        "The request did not arrive in time. It may take effect.",
        LATER;
    UNAUTHORIZED: "unauthorized", UNAUTHORIZED, "Not identified",
        "The credentials are missing or not valid. For operators, the metric \
         streamwatch_edge_refused_total has the reason.",
        "plays on, gets new credentials, such as a new token, and repeats the request.";
    FORBIDDEN: "forbidden", FORBIDDEN, "Not allowed",
        "The credentials are valid, but belong to another account.",
        MISTAKE;
    BAD_JSON: "bad_json", BAD_REQUEST, "The body is no JSON object",
        "The body is not a JSON object in UTF-8.",
        MISTAKE;
    BAD_FIELD: "bad_field", BAD_REQUEST, "A field is not acceptable",
        "A field of the body, or a part of the address, the query or the headers, has a wrong type or \
         exceeds its limits. The field is named.",
        MISTAKE;
    MISSING_FIELD: "missing_field", BAD_REQUEST, "A field is missing",
        "A required field is missing. The field is named.",
        MISTAKE;
    ACCOUNT_MISMATCH: "account_mismatch", BAD_REQUEST, "Two accounts",
        "The body names another account than the address of the request.",
        MISTAKE;
    OLD_RULES: "old_rules", BAD_REQUEST, "The rules are too old",
        "The field needs newer rules than the installation has. An operator can set them.",
        MISTAKE;
    REJECTED: "rejected", BAD_REQUEST, "The installation rejects the request",
        "A worker rejects the request for a reason that concerns no player, such as workers of \
         another version than the edge.",
        MISTAKE;
    TOO_LARGE: "too_large", PAYLOAD_TOO_LARGE, "The body is too large",
        "The body is larger than 16 KiB.",
        MISTAKE;
    ADDRESS_TOO_LONG: "address_too_long", URI_TOO_LONG, "The address is too long",
        "The address of the request is longer than 2,048 bytes.",
        MISTAKE;
    NOT_FOUND: "not_found", NOT_FOUND, "Not found",
        "There is nothing at the address of the request.",
        MISTAKE;
    METHOD_NOT_ALLOWED: "method_not_allowed", METHOD_NOT_ALLOWED, "Method not allowed",
        "The address of the request does not have this method.",
        MISTAKE;
}

impl ProblemKind {
    /// The address of its page, which identifies it.
    pub(in crate::edge::api) fn address(&self) -> String {
        format!("/api/v1/problems/{}", self.code)
    }

    fn page(&self) -> String {
        format!(
            "{} ({} {}): {}\n\n{}\n\nA player {}\n",
            self.code,
            self.status.as_u16(),
            self.status.canonical_reason().unwrap_or_default(),
            self.title,
            self.meaning,
            self.player
        )
    }
}

impl From<Code> for &'static ProblemKind {
    fn from(code: Code) -> Self {
        match code {
            Code::BadJson => &BAD_JSON,
            Code::TooLarge => &TOO_LARGE,
            Code::BadField => &BAD_FIELD,
            Code::MissingField => &MISSING_FIELD,
            Code::AccountMismatch => &ACCOUNT_MISMATCH,
            Code::OldRules => &OLD_RULES,
            Code::Late | Code::Unavailable => &UNAVAILABLE,
            Code::Throttled => &THROTTLED,
            Code::UnknownKind
            | Code::BadTenant
            | Code::Undecodable
            | Code::Undeliverable
            | Code::WrongPartition
            | Code::Other => &REJECTED,
        }
    }
}

/// Returns the meaning of a code of problems, for people. Needs no credentials.
#[utoipa::path(
    get,
    path = "/api/v1/problems/{code}",
    operation_id = "problem_kind",
    params(("code" = String, Path, description = "The code of a problem")),
    responses(
        (status = 200, description = "Its meaning, and the reaction of a player", body = String, content_type = "text/plain"),
        (status = 404, description = "There is no such code", body = Details, content_type = "application/problem+json"),
    ),
    security(()),
)]
pub(in crate::edge::api) async fn page(
    Path(code): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let kind = ALL.iter().find(|kind| kind.code == code);
    let kind = kind.ok_or_else(ApiError::not_found)?;
    Ok(([(header::CACHE_CONTROL, CACHED_FOR)], kind.page()))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write};

    use super::*;

    /// The table of the handbook.
    fn table() -> String {
        let mut table =
            "| code | status | meaning | a player |\n| --- | --- | --- | --- |\n".to_owned();
        for kind in ALL {
            let status = kind.status.as_u16();
            let (meaning, player) = (kind.meaning, kind.player);
            let _ = writeln!(
                table,
                "| `{}` | {status} | {meaning} | {player} |",
                kind.code
            );
        }
        table
    }

    #[test]
    fn codes_are_unique() {
        let codes: BTreeSet<_> = ALL.iter().map(|kind| kind.code).collect();
        assert_eq!(codes.len(), ALL.len());
    }

    #[test]
    fn the_handbook_contains_the_table_of_codes() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/EDGE.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains(&table()), "{}", table());
    }

    #[test]
    fn codes_of_the_contract_keep_their_names() {
        for code in Code::ALL {
            let kind: &ProblemKind = code.into();
            let keeps = kind.code == code.as_str();
            let is_own = [&REJECTED.code, &UNAVAILABLE.code].contains(&&kind.code);
            assert!(keeps || is_own, "{code}");
        }
    }
}

//! Text output: one line per message, in columns.

use crate::{
    cli::terminal::escape,
    wire::{LifecycleMessage, Rejected},
};

/// Largest width of a column with text from outside; longer text moves the rest of its line.
const WIDEST: usize = 40;

/// Lines with aligned columns.
#[derive(Debug, Default)]
pub(super) struct Lines {
    account: usize,
    key: usize,
}

impl Lines {
    /// One lifecycle event: when, whose, which stream, what, how many play now, and the rest.
    pub(super) fn event(&mut self, event: &LifecycleMessage) -> String {
        let account = format!("{}/{}", event.tenant, event.account);
        let account = escape(&account);
        let width = grow(&mut self.account, &account);
        let line = format!(
            "{}  {account:<width$}  {}  {:<8}{:>4} active  {}",
            event.at,
            event.stream,
            event.kind,
            event.count,
            details(event)
        );
        line.trim_end().to_owned()
    }

    /// Formats a rejected message: time, source, routing key, error, and sender.
    pub(super) fn rejected(&mut self, it: &Rejected) -> String {
        let key = escape(&it.routing_key);
        let width = grow(&mut self.key, &key);
        let mut line = format!(
            "{}  {:<8}  {key:<width$}  {:<16}  {}",
            it.at,
            it.source,
            it.code.as_str(),
            it.message
        );
        let events = [
            ("field", it.field.as_deref().map(str::to_owned)),
            ("app_id", it.app_id.as_deref().map(str::to_owned)),
            ("user_id", it.user_id.as_deref().map(str::to_owned)),
            ("offset", it.offset.map(|offset| offset.to_string())),
            ("index", it.index.map(|index| index.to_string())),
            ("body_bytes", Some(it.body_bytes.to_string())),
        ];
        let known = events
            .into_iter()
            .filter_map(|(name, event)| Some((name, event?)));
        let known: Vec<_> = known
            .map(|(name, event)| format!("{name}={event}"))
            .collect();
        line += &format!(" ({})", known.join(" "));
        if it.left_out > 0 {
            line += &format!(" and {} more before it", it.left_out);
        }
        line
    }
}

fn details(event: &LifecycleMessage) -> String {
    let mut parts = Vec::new();
    if event.admitted == Some(false) {
        parts.push("(heartbeats only)".to_owned());
    }
    if let Some(reason) = event.reason.as_deref().filter(|r| *r != event.kind) {
        parts.push(match event.max_active {
            Some(max) => format!("({}, limit {max})", reason),
            None => format!("({})", reason),
        });
    }
    if let Some(successor) = event.successor {
        parts.push(format!("(by {successor})"));
    }
    if let Some(given) = event.given_reason.as_deref() {
        parts.push(format!("\"{given}\""));
    }
    if let Some(seen) = event.last_seen {
        parts.push(format!("(last seen {seen})"));
    }
    let pairs = event.metadata.iter();
    parts.extend(pairs.map(|(k, v)| format!("{k}={v}")));
    parts.join(" ")
}

/// Returns the column's width with this text.
fn grow(column: &mut usize, text: &str) -> usize {
    *column = (*column).max(text.chars().count().min(WIDEST));
    *column
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode_lifecycle, decode_rejected};

    fn event(account: &str, kind: &str, more: &str) -> String {
        format!(
            r#"{{"type":"{kind}","tenant":"acme","account":"{account}","at":"2026-11-22T10:00:04.120Z",
            "stream":"0192f0c1-7a52-7b1e-9d7e-0a4ce5b2a111","count":1{more}}}"#
        )
    }

    #[test]
    fn events_are_aligned_in_columns() {
        let mut lines = Lines::default();
        let mut line = |account: &str, kind: &str, more: &str| {
            let body = event(account, kind, more);
            lines.event(&decode_lifecycle(body.as_bytes()).unwrap())
        };
        let id = "0192f0c1-7a52-7b1e-9d7e-0a4ce5b2a111";
        let metadata = r#","admitted":false,"metadata":{"device":"t\u001b[31mv"}"#;
        let tv = "device=t\u{1b}[31mv";
        assert_eq!(
            line("anabel", "opened", metadata),
            format!(
                "2026-11-22T10:00:04.120Z  acme/anabel  {id}  opened     1 active  (heartbeats \
                 only) {tv}"
            )
        );
        let refused = r#","reason":"max_active","max_active":1"#;
        assert_eq!(
            line("bob", "refused", refused),
            format!(
                "2026-11-22T10:00:04.120Z  acme/bob     {id}  refused    1 active  (max_active, \
                 limit 1)"
            )
        );
        let stopped = r#","reason":"stopped""#;
        assert!(line("bob", "stopped", stopped).ends_with("stopped    1 active"));
        let replaced = format!(r#","reason":"replaced","successor":"{id}","given_reason":"moved""#);
        let shown = format!("stopped    1 active  (replaced) (by {id}) \"moved\"");
        assert!(line("bob", "stopped", &replaced).ends_with(&shown));
    }

    #[test]
    fn a_rejected_message_is_one_line() {
        let body = r#"{"type":"rejected","at":"2026-11-22T10:00:04.120Z","source":"log",
            "code":"bad_field","message":"expected a string","field":"metadata",
            "routing_key":"acme.heartbeat","offset":7,"index":3,"user_id":"acme","body_bytes":33,
            "left_out":2}"#;
        let line = Lines::default().rejected(&decode_rejected(body.as_bytes()).unwrap());
        assert_eq!(
            line,
            "2026-11-22T10:00:04.120Z  log       acme.heartbeat  bad_field         expected a \
             string (field=metadata user_id=acme offset=7 index=3 body_bytes=33) and 2 more before it"
        );
    }
}

//! Bodies of requests whose account and stream are known otherwise, such as from a URL.

use super::{
    Code, Message, Problem,
    decode::{HeartbeatBody, InitBody, init_of_body},
    fields::{Text, UuidField},
    message::bad,
    shared_fields,
};
use crate::domain::{
    AccountId, AccountKey, Heartbeat, InitRequest, MAX_KEY_BYTES, MAX_PAIRS, MAX_VALUE_BYTES,
    MetadataPatch, StreamId, Tenant,
};

/// A request of an account. Its body may repeat the account and the stream, but not name others.
/// An empty body is an empty object.
#[derive(Clone, Copy, Debug)]
pub struct Addressed<'a> {
    /// The tenant.
    pub tenant: &'a Tenant,
    /// The account.
    pub account: &'a AccountId,
    /// The body: a JSON object of at most 16 KiB.
    pub body: &'a [u8],
}

impl<'a> Addressed<'a> {
    /// Decodes the body of an `init`. The stream is that of `stream`, else of the body, else it is
    /// derived from the sender's id of the request, else it is new.
    ///
    /// # Errors
    /// Errors of an `init`, except those of a routing key.
    pub fn init(
        &self,
        stream: Option<StreamId>,
        request_id: Option<&[u8]>,
    ) -> Result<InitRequest, Problem> {
        let message = Message {
            message_id: request_id,
            ..self.message()
        };
        let mut body: InitBody = message.json()?;
        self.check_account(body.account.as_ref())?;
        if let Some(stream) = stream {
            check_stream(stream, body.stream.as_ref())?;
            body.stream = Some(UuidField(stream.0));
        }
        let key = AccountKey::new(self.tenant, self.account);
        init_of_body(&message, key, body)
    }

    /// Decodes the body of a heartbeat of `stream`.
    ///
    /// # Errors
    /// Errors of a heartbeat; also `bad_field` if its metadata is not acceptable.
    pub fn heartbeat(&self, stream: StreamId) -> Result<Heartbeat, Problem> {
        let body: HeartbeatBody = self.message().json()?;
        self.check_account(body.account.as_ref())?;
        check_stream(stream, body.stream.as_ref())?;
        let metadata = body.metadata.map(|field| field.0);
        if metadata == Some(MetadataPatch::Invalid) {
            let message = format!(
                "must be an object of at most {MAX_PAIRS} pairs: keys of 1 to {MAX_KEY_BYTES} \
                 bytes, and strings of at most {MAX_VALUE_BYTES} bytes, numbers, booleans or null"
            );
            return Err(bad("metadata", message));
        }
        Ok(Heartbeat {
            stream,
            every_ms: body.heartbeat_every_ms.map(|n| n.0),
            metadata,
        })
    }

    fn message(&self) -> Message<'a> {
        let is_empty = self.body.iter().all(u8::is_ascii_whitespace);
        Message {
            body: if is_empty { b"{}" } else { self.body },
            ..Message::default()
        }
    }

    fn check_account(&self, account: Option<&Text>) -> Result<(), Problem> {
        if account.is_none_or(|Text(account)| *account == self.account.as_str()) {
            return Ok(());
        }
        Err(Problem::field(
            Code::AccountMismatch,
            "account",
            "the body names another account than the address of the request",
        ))
    }
}

fn check_stream(stream: StreamId, body: Option<&UuidField>) -> Result<(), Problem> {
    if body.is_none_or(|id| id.0 == stream.0) {
        return Ok(());
    }
    let message = "must be the stream of the address of the request, or left out";
    Err(bad("stream", message))
}

/// Checks metadata keys by which a reply counts streams, and omits duplicates.
///
/// # Errors
/// `bad_field` if there are more than 16, or one is empty or longer than 64 bytes.
pub fn group_by<'k>(keys: impl Iterator<Item = &'k str>) -> Result<Vec<String>, Problem> {
    let keys = keys.map(|key| Text(key.into())).collect();
    shared_fields::group_by(Some(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(body: &str, decode: impl FnOnce(Addressed) -> T) -> T {
        decode(Addressed {
            tenant: &Tenant::new("acme").unwrap(),
            account: &AccountId::new("a/b").unwrap(),
            body: body.as_bytes(),
        })
    }

    #[test]
    fn an_empty_body_opens_a_stream_of_the_account() {
        for body in ["", " \n", "{}", r#"{"account":"a/b"}"#] {
            let init = with(body, |it| it.init(None, None)).unwrap();
            assert_eq!((init.key.tenant(), init.key.account()), ("acme", "a/b"));
        }
        let heartbeat = with("", |it| it.heartbeat(StreamId::generate())).unwrap();
        assert_eq!((heartbeat.every_ms, heartbeat.metadata), (None, None));
    }

    #[test]
    fn a_body_cannot_name_another_account_or_stream() {
        let code = |problem: Problem| (problem.code, problem.field.unwrap().into_owned());
        let other = r#"{"account":"bob"}"#;
        let mismatch = (Code::AccountMismatch, "account".to_owned());
        let init = with(other, |it| it.init(None, None)).unwrap_err();
        assert_eq!(code(init), mismatch);
        let heartbeat = with(other, |it| it.heartbeat(StreamId::generate()));
        assert_eq!(code(heartbeat.unwrap_err()), mismatch);
        let stream = StreamId::generate();
        let own = format!(r#"{{"stream":"{stream}"}}"#);
        let init = with(&own, |it| it.init(Some(stream), None)).unwrap();
        assert_eq!(init.stream, stream);
        let init = with(&own, |it| it.init(Some(StreamId::generate()), None));
        assert_eq!(init.unwrap_err().code, Code::BadField);
        assert!(with(&own, |it| it.heartbeat(stream)).is_ok());
    }

    #[test]
    fn a_repeated_request_with_an_id_is_about_one_stream() {
        let init = |id: &'static [u8]| with("", |it| it.init(None, Some(id))).unwrap().stream;
        assert_eq!(init(b"1"), init(b"1"));
        assert_ne!(init(b"1"), init(b"2"));
    }

    #[test]
    fn bad_fields_are_named() {
        let stream = StreamId::generate();
        let field = |body: &str| {
            let problem = with(body, |it| it.heartbeat(stream)).unwrap_err();
            (
                problem.code.as_str(),
                problem.field.unwrap_or_default().into_owned(),
            )
        };
        let bad = |name: &str| ("bad_field", name.to_owned());
        assert_eq!(field(r#"{"metadata":{"a":{}}}"#), bad("metadata"));
        assert_eq!(
            field(r#"{"heartbeat_every_ms":0}"#),
            bad("heartbeat_every_ms")
        );
        assert_eq!(field("["), ("bad_json", String::new()));
        let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(20_000));
        assert_eq!(field(&long), ("too_large", String::new()));
        assert!(group_by(["a", "b", "a"].into_iter()).is_ok_and(|keys| keys.len() == 2));
        assert_eq!(group_by([""].into_iter()).unwrap_err().code, Code::BadField);
    }
}

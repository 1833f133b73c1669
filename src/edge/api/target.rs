//! The caller, the account and the stream of a request, and its body.

use axum::{
    body::{Bytes, HttpBody as _},
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{header, request::Parts},
};
use http_body_util::LengthLimitError;

use super::problem::{ApiError, kinds};
use crate::{
    client::{AccountId, AccountStatus, StatusQuery, StreamId, Tenant},
    edge::{Caller, Edge, Peer},
    wire::{Addressed, MAX_BODY_BYTES},
};

/// An account, and a stream if the address names one, that the caller reaches.
pub(super) struct Target {
    pub(super) edge: Edge,
    pub(super) tenant: Tenant,
    pub(super) account: AccountId,
    stream: Option<StreamId>,
}

/// A body of at most 16 KiB.
pub(super) struct Body(pub(super) Bytes);

/// A target, and the body. Credentials may be in the body, since `navigator.sendBeacon` cannot set
/// headers.
pub(super) struct Beacon(pub(super) Target);

impl Target {
    /// The stream of the address.
    pub(super) fn stream(&self) -> Result<StreamId, ApiError> {
        self.stream.ok_or_else(ApiError::not_found)
    }

    /// The body of a request about this account.
    pub(super) fn body<'a>(&'a self, body: &'a Body) -> Addressed<'a> {
        Addressed {
            tenant: &self.tenant,
            account: &self.account,
            body: &body.0,
        }
    }

    fn new(edge: &Edge, caller: Caller, names: &RawPathParams) -> Result<Self, ApiError> {
        let named = |wanted: &str| {
            let mut all = names.iter();
            all.find_map(|(name, value)| (name == wanted).then_some(value))
        };
        let account = named("account").ok_or_else(ApiError::not_found)?;
        let account =
            AccountId::new(account).map_err(|error| ApiError::bad("account", error.to_string()))?;
        let stream = named("stream").map(|stream| {
            let stream = stream.parse();
            stream.map_err(|_| ApiError::bad("stream", "must be a UUID, not another string"))
        });
        if !caller.reaches(&account) {
            let detail = "the credentials belong to another account";
            return Err(ApiError::new(&kinds::FORBIDDEN, detail));
        }
        let tenant = caller.tenant;
        edge.limits.account(&tenant, &account).map_err(|wait| {
            let detail = "the account sends more requests a second than this edge accepts";
            ApiError::throttled(detail, wait)
        })?;
        Ok(Self {
            edge: edge.clone(),
            tenant,
            account,
            stream: stream.transpose()?,
        })
    }

    /// The activity of the account.
    pub(super) async fn activity(&self, query: &StatusQuery) -> Result<AccountStatus, ApiError> {
        let players = &self.edge.players;
        let status = players.activity(&self.tenant, &self.account, query).await?;
        Ok(status)
    }
}

/// The caller by the headers.
fn caller(edge: &Edge, parts: &Parts) -> Result<Caller, ApiError> {
    // The server has set it.
    let peer = parts.extensions.get::<Peer>();
    let peer = peer.ok_or_else(ApiError::not_found)?.address;
    let identified = edge.access.identify(&parts.headers, peer);
    identified.map_err(|denied| ApiError::denied(denied, edge.access.schemes()))
}

async fn names(parts: &mut Parts, edge: &Edge) -> Result<RawPathParams, ApiError> {
    let names = RawPathParams::from_request_parts(parts, edge).await;
    names.map_err(|_| ApiError::bad("account", "must be percent-encoded UTF-8"))
}

impl FromRequestParts<Edge> for Target {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, ApiError> {
        let caller = caller(edge, parts)?;
        let names = names(parts, edge).await?;
        Self::new(edge, caller, &names)
    }
}

impl FromRequest<Edge> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Edge) -> Result<Self, ApiError> {
        read(request).await.map(Self)
    }
}

impl FromRequest<Edge> for Beacon {
    type Rejection = ApiError;

    async fn from_request(request: Request, edge: &Edge) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        if parts.headers.contains_key(header::AUTHORIZATION) {
            let target = Target::from_request_parts(&mut parts, edge).await?;
            read(Request::from_parts(parts, body)).await?;
            return Ok(Self(target));
        }
        let names = names(&mut parts, edge).await?;
        let by_headers = caller(edge, &parts);
        let body = read(Request::from_parts(parts, body)).await?;
        let denied = |denied| ApiError::denied(denied, edge.access.schemes());
        let caller = match credentials(&body) {
            (Some(token), _) => edge.access.identify_token(&token).map_err(denied)?,
            (None, Some(id)) => edge.access.identify_application(&id).map_err(denied)?,
            (None, None) => by_headers?,
        };
        Ok(Self(Target::new(edge, caller, &names)?))
    }
}

/// Decodes the token and the id of an application in a form, such as `access_token=TOKEN`. They need
/// no escapes, but may have them.
#[must_use]
pub fn credentials(body: &[u8]) -> (Option<String>, Option<String>) {
    let (mut token, mut application) = (None, None);
    let text = std::str::from_utf8(body).unwrap_or_default();
    for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
        let plain = value.trim_end().replace('+', " ");
        let value = percent_encoding::percent_decode_str(&plain).decode_utf8();
        let value = value.ok().map(std::borrow::Cow::into_owned);
        match name {
            "access_token" => token = value,
            "application" => application = value,
            _ => {}
        }
    }
    (token, application)
}

/// Reads a body of at most 16 KiB.
async fn read(request: Request) -> Result<Bytes, ApiError> {
    if request.body().is_end_stream() {
        return Ok(Bytes::new());
    }
    let large = || ApiError::new(&kinds::TOO_LARGE, "the body is larger than 16 KiB");
    // The length that the headers state.
    if request.body().size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(large());
    }
    let body = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES).await;
    body.map_err(|error| {
        let cause = std::error::Error::source(&error);
        if cause.is_some_and(<dyn std::error::Error>::is::<LengthLimitError>) {
            large()
        } else {
            let detail = "the body has not arrived, or its chunks are not valid";
            ApiError::new(&kinds::BAD_JSON, detail)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_beacon_are_fields_of_a_form() {
        let of = |body: &str| credentials(body.as_bytes());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("access_token=a.b-c_d"), (some("a.b-c_d"), None));
        assert_eq!(of("x=1&application=web%20tv&y"), (None, some("web tv")));
        for other in ["", "{}", "token", "access_token", "\u{0}=\u{0}"] {
            assert_eq!(of(other), (None, None), "{other}");
        }
    }
}

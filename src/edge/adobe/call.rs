//! Requests: the parts that the routes read.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use axum::{
    Extension, RequestExt,
    body::Bytes,
    extract::{FromRequest, Path, Request},
    http::{
        HeaderMap, StatusCode, Uri, header,
        uri::{Authority, PathAndQuery},
    },
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    attributes::Attributes,
    policy::{Application, Policies},
    response::{AdobeResponse, Outcome},
    state::AdobeState,
};
use crate::{
    client::StreamId,
    edge::{Caller, Denied, Edge, Peer},
};

/// A request.
pub(super) struct Call {
    pub(super) at: PathParts,
    pub(super) edge: Edge,
    pub(super) shared: Arc<AdobeState>,
    /// The policies at the start of the request.
    pub(super) policies: Arc<Policies>,
    pub(super) headers: HeaderMap,
    uri: Uri,
    body: Bytes,
    peer: Peer,
}

/// The parts of a path. Those that a route does not have are empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PathParts {
    /// The id of the application, in version 1.
    pub(super) application: String,
    /// The identity provider.
    #[serde(alias = "mvpd")]
    pub(super) idp: String,
    #[serde(alias = "account")]
    pub(super) subject: String,
    #[serde(alias = "stream")]
    session: String,
}

impl FromRequest<Edge> for Call {
    type Rejection = Response;

    async fn from_request(mut request: Request, edge: &Edge) -> Result<Self, Response> {
        let state = request.extract_parts::<Extension<_>>().await;
        let Extension::<Arc<AdobeState>>(shared) = state.map_err(IntoResponse::into_response)?;
        let at = request.extract_parts::<Path<_>>().await;
        let Path(at) = at.map_err(IntoResponse::into_response)?;
        let (headers, uri) = (request.headers().clone(), request.uri().clone());
        let peer = request.extensions().get::<Peer>();
        let peer = peer.copied().unwrap_or(Peer {
            address: Ipv4Addr::UNSPECIFIED.into(),
            is_tls: false,
        });
        let body = Bytes::from_request(request, edge).await;
        Ok(Self {
            at,
            edge: edge.clone(),
            policies: shared.policies.get(),
            shared,
            headers,
            uri,
            body: body.map_err(IntoResponse::into_response)?,
            peer,
        })
    }
}

impl Call {
    /// The caller that its headers identify.
    pub(super) fn caller(&self) -> Result<Caller, Denied> {
        let access = &self.edge.access;
        access.identify(&self.headers, self.peer.address)
    }

    /// The application of a caller.
    pub(super) fn application(&self, caller: &Caller) -> Outcome<&Application> {
        let id = caller.application.as_deref();
        let application = id.and_then(|id| self.policies.application(id));
        application.ok_or_else(|| {
            let reason = "the policy file has no entry for the application";
            AdobeResponse::stating(StatusCode::FORBIDDEN, reason)
        })
    }

    /// The interval of heartbeats.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_millis(self.shared.interval_ms().into())
    }

    /// The id of the session in its path. An edge creates UUIDs.
    pub(super) fn session(&self) -> Outcome<StreamId> {
        let id = self.at.session.parse();
        id.map_err(|_| AdobeResponse::no_session())
    }

    /// The metadata in the query and in the form.
    pub(super) fn attributes(&self) -> Outcome<Attributes<'_>> {
        let kind = text(&self.headers, header::CONTENT_TYPE);
        let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let is_form = |kind: &str| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        if !self.body.is_empty() && !kind.is_none_or(is_form) {
            return Err(AdobeResponse::stating(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be application/x-www-form-urlencoded",
            ));
        }
        Ok(Attributes::decode(self.query(), &self.body))
    }

    /// The query, empty if there is none.
    fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// The value of a parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query().as_bytes());
        Some(pairs.find(|(key, _)| key == name)?.1.into_owned())
    }

    /// The URL of the edge's root, as the client has addressed it.
    pub(super) fn origin(&self) -> String {
        origin(&self.headers, &self.uri, self.peer.is_tls)
    }

    /// The URL without its query, as the client has addressed it.
    pub(super) fn url(&self) -> String {
        self.origin() + self.uri.path()
    }

    /// The URL with its query, as the client has addressed it.
    pub(super) fn url_with_query(&self) -> String {
        self.origin() + path_and_query(&self.uri)
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn origin(headers: &HeaderMap, uri: &Uri, is_tls: bool) -> String {
    let forwarded = headers.get("x-forwarded-proto");
    let is_https = is_tls || forwarded.is_some_and(|proto| proto == "https");
    let scheme = if is_https { "https" } else { "http" };
    let host = text(headers, header::HOST).or_else(|| uri.authority().map(Authority::as_str));
    format!("{scheme}://{}", host.unwrap_or("localhost"))
}

/// The URI of a request over HTTP/2 also has a scheme and a host.
fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_has_the_scheme_and_the_host_that_the_client_uses() {
        for (is_tls, forwarded, url) in [
            (false, None, "http://edge.example"),
            (true, None, "https://edge.example"),
            (false, Some("https"), "https://edge.example"),
            (false, Some("http"), "http://edge.example"),
        ] {
            let request = Request::post("/v1/x?y=z").header(header::HOST, "edge.example");
            let request = match forwarded {
                Some(proto) => request.header("x-forwarded-proto", proto),
                None => request,
            };
            let request = request.body(()).unwrap();
            assert_eq!(origin(request.headers(), request.uri(), is_tls), url);
        }
    }

    #[test]
    fn the_path_and_the_query_are_the_same_over_http_1_and_http_2() {
        for uri in ["/v1/x?y=z", "https://edge.example/v1/x?y=z"] {
            assert_eq!(path_and_query(&uri.parse().unwrap()), "/v1/x?y=z");
        }
    }
}

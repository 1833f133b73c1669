//! The parts of a request that the routes read.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, Uri, header, uri::Authority},
    response::{IntoResponse, Response},
};

use super::{attributes::Attributes, response::AdobeError};
use crate::edge::ClientAddress;

/// A request.
#[derive(Debug)]
pub struct Call {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its path and query.
    pub uri: Uri,
    /// Its body.
    pub body: Bytes,
    /// The peer of its connection.
    pub peer: IpAddr,
    /// Whether the edge ends the TLS of its connection.
    pub is_tls: bool,
}

impl<S: Send + Sync> FromRequest<S> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (headers, uri) = (request.headers().clone(), request.uri().clone());
        let address = request.extensions().get::<ClientAddress>();
        let peer = address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.peer);
        let is_tls = address.is_some_and(|address| address.is_tls);
        let body = Bytes::from_request(request, state).await;
        Ok(Self {
            headers,
            uri,
            body: body.map_err(IntoResponse::into_response)?,
            peer,
            is_tls,
        })
    }
}

impl Call {
    /// The metadata in the query and in the form.
    pub(super) fn attributes(&self) -> Result<Attributes<'_>, AdobeError> {
        let kind = self.header(header::CONTENT_TYPE);
        let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let is_form = |kind: &str| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        if !self.body.is_empty() && !kind.is_none_or(is_form) {
            return Err(AdobeError::NoForm);
        }
        Ok(Attributes::decode(self.query(), &self.body))
    }

    /// The query, empty if there is none.
    pub(super) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// The value of a parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query().as_bytes());
        Some(pairs.find(|(key, _)| key == name)?.1.into_owned())
    }

    /// The value of a header, if it is text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The URL without its query, as the client has addressed it.
    pub(super) fn url(&self) -> String {
        format!("{}{}", self.origin(), self.uri.path())
    }

    /// The URL of the edge's root, as the client has addressed it.
    pub(super) fn origin(&self) -> String {
        let forwarded = self.headers.get("x-forwarded-proto");
        let is_https = self.is_tls || forwarded.is_some_and(|proto| proto == "https");
        let scheme = if is_https { "https" } else { "http" };
        let host = self
            .header(header::HOST)
            .or_else(|| self.uri.authority().map(Authority::as_str));
        format!("{scheme}://{}", host.unwrap_or("localhost"))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[tokio::test]
    async fn the_url_has_the_scheme_and_the_host_that_the_client_uses() {
        for (is_tls, forwarded, url) in [
            (false, None, "http://edge.example/v1/x"),
            (true, None, "https://edge.example/v1/x"),
            (false, Some("https"), "https://edge.example/v1/x"),
            (false, Some("http"), "http://edge.example/v1/x"),
        ] {
            let peer = IpAddr::from([192, 0, 2, 1]);
            let address = ClientAddress {
                peer,
                client: peer,
                is_tls,
            };
            let request = Request::post("/v1/x?y=z")
                .header(header::HOST, "edge.example")
                .extension(address);
            let request = match forwarded {
                Some(proto) => request.header("x-forwarded-proto", proto),
                None => request,
            };
            let request = request.body(Body::empty()).unwrap();
            let call = Call::from_request(request, &()).await.unwrap();
            assert_eq!(call.url(), url);
        }
    }
}

//! The HTTP API, `/api/v1`.

mod accounts;
mod bodies;
mod described;
mod problem;
mod streams;
mod target;

use axum::{Router, body::Bytes, http::header::CONTENT_TYPE, routing::get};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use accounts::status_query;
pub use problem::RefusedFor;
pub(super) use problem::{ApiError, kinds};
pub use target::credentials;

use super::Edge;

/// The description of the API, without its paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "streamwatch",
        description = "Concurrency monitoring for video services: how many streams is each account \
            playing right now?\n\nA player opens a stream, sends a heartbeat every \
            heartbeat_every_ms, and stops it. A status of 409 means: do not play; 410: stop \
            playing; 429 and 503: play on, and repeat the request after Retry-After.\n\nErrors are \
            problem details (RFC 9457) with a stable code; their \
            type is the address of a page about it.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    modifiers(&Schemes),
    security(("basic" = []), ("bearer" = [])),
    components(schemas(
        described::Open,
        described::Heartbeat,
        described::EndedProblem,
        described::RefusedProblem
    ))
)]
struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let components = description.components.get_or_insert_default();
        for (name, scheme) in [
            ("basic", HttpAuthScheme::Basic),
            ("bearer", HttpAuthScheme::Bearer),
        ] {
            let scheme = SecurityScheme::Http(Http::new(scheme));
            components.add_security_scheme(name, scheme);
        }
    }
}

fn described() -> OpenApiRouter<Edge> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(accounts::activity))
        .routes(routes!(streams::open))
        .routes(routes!(streams::put, streams::state, streams::delete))
        .routes(routes!(streams::heartbeat))
        .routes(routes!(streams::stop))
        .routes(routes!(kinds::page))
}

/// The routes of the API.
pub fn routes() -> Router<Edge> {
    let (routes, description) = described().split_for_parts();
    // Serialized once: it takes longer than most requests.
    let document = description.to_json().unwrap_or_default();
    let document = ([(CONTENT_TYPE, "application/json")], Bytes::from(document));
    routes
        .route("/api/v1/openapi.json", get(async move || document))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_description_matches_the_program() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/openapi.json");
        let (_, description) = described().split_for_parts();
        let described = description.to_pretty_json().unwrap() + "\n";
        if std::env::var_os("STREAMWATCH_WRITE_OPENAPI").is_some() {
            std::fs::write(file, &described).unwrap();
        }
        let committed = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            committed == described,
            "write it: STREAMWATCH_WRITE_OPENAPI=1 cargo test the_committed_description"
        );
    }
}

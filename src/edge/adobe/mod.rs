//! The APIs of Adobe's Concurrency Monitoring. An application that uses them changes only its base
//! URL.
//!
//! | file | content |
//! | --- | --- |
//! | [`policy`] | the policies of applications: limits, required metadata, accounts |
//! | [`policy_file`] | the policy file and its checks |
//! | [`attributes`] | metadata in queries and forms |
//! | [`ended`] | termination codes, and the session that ended another |
//! | [`evaluation`] | bodies that state why a session is not active |
//! | [`displaced`] | the sessions that give way under rules of both kinds |
//! | [`throttle`] | requests of a session and of an account in a minute |
//! | [`response`] | responses and their headers |
//! | [`call`] | requests |
//! | [`sessions`] | the operations of both versions |
//! | [`state`] | the state that the edge keeps between requests |
//! | [`v1`], [`v2`] | the routes |

mod attributes;
mod call;
mod displaced;
mod ended;
mod evaluation;
mod policy;
mod policy_file;
mod response;
mod sessions;
mod state;
mod throttle;
mod v1;
mod v2;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    http::header,
    routing::{get, post},
};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use super::Edge;
pub use attributes::Attributes;
pub use ended::termination_codes;
pub use policy::{Application, Policies};
pub(crate) use policy_file::PolicyFile;
use state::AdobeState;

/// Longest form, in bytes.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// The routes of both versions of the API, for the applications in a policy file. As with
/// Adobe, web pages of any origin may use them.
pub fn routes(policies: &PolicyFile) -> Router<Edge> {
    let account = "/v1/{application}/{mvpd}/accounts/{account}";
    let pages = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(Any)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::LOCATION, header::DATE, header::EXPIRES]);
    Router::new()
        .route("/v2/metadata", get(v2::metadata))
        .route("/v2/sessions/{idp}/{subject}", post(v2::open))
        .route(
            "/v2/sessions/{idp}/{subject}/{session}",
            post(v2::heartbeat).delete(v2::terminate),
        )
        .route("/v2/runningStreams/{idp}/{subject}", get(v2::running))
        .route(
            &format!("{account}/streams"),
            post(v1::open).get(v1::streams),
        )
        .route(
            &format!("{account}/streams/{{stream}}"),
            post(v1::event).get(v1::stream),
        )
        .route(&format!("{account}/activity"), get(v1::activity))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(Extension(Arc::new(AdobeState::new(policies.current()))))
        .layer(pages)
}

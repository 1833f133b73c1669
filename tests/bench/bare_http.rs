//! A bare handler of axum that answers 204: the baseline of `tests/bench/edge`.

use axum::{Router, http::StatusCode, routing::any};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_default();
    let listener = tokio::net::TcpListener::bind(address).await?;
    let service = Router::new().fallback(any(|| async { StatusCode::NO_CONTENT }));
    Ok(axum::serve(listener, service).await?)
}

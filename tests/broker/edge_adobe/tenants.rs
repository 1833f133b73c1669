//! Identity providers with tenants of their own.

use axum::http::Method;
use streamwatch::client::{Backend, StreamId, Tenant};

use super::{Adobe, code, conflicts, session, stream, text};
use crate::fixture::{Broker, Installation, PATIENCE, account, eventually, streams, strong};

const POLICIES: &str = r#"
    requests_per_minute = 100
    [[applications]]
    id = "app"
    policies = ["one"]
    tenants = {cable = "globex"}

    [[applications]]
    id = "latest"
    policies = ["latest"]
    tenants = {cable = "globex"}

    [[policies]]
    name = "one"
    counts = "account"
    rules = [{max = 1}]

    [[policies]]
    name = "latest"
    strategy = "fifo"
    counts = "account"
    rules = [{max = 1}]
"#;

async fn playing(backend: &Backend, tenant: &str, name: &str) -> Vec<StreamId> {
    let tenant = Tenant::new(tenant).expect("letters");
    let status = backend.status(&tenant, &account(name), &strong()).await;
    streams(&status.expect("a worker answers"))
}

#[tokio::test]
async fn sessions_of_a_provider_count_in_its_tenant() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = Adobe::start(&installation, &["app", "latest"], POLICIES).await;
    let (app, latest) = (adobe.application("app"), adobe.application("latest"));
    let backend = installation.backend();
    let post =
        async |of: &super::Application<'_>, path: &str| of.send(Method::POST, path, &[], "").await;
    let sessions = |idp: &str| format!("/v2/sessions/{idp}/alice");

    // The subject of another provider has another account, in the tenant of the application.
    let own = session(&post(&app, &sessions("adobe")).await);
    let mapped = session(&post(&app, &sessions("cable")).await);
    assert_eq!(
        playing(&backend, "acme", "adobe/alice").await,
        [stream(&own)]
    );
    assert_eq!(
        playing(&backend, "globex", "cable/alice").await,
        [stream(&mapped)]
    );
    assert!(playing(&backend, "acme", "cable/alice").await.is_empty());
    let refused = post(&app, &sessions("cable")).await;
    assert_eq!(conflicts(&refused)[0].1, [code(&mapped)]);

    // Heartbeats reach it, running streams and its end too.
    post(&app, &format!("{}/{mapped}", sessions("cable")))
        .await
        .is(202);
    let running = app.send(Method::GET, "/v2/runningStreams/cable/alice", &[], "");
    let running = running.await.is(200).text;
    assert!(running.contains(&mapped), "{running}");
    post(&app, &format!("{}/{mapped}", sessions("adobe")))
        .await
        .is(410);
    let instead = session(&post(&latest, &sessions("cable")).await);
    assert_eq!(
        playing(&backend, "globex", "cable/alice").await,
        [stream(&instead)]
    );
    eventually(PATIENCE, "the session learns its end", async || {
        let beaten = post(&app, &format!("{}/{mapped}", sessions("cable"))).await;
        (beaten.status == 409).then_some(()).ok_or(beaten.status)
    })
    .await;
    let end = format!("{}/{instead}", sessions("cable"));
    latest.send(Method::DELETE, &end, &[], "").await.is(202);
    assert!(playing(&backend, "globex", "cable/alice").await.is_empty());
    assert_eq!(
        playing(&backend, "acme", "adobe/alice").await,
        [stream(&own)]
    );
}

#[tokio::test]
async fn version_1_has_the_tenants_of_providers_too() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = Adobe::start(&installation, &["app", "latest"], POLICIES).await;
    let backend = installation.backend();
    let at = "/v1/app/cable/accounts/alice/streams";
    let opened = adobe.edge.post(at, "").await.is(201).json;
    let id = text(&opened["streamId"]);
    assert_eq!(
        playing(&backend, "globex", "cable/alice").await,
        [stream(&id)]
    );
    let refused = adobe.edge.post(at, "").await.is(201).json;
    assert_eq!(refused["policyCompliant"], false);
    let stop = format!("{at}/{id}?event=stop");
    adobe.edge.post(&stop, "").await.is(202);
    assert!(playing(&backend, "globex", "cable/alice").await.is_empty());
}

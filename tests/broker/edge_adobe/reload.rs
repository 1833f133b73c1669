//! Changes of the policy file.

use super::{Adobe, session};
use crate::fixture::{Broker, Installation, PATIENCE, eventually};

/// Policies that allow so many streams.
fn at_most(max: u32) -> String {
    format!(
        r#"
        applications = [{{id = "app", policies = ["p"]}}]
        policies = [{{name = "p", rules = [{{max = {max}}}]}}]
        "#
    )
}

#[tokio::test]
async fn changed_policies_apply_to_new_sessions_and_a_mistake_keeps_the_previous_ones() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = Adobe::start(&installation, &["app", "later"], &at_most(1)).await;
    let app = adobe.application("app");
    let first = session(&app.open("alice", "").await);
    app.open("alice", "").await.is(409);
    adobe.application("later").metadata().await.is(403);

    adobe.write_policies(&at_most(0));
    eventually(PATIENCE, "the mistake is reported", async || {
        let log = adobe.edge.process.stderr();
        let is_reported = log.contains("cannot load changed policies")
            && log.contains("max: 0: must be at least 1");
        is_reported.then_some(()).ok_or(log)
    })
    .await;
    app.open("alice", "").await.is(409);

    adobe.write_policies(
        r#"
        requests_per_minute = 3
        applications = [{id = "app", policies = ["p"]}, {id = "later"}]
        policies = [{name = "p", rules = [{max = 2}]}]
        "#,
    );
    eventually(PATIENCE, "the change decides", async || {
        let status = adobe.application("later").metadata().await.status;
        (status == 200).then_some(()).ok_or(status)
    })
    .await;
    // Sessions from before the change count, and so do their requests.
    app.heartbeat("alice", &first).await.is(202);
    app.open("bob", "").await.is(202);
    app.open("bob", "").await.is(202);
    app.open("bob", "").await.is(409);
    app.open("bob", "").await.is(429);
    app.open("alice", "").await.is(429);
}

#[tokio::test]
async fn a_deleted_policy_file_keeps_the_previous_policies() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = Adobe::start(&installation, &["app"], &at_most(1)).await;
    adobe.remove_policies();
    eventually(PATIENCE, "the loss is reported", async || {
        let log = adobe.edge.process.stderr();
        log.contains("policies.toml: cannot read it")
            .then_some(())
            .ok_or(log)
    })
    .await;
    let app = adobe.application("app");
    app.open("alice", "").await.is(202);
    app.open("alice", "").await.is(409);
}

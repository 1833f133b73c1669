//! Sessions that others have ended.

use std::time::Duration;

use serde_json::json;
use streamwatch::client::{GivenReason, OpenRequest, Stop, StopTarget};

use super::{Adobe, Application, advice, code, conflicts, session, stream};
use crate::fixture::{
    Broker, Installation, PATIENCE, Response, account, eventually, playing, tenant,
};

const POLICIES: &str = r#"
    [[applications]]
    id = "latest"
    name = "The latest plays"
    policies = ["one"]

    [[applications]]
    id = "two"
    policies = ["two"]

    [[applications]]
    id = "careful"
    policies = ["two"]
    may_terminate = false

    [[policies]]
    name = "one"
    strategy = "fifo"
    rules = [{name = "1 stream", message = "Another stream has begun", max = 1}]

    [[policies]]
    name = "two"
    counts = "account"
    rules = [{max = 2}]
"#;

const APPLICATIONS: [&str; 3] = ["latest", "two", "careful"];

/// The response to a heartbeat once the session has learned its end.
async fn end(app: &Application<'_>, subject: &str, session: &str) -> Response {
    eventually(PATIENCE, "the session learns its end", async || {
        let beaten = app.heartbeat(subject, session).await;
        if beaten.status == 202 {
            Err(())
        } else {
            Ok(beaten)
        }
    })
    .await
}

#[tokio::test]
async fn a_session_that_a_backend_stops_gets_its_reason() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = Adobe::start(&installation, &APPLICATIONS, POLICIES).await;
    let (app, backend) = (adobe.application("two"), installation.backend());
    let (kicked, stopped) = (app.open("alice", "").await, app.open("alice", "").await);
    let (kicked, stopped) = (session(&kicked), session(&stopped));
    let reason = GivenReason::new("kicked by support").expect("short");
    for (id, reason) in [(&kicked, Some(Ok(reason))), (&stopped, None)] {
        let stop = Stop {
            target: StopTarget::One(stream(id)),
            reason,
        };
        let (tenant, alice, wait) = (tenant(), account("adobe/alice"), Duration::from_millis(1));
        let sent = backend.send_stop(&tenant, &alice, stop, wait);
        sent.await.expect("it is confirmed");
    }
    let gone = end(&app, "alice", &kicked).await.is(410);
    assert_eq!(advice(&gone)["type"], "remote-termination");
    assert_eq!(advice(&gone)["message"], "kicked by support");
    assert_eq!(end(&app, "alice", &stopped).await.is(410).text, "");
    // The application opens a new session, also with codes of ended ones.
    let again = app.open_instead("alice", &code(&kicked), "").await;
    assert_eq!(
        playing(&backend, "adobe/alice").await,
        [stream(&session(&again))]
    );
    app.delete("alice", &kicked).await.is(410);
}

#[tokio::test]
async fn the_oldest_session_gives_way_and_its_heartbeat_is_a_conflict() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = Adobe::start(&installation, &APPLICATIONS, POLICIES).await;
    let app = adobe.application("latest");
    let first = session(&app.open("alice", "").await);
    let second = session(&app.open("alice", "deviceName=The+phone").await);
    assert_eq!(
        playing(&installation.backend(), "adobe/alice").await,
        [stream(&second)]
    );
    let refused = end(&app, "alice", &first).await;
    assert_eq!(
        conflicts(&refused),
        [("1 stream".to_owned(), vec![code(&second)])]
    );
    assert_eq!(advice(&refused)["message"], "Another stream has begun");
    let successor = &advice(&refused)["conflicts"][&second][0];
    assert_eq!(successor["deviceName"], "The phone");
    assert_eq!(successor["applicationName"], "The latest plays");
    app.heartbeat("alice", &second).await.is(202);
}

#[tokio::test]
async fn several_codes_end_several_sessions_and_a_refusal_ends_none() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = Adobe::start(&installation, &APPLICATIONS, POLICIES).await;
    let (app, backend) = (adobe.application("two"), installation.backend());
    // Players without limits, over AMQP.
    let (tenant, alice, no_limits) = (tenant(), account("adobe/alice"), OpenRequest::default());
    let mut all = Vec::new();
    for _ in 0..4 {
        let opened = backend.open(&tenant, &alice, &no_limits).await;
        all.push(opened.expect("it is opened").0);
    }
    // Two of four end, but only one of them may stay beside a new one.
    let codes: Vec<_> = all.iter().map(|id| code(&id.to_string())).collect();
    let few = format!("{}, {}", codes[0], codes[1]);
    app.open_instead("alice", &few, "").await.is(409);
    assert_eq!(playing(&backend, "adobe/alice").await, all);
    let enough = format!("{},{},{}", codes[0], codes[1], codes[2]);
    let opened = session(&app.open_instead("alice", &enough, "").await);
    assert_eq!(
        playing(&backend, "adobe/alice").await,
        [all[3], stream(&opened)]
    );
    let running = app.running("alice").await;
    let superseded = &running.json["runningStreams"][1]["metadata"]["superseded"];
    assert_eq!(superseded.as_str().expect("codes").split(',').count(), 3);
}

#[tokio::test]
async fn an_application_that_may_not_terminate_ends_no_session() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = Adobe::start(&installation, &APPLICATIONS, POLICIES).await;
    let (app, backend) = (adobe.application("careful"), installation.backend());
    let first = session(&app.open("alice", "").await);
    app.open("alice", "").await.is(202);
    let refused = app.open_instead("alice", &code(&first), "").await.is(409);
    let session = &advice(&refused)["conflicts"][&first][0];
    assert_eq!(
        (&session["terminationCode"], &session["channel"]),
        (&json!(null), &json!("Unknown"))
    );
    assert_eq!(playing(&backend, "adobe/alice").await.len(), 2);
}

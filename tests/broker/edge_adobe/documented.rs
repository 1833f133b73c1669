//! The examples of Adobe's pages, request for request.

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Adobe, advice, code, conflicts, expires_in, session, stream, text};
use crate::fixture::{Broker, Installation, PATIENCE, eventually, playing};

const DEMO: &str = r#"
    [[applications]]
    id = "demo-app"
    name = "Demo application"
    policies = ["demo-policy"]

    [[applications]]
    id = "demo-app-2"
    name = "Demo application"
    policies = ["Adobe/demo-policy-2"]

    [[policies]]
    name = "demo-policy"
    rules = [{name = "3 streams cap", message = "Number of active streams exceeded", max = 3}]

    [[policies]]
    name = "Adobe/demo-policy-2"
    rules = [{name = "2 per channel", message = "Number of streams per channel exceeded", max = 2, per = ["channel"]}]
"#;

async fn demo(installation: &Installation<'_>) -> Adobe {
    Adobe::start(installation, &["demo-app", "demo-app-2"], DEMO).await
}

#[tokio::test]
async fn the_first_application_opens_keeps_and_ends_a_session() {
    let installation = Installation::declared(Broker::shared().await, "180s").await;
    let _worker = installation.ready_worker().await;
    let adobe = demo(&installation).await;
    let app = adobe.application("demo-app");
    assert_eq!(app.metadata().await.is(200).json, json!([]));

    let opened = app.open("12345", "").await.is(202);
    let id = session(&opened);
    assert_eq!(expires_in(&opened), Some(60));
    assert_eq!(opened.header("cache-control"), Some("no-store"));
    assert_eq!(
        (opened.header("content-length"), opened.text.as_str()),
        (Some("0"), "")
    );
    assert_eq!(opened.header("content-type"), None);
    assert_eq!(
        playing(&installation.backend(), "adobe/12345").await,
        [stream(&id)]
    );

    let beaten = app.heartbeat("12345", &id).await.is(202);
    assert_eq!(
        (expires_in(&beaten), beaten.header("location")),
        (Some(60), None)
    );

    app.delete("12345", &id).await.is(202);
    assert!(
        playing(&installation.backend(), "adobe/12345")
            .await
            .is_empty()
    );
    assert_eq!(app.delete("12345", &id).await.is(410).text, "");
    assert_eq!(app.heartbeat("12345", &id).await.is(410).text, "");
}

#[tokio::test]
async fn the_running_streams_of_a_subject_are_listed() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = demo(&installation).await;
    let app = adobe.application("demo-app");
    let none = app.running("12345").await.is(200);
    assert_eq!(none.json, json!({"runningStreams": [], "otherStreams": 0}));
    assert_eq!(
        none.header("content-type"),
        Some("application/json;charset=utf-8")
    );
    assert_eq!(expires_in(&none), None);

    let id = session(&app.open("12345", "package=premium").await);
    let one = app.running("12345").await.is(200);
    let expected = json!({"runningStreams": [{
        "sessionId": id,
        "startTime": one.json["runningStreams"][0]["startTime"],
        "applicationId": "demo-app",
        "applicationName": "Demo application",
        "terminationCode": code(&id),
        "metadata": {"package": "premium"},
    }]});
    assert_eq!(one.json, expected);
    assert!(one.json["runningStreams"][0]["startTime"].as_i64() > Some(1_700_000_000_000));
    let expires = expires_in(&one).expect("an expiry");
    assert!((50..=60).contains(&expires), "{expires}");
}

#[tokio::test]
async fn the_fourth_session_is_a_conflict_until_it_terminates_another() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = demo(&installation).await;
    let app = adobe.application("demo-app");
    let mut ids = Vec::new();
    for form in [
        "package=premium&show=x",
        "deviceName=The+tablet&channel=7",
        "",
    ] {
        ids.push(session(&app.open("12345", form).await));
    }
    let refused = app.open("12345", "").await.is(409);
    assert_eq!(refused.json["obligations"], json!([]));
    let advice = advice(&refused);
    for (field, value) in [
        ("type", json!("rule-violation")),
        ("message", json!("Number of active streams exceeded")),
        ("policyName", json!("demo-policy")),
        ("ruleName", json!("3 streams cap")),
        ("threshold", json!(3)),
    ] {
        assert_eq!(advice[field], value, "{field}");
    }
    let started = &advice["conflicts"][&ids[0]][0]["startedAt"];
    let first = json!([{
        "terminationCode": code(&ids[0]),
        "metadata": {"package": "premium", "show": "x"},
        "channel": "Unknown",
        "startedAt": started,
        "deviceName": "Unknown",
        "applicationName": "Demo application",
    }]);
    assert_eq!(advice["conflicts"][&ids[0]], first);
    assert_eq!(advice["conflicts"][&ids[1]][0]["deviceName"], "The tablet");
    assert_eq!(advice["conflicts"][&ids[1]][0]["channel"], "7");
    assert_eq!(
        playing(&installation.backend(), "adobe/12345").await.len(),
        3
    );

    let form = "deviceName=The+television";
    let successor = session(&app.open_instead("12345", &code(&ids[1]), form).await);
    let streams: Vec<_> = [&ids[0], &ids[2], &successor].map(|id| stream(id)).into();
    assert_eq!(
        playing(&installation.backend(), "adobe/12345").await,
        streams
    );
    let running = app.running("12345").await.json;
    assert_eq!(
        running["runningStreams"][2]["metadata"]["superseded"],
        code(&ids[1])
    );

    let ended = eventually(PATIENCE, "the session learns its end", async || {
        let beaten = app.heartbeat("12345", &ids[1]).await;
        if beaten.status == 410 {
            Ok(beaten)
        } else {
            Err(beaten.status)
        }
    })
    .await;
    let terminator = &super::advice(&ended)["terminator"];
    let expected = json!({
        "associatedAdvice": [{
            "type": "remote-termination",
            "message": "Another session has ended this one",
            "terminator": {
                "channel": "Unknown",
                "startedAt": terminator["startedAt"],
                "deviceName": "The television",
                "applicationName": "Demo application",
            },
        }],
        "obligations": [],
    });
    assert_eq!(ended.json, expected);
    app.heartbeat("12345", &ids[0]).await.is(202);
}

#[tokio::test]
async fn the_second_application_must_send_the_channel() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = demo(&installation).await;
    let app = adobe.application("demo-app-2");
    assert_eq!(app.metadata().await.is(200).json, json!(["channel"]));
    let refused = app.open("12345", "").await.is(400);
    let obligations = json!([{
        "namespace": "adobe.primetime.cm", "action": "refresh", "arguments": ["metadata"],
    }]);
    assert_eq!(
        refused.json,
        json!({"associatedAdvice": [], "obligations": obligations})
    );

    // In the query, and in the form.
    let path = "/v2/sessions/adobe/12345?channel=channel-1";
    let first = session(&app.send(Method::POST, path, &[], "").await);
    let second = session(&app.open("12345", "channel=channel-1").await);
    let third = app.open("12345", "channel=channel-1").await;
    let mut codes = vec![code(&first), code(&second)];
    codes.sort();
    assert_eq!(conflicts(&third), [("2 per channel".to_owned(), codes)]);
    assert_eq!(advice(&third)["policyName"], "Adobe/demo-policy-2");
    app.open("12345", "channel=channel-2").await.is(202);
}

#[tokio::test]
async fn the_201st_request_of_a_session_within_a_minute_is_throttled() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = demo(&installation).await;
    let app = adobe.application("demo-app");
    let (one, other) = (app.open("12345", "").await, app.open("12345", "").await);
    let (one, other) = (session(&one), session(&other));
    let all = join_all((0..201).map(|_| app.heartbeat("12345", &one))).await;
    let (accepted, throttled): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.status == 202);
    assert_eq!((accepted.len(), throttled.len()), (200, 1));
    assert_eq!((throttled[0].status, throttled[0].text.as_str()), (429, ""));
    let wait = expires_in(&throttled[0]).expect("an expiry");
    assert!((1..=60).contains(&wait), "{wait}");
    app.delete("12345", &one).await.is(429);
    app.heartbeat("12345", &other).await.is(202);
    // Sessions of a subject have a count of their own.
    app.open("12345", "").await.is(202);
}

#[tokio::test]
async fn version_1_opens_keeps_checks_and_stops_a_stream() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = demo(&installation).await;
    let path = "/v1/demo-app/MVPD_ID/accounts/12345/streams";
    let form = [(
        "content-type",
        "application/x-www-form-urlencoded; charset=UTF-8",
    )];
    let body = "programmer=PROGRAMMER_ID&device_id=30fe8d0f&channel=CHANNEL";
    let post = |path: String| {
        let edge = &adobe.edge;
        async move { edge.send(Method::POST, &path, &form, "").await }
    };
    let opened = adobe
        .edge
        .send(Method::POST, path, &form, body)
        .await
        .is(201);
    let id = text(&opened.json["streamId"]);
    let url = format!("http://edge{path}/{id}");
    assert_eq!(opened.header("location"), Some(url.as_str()));
    for (name, value) in [
        ("expires", "0"),
        ("access-control-allow-origin", "*"),
        ("content-type", "application/json;charset=utf-8"),
    ] {
        assert_eq!(opened.header(name), Some(value), "{name}");
    }
    let resource = |start: &Value, is_compliant: bool| {
        json!({
            "_links": {
                "self": {"href": url},
                "heartbeat": {"href": format!("{url}{{?event}}"), "templated": true},
            },
            "streamId": id,
            "streamStart": start,
            "policyCompliant": is_compliant,
        })
    };
    let start = &opened.json["streamStart"];
    assert!(start.as_i64() > Some(1_700_000_000_000));
    assert_eq!(opened.json, resource(start, true));
    assert_eq!(
        playing(&installation.backend(), "MVPD_ID/12345").await,
        [stream(&id)]
    );

    let beaten = post(format!("{path}/{id}?event=alive")).await.is(202);
    assert_eq!(
        (beaten.text.as_str(), beaten.header("expires")),
        ("", Some("0"))
    );
    let of_it = format!("{path}/{id}");
    assert_eq!(
        adobe.edge.get(&of_it).await.is(200).json,
        resource(start, true)
    );
    let listed = adobe
        .edge
        .get(&format!("{path}?fields=channel,mvpd,application"))
        .await
        .is(200);
    let expected = json!([{
        "streamId": id, "streamStart": start, "channel": "CHANNEL", "mvpd": "MVPD_ID",
        "application": "demo-app",
    }]);
    assert_eq!(listed.json["streams"], expected);
    let of_account = path.trim_end_matches("/streams");
    let activity = adobe
        .edge
        .get(&format!("{of_account}/activity?dimensions=channel,x"))
        .await;
    let counts = (&activity.json["streams"], &activity.json["by"]);
    assert_eq!(
        counts,
        (&json!(1), &json!({"channel": {"CHANNEL": 1}, "x": {}}))
    );

    post(format!("{path}/{id}?event=stop")).await.is(202);
    assert!(
        playing(&installation.backend(), "MVPD_ID/12345")
            .await
            .is_empty()
    );
    assert_eq!(
        adobe.edge.get(&of_it).await.is(200).json["policyCompliant"],
        false
    );
    post(format!("{path}/{id}?event=x")).await.is(400);
    post(format!("{path}/f__-sE4?event=alive")).await.is(404);
}

#[tokio::test]
async fn version_1_reports_a_stream_that_a_policy_blocks_as_not_compliant() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let adobe = demo(&installation).await;
    let path = "/v1/demo-app/MVPD_ID/accounts/12345/streams";
    for _ in 0..3 {
        let opened = adobe.edge.post(path, "").await.is(201);
        assert_eq!(opened.json["policyCompliant"], true);
    }
    let blocked = adobe.edge.post(path, "").await.is(201);
    assert_eq!(blocked.json["policyCompliant"], false);
    assert_eq!(
        playing(&installation.backend(), "MVPD_ID/12345")
            .await
            .len(),
        3
    );
    let id = text(&blocked.json["streamId"]);
    let checked = adobe.edge.get(&format!("{path}/{id}")).await.is(200);
    assert_eq!(checked.json["policyCompliant"], false);
}

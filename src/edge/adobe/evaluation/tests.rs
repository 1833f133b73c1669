use serde_json::json;

use super::*;
use crate::{
    client::{AccountKey, GivenReason, WallTime},
    edge::adobe::displaced::displaced,
};

const IDS: [&str; 3] = [
    "0192f0c1-7a52-7b1e-9d7e-0a4ce5b2a111",
    "0192f0c4-9c10-7d55-8a31-6a1c9b3f0e22",
    "0192f0c5-0a10-7d55-8a31-6a1c9b3f0e33",
];

fn id(n: usize) -> StreamId {
    IDS[n].parse().unwrap()
}

/// An account with streams of this metadata.
fn activity(streams: &[&[(&str, &str)]]) -> Activity {
    let streams = streams.iter().enumerate().map(|(n, pairs)| ActiveStream {
        stream: id(n),
        admitted: true,
        // 2024-11-25T09:06:12.951Z
        started_at: WallTime(1_732_525_572_951),
        last_seen: WallTime(0),
        expires_in_ms: 90_000,
        metadata: Metadata::new(&mut pairs.to_vec()).unwrap(),
    });
    Activity {
        key: AccountKey::of("acme", "idp/alice").unwrap(),
        as_of: WallTime(0),
        streams: streams.collect(),
        left_out: 0,
    }
}

fn policies() -> Policies {
    let file = r#"
        [[applications]]
        id = "demo-app"
        name = "Demo application"
        policies = ["demo-policy"]

        [[applications]]
        id = "devices"
        policies = ["devices", "latest"]
        optional = ["deviceId", "contentType"]

        [[applications]]
        id = "protected"
        policies = ["demo-policy"]
        may_terminate = false

        [[policies]]
        name = "demo-policy"
        rules = [{name = "3 streams cap", message = "Too many streams", max = 3}]

        [[policies]]
        name = "devices"
        counts = "account"
        rules = [{name = "a device", max = 1, distinct = "deviceId"}]

        [[policies]]
        name = "latest"
        counts = "account"
        strategy = "fifo"
        rules = [
            {name = "any", max = 2},
            {name = "live", where = {contentType = ["live"]}, max = 1},
        ]
    "#;
    Policies::parse(file).unwrap()
}

fn conflict(limit: usize, streams: &[usize]) -> Conflict {
    Conflict {
        limit,
        streams: streams.iter().map(|n| id(*n)).collect(),
    }
}

fn with_view<T>(application: &str, test: impl FnOnce(View<'_>) -> T) -> T {
    let policies = policies();
    let application = policies.application(application).unwrap();
    test(View {
        policies: &policies,
        application,
    })
}

#[test]
fn a_violation_lists_the_sessions_by_their_ids() {
    let activity = activity(&[&[
        ("applicationId", "demo-app"),
        ("package", "premium"),
        ("show", "x"),
    ]]);
    let body = with_view("demo-app", |view| {
        let own = Metadata::new(&mut [("applicationId", "demo-app")]).unwrap();
        let applied = view.application.applied(&own);
        view.violations(&applied, &[conflict(0, &[0])], &activity)
    });
    let expected = json!({
        "associatedAdvice": [{
            "type": "rule-violation",
            "message": "Too many streams",
            "policyName": "demo-policy",
            "ruleName": "3 streams cap",
            "threshold": 3,
            "conflicts": {(IDS[0]): [{
                "terminationCode": "e5b2a111",
                "metadata": {"package": "premium", "show": "x"},
                "channel": "Unknown",
                "startedAt": "2024-11-25T09:06:12.951Z",
                "deviceName": "Unknown",
                "applicationName": "Demo application",
            }]},
        }],
        "obligations": [],
    });
    assert_eq!(body, expected);
}

#[test]
fn a_violation_of_distinct_values_lists_the_sessions_by_value() {
    let activity = activity(&[&[("deviceId", "a")], &[("deviceId", "a")], &[]]);
    let body = with_view("devices", |view| {
        let applied = view.application.applied(&Metadata::default());
        view.violations(&applied, &[conflict(0, &[0, 1, 2])], &activity)
    });
    let advice = &body["associatedAdvice"][0];
    assert_eq!(advice["attribute"], "deviceId");
    let conflicts = advice["conflicts"].as_object().unwrap();
    let sizes: Vec<_> = conflicts
        .iter()
        .map(|(k, v)| (&**k, v.as_array().unwrap().len()))
        .collect();
    assert_eq!(sizes, [(IDS[2], 1), ("a", 2)]);
}

#[test]
fn an_application_that_may_not_terminate_gets_no_codes() {
    let activity = activity(&[&[]]);
    let text = with_view("protected", |view| {
        let own = Metadata::new(&mut [("applicationId", "protected")]).unwrap();
        let applied = view.application.applied(&own);
        let violations = view.violations(&applied, &[conflict(0, &[0])], &activity);
        format!("{violations} {}", view.running(&activity))
    });
    assert!(
        text.contains(IDS[0]) && !text.contains("terminationCode"),
        "{text}"
    );
}

#[test]
fn a_session_that_a_policy_has_ended_gets_the_rules_that_are_full() {
    let names = |activity: &Activity, successor| {
        let body = with_view("devices", |view| view.replaced(successor, activity));
        let advices = body["associatedAdvice"].as_array().unwrap().clone();
        let name = |advice: &Value| advice["ruleName"].as_str().unwrap().to_owned();
        advices.iter().map(name).collect::<Vec<_>>()
    };
    let live: &[(&str, &str)] = &[("contentType", "live")];
    assert_eq!(names(&activity(&[live]), id(0)), ["live"]);
    assert_eq!(names(&activity(&[&[], live]), id(1)), ["any", "live"]);
    assert_eq!(names(&activity(&[&[], &[]]), id(1)), ["any"]);
    // The successor has ended meanwhile.
    assert_eq!(names(&activity(&[]), id(1)), ["any"]);
}

#[test]
fn an_ended_session_gets_its_successor() {
    let activity = activity(&[&[("applicationId", "demo-app"), ("deviceName", "The tablet")]]);
    with_view("demo-app", |view| {
        let body = view.ended(&EndedBy::Termination(id(0)), &activity).unwrap();
        let expected = json!({
            "associatedAdvice": [{
                "type": "remote-termination",
                "message": "Another session has ended this one",
                "terminator": {
                    "channel": "Unknown",
                    "startedAt": "2024-11-25T09:06:12.951Z",
                    "deviceName": "The tablet",
                    "applicationName": "Demo application",
                },
            }],
            "obligations": [],
        });
        assert_eq!(body, expected);
        // A session that has ended too: its id states its start.
        let body = view.ended(&EndedBy::Termination(id(1)), &activity).unwrap();
        let terminator = &body["associatedAdvice"][0]["terminator"];
        assert_eq!(terminator["deviceName"], "Unknown");
        assert!(
            terminator["startedAt"]
                .as_str()
                .unwrap()
                .starts_with("2024-11")
        );
        let kicked = EndedBy::Backend(GivenReason::new("kicked by support").unwrap());
        let body = view.ended(&kicked, &activity).unwrap();
        assert_eq!(body["associatedAdvice"][0]["message"], "kicked by support");
        assert_eq!(view.ended(&EndedBy::Unstated, &activity), None);
    });
}

#[test]
fn running_sessions_have_all_metadata_and_their_codes() {
    let two = activity(&[
        &[
            ("applicationId", "demo-app"),
            ("package", "premium"),
            ("superseded", "ab1a9d54"),
        ],
        &[],
    ]);
    with_view("demo-app", |view| {
        let expected = json!({"runningStreams": [
            {
                "sessionId": IDS[0],
                "startTime": 1_732_525_572_951_i64,
                "applicationId": "demo-app",
                "applicationName": "Demo application",
                "terminationCode": "e5b2a111",
                "metadata": {"package": "premium", "superseded": "ab1a9d54"},
            },
            {
                "sessionId": IDS[1],
                "startTime": 1_732_525_572_951_i64,
                "applicationId": "Unknown",
                "applicationName": "Unknown",
                "terminationCode": "9b3f0e22",
                "metadata": {},
            },
        ]});
        assert_eq!(view.running(&two), expected);
        let none = json!({"runningStreams": [], "otherStreams": 0});
        assert_eq!(view.running(&activity(&[])), none);
    });
}

#[test]
fn missing_metadata_obliges_to_refresh_the_list() {
    let expected = json!({
        "associatedAdvice": [],
        "obligations": [{
            "namespace": "adobe.primetime.cm",
            "action": "refresh",
            "arguments": ["metadata"],
        }],
    });
    assert_eq!(refresh_metadata(), expected);
}

#[test]
fn the_oldest_give_way_only_if_no_rule_blocks() {
    let live: &[(&str, &str)] = &[("contentType", "live")];
    let activity = activity(&[live, &[], live]);
    let own = Metadata::new(&mut live.to_vec()).unwrap();
    with_view("devices", |view| {
        let applied = view.application.applied(&own);
        let displaced = |conflicts: &[Conflict]| displaced(&applied, conflicts, &activity);
        // Rule 0 blocks; 1 lets all streams give way, 2 those of live content.
        assert_eq!(
            displaced(&[conflict(0, &[0, 1, 2]), conflict(1, &[0, 1, 2])]),
            None
        );
        assert_eq!(
            displaced(&[conflict(1, &[0, 1, 2])]),
            Some(vec![id(0), id(1)])
        );
        assert_eq!(displaced(&[conflict(2, &[0, 2])]), Some(vec![id(0), id(2)]));
        // The streams that one rule ends count no more for the next.
        let both = [conflict(1, &[0, 1, 2]), conflict(2, &[0, 2])];
        assert_eq!(displaced(&both), Some(vec![id(0), id(1), id(2)]));
        assert_eq!(displaced(&[]), None);
    });
}

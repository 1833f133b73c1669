//! Each rule of the page for Adobe's customers, in a policy file.

use std::collections::BTreeSet;

use super::{Adobe, Application, code, conflicts, session, stream};
use crate::fixture::{Broker, Installation, PATIENCE, eventually, playing};

/// The end of an attempt to open a session. Numbers are positions of earlier ones.
#[derive(Clone, Copy)]
enum Expected {
    Opened,
    /// It is opened, and ends these.
    InsteadOf(&'static [usize]),
    /// It is refused, and these are in its way.
    Refused(&'static [usize]),
}

use Expected::{InsteadOf, Opened, Refused};

type Scenario = (&'static str, &'static [(&'static str, Expected)]);

/// By the begin of the rule on the page: the metadata of one session after another.
const SCENARIOS: [Scenario; 10] = [
    (
        "at most 3 streams of an account",
        &[
            ("", Opened),
            ("", Opened),
            ("", Opened),
            ("", Refused(&[0, 1, 2])),
        ],
    ),
    (
        "at most 1 stream, the latest plays",
        &[("", Opened), ("", InsteadOf(&[0])), ("", InsteadOf(&[1]))],
    ),
    (
        "at most 2 different devices",
        &[
            ("deviceId=a", Opened),
            ("deviceId=b", Opened),
            ("deviceId=a", Opened),
            ("deviceId=c", Refused(&[0, 1, 2])),
        ],
    ),
    (
        "at most 3 different zip codes",
        &[
            ("zipcode=95014", Opened),
            ("zipcode=95015", Opened),
            ("zipcode=95016", Opened),
            ("zipcode=95014", Opened),
            ("zipcode=10001", Refused(&[0, 1, 2, 3])),
        ],
    ),
    (
        "at most 3 streams of each device type",
        &[
            ("deviceType=tv", Opened),
            ("deviceType=phone", Opened),
            ("deviceType=phone", Opened),
            ("deviceType=phone", Opened),
            ("deviceType=phone", Refused(&[1, 2, 3])),
            ("deviceType=tv", Opened),
        ],
    ),
    (
        "at most 3 live streams",
        &[
            ("contentType=live", Opened),
            ("contentType=live", Opened),
            ("contentType=live", Opened),
            ("contentType=live", Refused(&[0, 1, 2])),
            ("contentType=vod", Opened),
        ],
    ),
    (
        "a policy for iOS alone",
        &[
            ("osType=iOS", Opened),
            ("osType=Android", Opened),
            ("osType=iOS", Refused(&[0])),
            ("osType=Android", Opened),
        ],
    ),
    (
        "live: 3 streams, latest wins",
        &[
            ("content-type=live", Opened),
            ("content-type=live", Opened),
            ("content-type=live", Opened),
            ("content-type=vod", Opened),
            ("content-type=vod", InsteadOf(&[3])),
            ("content-type=live", InsteadOf(&[0])),
        ],
    ),
    (
        "away from home",
        &[
            ("hba=false", Opened),
            ("hba=true", Opened),
            ("hba=false", Refused(&[0])),
            ("hba=true", Opened),
        ],
    ),
    (
        "several rules of one policy",
        &[
            ("deviceId=a&contentType=live", Opened),
            ("deviceId=b&contentType=vod", Opened),
            ("deviceId=b&contentType=live", Refused(&[0])),
            ("deviceId=c&contentType=vod", Refused(&[0, 1])),
            ("deviceId=b&contentType=vod", Opened),
            ("deviceId=a&contentType=vod", Opened),
            ("deviceId=a&contentType=vod", Refused(&[0, 1, 4, 5])),
        ],
    ),
];

/// The rules of the page: the text, the strategy and the rules of a policy.
fn documented() -> Vec<(String, String, String)> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/FROM-ADOBE.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let rows = page.lines().filter_map(|line| {
        let row = line.strip_prefix("| ")?.strip_suffix("` |")?;
        let (rule, rest) = row.split_once(" | `")?;
        let (strategy, rules) = rest.split_once("` | `")?;
        let is_strategy = ["lifo", "fifo"].contains(&strategy);
        is_strategy.then(|| (rule.to_owned(), strategy.to_owned(), rules.to_owned()))
    });
    rows.collect()
}

#[tokio::test]
async fn each_rule_of_the_page_decides_as_documented() {
    let rules = documented();
    assert_eq!(rules.len(), SCENARIOS.len(), "{rules:#?}");
    let installation = Installation::declared(Broker::shared().await, "120s").await;
    let _worker = installation.ready_worker().await;
    let ids: Vec<_> = (0..rules.len()).map(|n| format!("app{n}")).collect();
    let policies = rules.iter().zip(&ids).map(|((_, strategy, rules), id)| {
        format!(
            "[[applications]]\nid = \"{id}\"\npolicies = [\"{id}\"]\n\
             [[policies]]\nname = \"{id}\"\nstrategy = \"{strategy}\"\nrules = {rules}\n"
        )
    });
    let applications: Vec<_> = ids.iter().map(String::as_str).collect();
    let adobe = Adobe::start(&installation, &applications, &policies.collect::<String>()).await;
    for (begin, sessions) in SCENARIOS {
        let found: Vec<_> = rules
            .iter()
            .zip(&ids)
            .filter(|((rule, ..), _)| rule.starts_with(begin))
            .map(|(_, id)| id)
            .collect();
        assert_eq!(found.len(), 1, "{begin}");
        play(&installation, &adobe.application(found[0]), sessions).await;
    }
}

/// Opens one session after another for an account of the application's own.
async fn play(
    installation: &Installation<'_>,
    app: &Application<'_>,
    sessions: &[(&str, Expected)],
) {
    let subject = format!("viewer-of-{}", app.id);
    let backend = installation.backend();
    let mut ids: Vec<Option<String>> = Vec::new();
    let mut active = BTreeSet::new();
    for (n, (metadata, expected)) in sessions.iter().enumerate() {
        let place = format!("{subject}, session {n}");
        let response = app.open(&subject, metadata).await;
        let codes = |positions: &[usize]| {
            let named = positions
                .iter()
                .map(|n| code(ids[*n].as_deref().expect("it was opened")));
            named.collect::<BTreeSet<_>>()
        };
        match expected {
            Refused(positions) => {
                let all = conflicts(&response)
                    .into_iter()
                    .flat_map(|(_, codes)| codes);
                assert_eq!(all.collect::<BTreeSet<_>>(), codes(positions), "{place}");
                ids.push(None);
            }
            Opened | InsteadOf(_) => {
                assert_eq!(response.status, 202, "{place}: {response:?}");
                let id = session(&response);
                active.insert(stream(&id));
                ids.push(Some(id));
            }
        }
        if let InsteadOf(positions) = expected {
            for id in positions.iter().filter_map(|n| ids[*n].as_deref()) {
                active.remove(&stream(id));
            }
        }
        let playing = playing(&backend, &format!("adobe/{subject}")).await;
        assert_eq!(
            playing.into_iter().collect::<BTreeSet<_>>(),
            active,
            "{place}"
        );
    }
}

/// The walkthrough of the page about the policy decision point, with one tenant: P1 lets the latest
/// stream play, P2 blocks the third.
const TWO_POLICIES: &str = r#"
    applications = [
        {id = "app1", policies = ["P1"]},
        {id = "app2", policies = ["P1", "P2"]},
        {id = "app3", policies = ["P2"]},
    ]
    policies = [
        {name = "P1", strategy = "fifo", rules = [{name = "latest", max = 1}]},
        {name = "P2", rules = [{name = "two", max = 2}]},
    ]
"#;

#[tokio::test]
async fn policies_with_different_strategies_decide_as_in_the_walkthrough() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let all = ["app1", "app2", "app3"];
    let adobe = Adobe::start(&installation, &all, TWO_POLICIES).await;
    let [app1, app2, app3] = all.map(|id| adobe.application(id));
    let backend = installation.backend();
    let s1 = session(&app1.open("alice", "").await);
    // P1 alone is violated, and its oldest stream gives way.
    let s3 = session(&app2.open("alice", "").await);
    assert_eq!(playing(&backend, "adobe/alice").await, [stream(&s3)]);
    let s4 = session(&app3.open("alice", "").await);
    // P1 allows s5, and P2 denies it.
    let refused = app2.open("alice", "").await;
    let mut both = vec![code(&s3), code(&s4)];
    both.sort();
    let expected = [
        ("latest".to_owned(), vec![code(&s3)]),
        ("two".to_owned(), both.clone()),
    ];
    assert_eq!(conflicts(&refused), expected);
    assert_eq!(
        conflicts(&app3.open("alice", "").await),
        [("two".to_owned(), both)]
    );
    // app1 has nothing to do with P2.
    let s6 = session(&app1.open("alice", "").await);
    assert_eq!(
        playing(&backend, "adobe/alice").await,
        [stream(&s4), stream(&s6)]
    );
    for (app, ended) in [(app1, &s1), (app2, &s3)] {
        eventually(PATIENCE, "the session learns its end", async || {
            let beaten = app.heartbeat("alice", ended).await.status;
            (beaten == 409).then_some(()).ok_or(beaten)
        })
        .await;
    }
}

#[tokio::test]
async fn the_file_of_the_page_is_accepted_with_and_without_its_options() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/FROM-ADOBE.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, rest) = page.split_once("```toml\n").expect("a file");
    let (file, _) = rest.split_once("```").expect("its end");
    let lines = file
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line));
    let all = lines.collect::<Vec<_>>().join("\n");
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    for (file, required) in [
        (file, serde_json::json!([])),
        (
            &all,
            serde_json::json!(["contentType", "channel", "deviceId", "deviceName"]),
        ),
    ] {
        let adobe = Adobe::start(&installation, &["demo-app"], file).await;
        let metadata = adobe.application("demo-app").metadata().await.is(200);
        assert_eq!(metadata.json, required);
    }
}

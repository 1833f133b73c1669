//! Text from outside reaches neither a terminal nor a log line unescaped, whichever field of a
//! message and whichever command it goes through.

use lapin::{
    BasicProperties,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;
use streamwatch::client::{Metadata, OpenRequest};

use crate::fixture::{
    Broker, Finished, Installation, PATIENCE, Process, account, cli_with, eventually, tenant,
};

/// Sets a colour, clears the screen by C1 and by ESC, forges a line by CR and LF, reorders.
const HOSTILE: &str = "a\u{1b}[31m\u{9b}2J\r\nforged: ok\u{7}\u{7f}\u{85}\u{202a}\u{202b}\u{202c}\
                       \u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}b";

fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n')
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
        || ['\u{200e}', '\u{200f}', '\u{61c}', '\u{2028}', '\u{2029}'].contains(&c)
}

/// Asserts that the hostile text does not control a terminal or start a line.
fn assert_safe(what: &str, text: &str) {
    let found: String = text.chars().filter(|c| is_unsafe(*c)).collect();
    assert!(found.is_empty(), "{what} prints {found:?}: {text:?}");
    let forged = text.lines().find(|line| line.starts_with("forged"));
    assert_eq!(forged, None, "{what}: {text:?}");
}

fn assert_both_safe(what: &str, finished: &Finished) {
    assert_safe(what, &finished.stdout);
    assert_safe(what, &finished.stderr);
}

async fn prints(process: &Process, text: &str) {
    eventually(PATIENCE, "it prints", async || {
        let printed = process.stdout() + &process.stderr();
        let has = printed.contains(text);
        has.then_some(()).ok_or(printed)
    })
    .await;
}

#[tokio::test]
async fn hostile_text_in_every_field_reaches_no_terminal_unescaped() {
    let installation = Installation::declared(Broker::shared().await, "20s").await;
    let worker = installation.ready_worker().await;
    let (broker, namespace) = (installation.broker, &installation.namespace);
    let watching: Vec<_> = [
        &["watch"][..],
        &["watch", "--json"],
        &["watch", "--rejected"],
        &["watch", "--rejected", "--json"],
    ]
    .map(|arguments| (arguments, Process::spawn(broker, namespace, arguments)))
    .into();
    for (_, process) in &watching {
        prints(process, "watching").await;
    }

    let metadata = Metadata::new(&mut [(HOSTILE, HOSTILE), ("device", HOSTILE)]);
    let request = OpenRequest {
        metadata: metadata.expect("any string is metadata"),
        ..OpenRequest::default()
    };
    let backend = installation.backend().with_patience(PATIENCE);
    let name = account("alice");
    let opened = backend.open(&tenant(), &name, &request).await;
    let (stream, _) = opened.expect("a worker answers");
    // Sent by a publisher that chooses every field.
    let connection = broker.connection().await;
    let channel = connection.create_channel().await.expect("a channel opens");
    for key in [format!("acme.{HOSTILE}"), "acme.heartbeat".to_owned()] {
        let mut headers = FieldTable::default();
        headers.insert("account".into(), AMQPValue::LongString("alice".into()));
        let body = serde_json::json!({ "account": "alice", "stream": HOSTILE, HOSTILE: HOSTILE });
        let body = body.to_string();
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_app_id(HOSTILE.into())
            .with_message_id(HOSTILE.into())
            .with_correlation_id(HOSTILE.into())
            .with_reply_to(HOSTILE.into());
        let sent = channel.basic_publish(
            installation.names().exchange().into(),
            key.into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties,
        );
        sent.await.expect("it is written");
    }

    let status = ["--json", "status", "acme", "alice", "--group-by", "device"];
    let status = installation.cli(&status).await.json();
    assert!(
        status["activity"]["by"]["device"].get(HOSTILE).is_some(),
        "JSON keeps the text: {status}"
    );

    let stream = stream.to_string();
    for arguments in [
        &["status", "acme", "alice", "--group-by", "device"][..],
        &["status", "acme", "alice", "--group-by", HOSTILE],
        &["status", "acme", "alice", "--stream", stream.as_str()],
        &["init", "acme", "alice", "--max-active", "1"],
        &["heartbeat", "acme", "alice", stream.as_str()],
        &["stop", "acme", "alice", stream.as_str()],
        &["top", "--once", "--account", "acme/alice"],
        &["check"],
        &["topology", "show"],
        // The error quotes the command line.
        &[HOSTILE],
        &["status", HOSTILE, "alice"],
        &["stop", "acme", "alice", HOSTILE],
        &["init", "acme", HOSTILE],
        &["init", "acme", "alice", "--max-active", HOSTILE],
        &["status", "--log", HOSTILE, "acme", "alice"],
        &["topology", "roles", "--vhost", HOSTILE, "--tenant", "acme"],
    ] {
        let finished = installation.cli(arguments).await;
        assert_both_safe(&format!("{arguments:?}"), &finished);
        let json = [&["--json"], arguments].concat();
        let finished = installation.cli(&json).await;
        assert_both_safe(&format!("{json:?}"), &finished);
        for line in finished.stdout.lines() {
            serde_json::from_str::<Value>(line).expect("JSON");
        }
    }

    for (arguments, process) in &watching {
        let what = if arguments.contains(&"--rejected") {
            "acme."
        } else {
            "opened"
        };
        prints(process, what).await;
        assert_safe(&format!("{arguments:?}"), &process.stdout());
        assert_safe(&format!("{arguments:?}"), &process.stderr());
    }
    assert_safe("worker", &worker.stderr());
}

#[tokio::test]
async fn text_quoted_by_the_broker_reaches_no_terminal_and_no_log_line_unescaped() {
    let broker = Broker::shared().await;
    // RabbitMQ reports an unknown virtual host, and quotes it.
    let encoded: String = HOSTILE.bytes().map(|b| format!("%{b:02x}")).collect();
    let (url, _) = broker.url().rsplit_once('/').expect("a virtual host");
    let environment = [("AMQP_URL", &*format!("{url}/{encoded}"))];
    for arguments in [
        &["topology", "show"][..],
        &["status", "acme", "alice"],
        &["check"],
        &["watch"],
        &["play", "--duration", "1s"],
    ] {
        for json in [&[][..], &["--json", "--log-format", "json"]] {
            let arguments = [arguments, json].concat();
            let finished = cli_with(&environment, &arguments).await;
            assert!(!finished.status.success(), "{finished:?}");
            assert_both_safe(&format!("{arguments:?}"), &finished);
        }
    }
    for format in ["text", "json"] {
        let arguments = ["worker", "--log-format", format];
        let mut worker = Process::spawn_with(&environment, &arguments);
        prints(&worker, "RabbitMQ").await;
        worker.signal("TERM");
        worker.ended().await;
        assert_safe(format, &worker.stderr());
    }
}

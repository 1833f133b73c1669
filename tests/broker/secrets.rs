//! Passwords do not appear in output, errors or logs.

use crate::fixture::exit::{DONE, NO_TOPOLOGY, UNREACHABLE, WRONG_SETTINGS};
use crate::fixture::{
    Broker, Finished, Installation, PATIENCE, Process, cli_with, eventually, namespace,
};

const SECRET: &str = "s3cr3t-pa55word";
/// The most verbose log filter, with the messages of libraries.
const LOUDEST: &str = "trace,lapin::channel=trace,lapin::io_loop=trace,lapin::connection=trace,\
                       lapin::frames=trace,lapin::protocol=trace,amq_protocol=trace";

/// The broker's URL with another password.
fn with_password(broker: &Broker, password: &str) -> String {
    let (user, host) = broker.url().rsplit_once('@').expect("a URL with a user");
    let (user, _) = user.rsplit_once(':').expect("a user with a password");
    format!("{user}:{password}@{host}")
}

fn password(broker: &Broker) -> &str {
    let (user, _) = broker.url().rsplit_once('@').expect("a URL with a user");
    user.rsplit_once(':').expect("a user with a password").1
}

fn keeps(finished: &Finished, secret: &str) {
    for text in [&finished.stdout, &finished.stderr] {
        assert!(!text.contains(secret), "a password is shown: {finished:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_exits_with_3_and_is_not_shown() {
    let broker = Broker::shared().await;
    let url = with_password(broker, SECRET);
    for command in [
        &["status", "acme", "alice"][..],
        &["topology", "show"],
        &["topology", "declare"],
        &["--log", LOUDEST, "status", "acme", "alice"],
    ] {
        let finished = cli_with(&[("AMQP_URL", &url)], command).await;
        assert_eq!(finished.status.code(), Some(UNREACHABLE), "{finished:?}");
        keeps(&finished, SECRET);
    }
    // A worker logs it and waits, as an operator may repair it meanwhile.
    for command in [
        &["worker", "--log", LOUDEST][..],
        &["worker", "--declare", "--log", LOUDEST],
    ] {
        let mut worker = Process::spawn_with(&[("AMQP_URL", &url)], command);
        eventually(PATIENCE, "the worker is refused", async || {
            let log = worker.stderr();
            log.contains("refuses access").then_some(()).ok_or(log)
        })
        .await;
        worker.signal("TERM");
        assert_eq!(worker.ended().await.code(), Some(DONE));
        assert!(!worker.stderr().contains(SECRET), "{}", worker.stderr());
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_not_quoted() {
    let nowhere = format!("amqp://user:{SECRET}@127.0.0.1:1/%2f");
    let finished = cli_with(&[("AMQP_URL", &nowhere)], &["status", "acme", "alice"]).await;
    assert_eq!(finished.status.code(), Some(UNREACHABLE), "{finished:?}");
    assert!(
        finished.stderr.contains("amqp://user@127.0.0.1:1"),
        "{finished:?}"
    );
    keeps(&finished, SECRET);

    // A process that listens there and never responds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = silent.local_addr().expect("it has an address").port();
    let silent_url = format!("amqp://user:{SECRET}@127.0.0.1:{port}/%2f");
    let finished = cli_with(&[("AMQP_URL", &silent_url)], &["status", "acme", "alice"]).await;
    assert_eq!(finished.status.code(), Some(UNREACHABLE), "{finished:?}");
    assert!(finished.stderr.contains("cannot connect"), "{finished:?}");
    keeps(&finished, SECRET);

    for bad in [
        format!("http://user:{SECRET}@host"),
        format!("amqp://user:{SECRET}@host:port"),
        format!("amqp://user:{SECRET}@[host/%2f"),
        format!("amqp://host,amqp://user:p,{SECRET}@host"),
        format!("user:{SECRET}@host"),
    ] {
        let by_flag = cli_with(&[], &["--amqp-url", &bad, "status", "acme", "alice"]).await;
        let by_variable = cli_with(&[("AMQP_URL", &bad)], &["worker"]).await;
        for finished in [by_flag, by_variable] {
            assert_eq!(finished.status.code(), Some(WRONG_SETTINGS), "{finished:?}");
            keeps(&finished, SECRET);
        }
    }
    let help = cli_with(&[("AMQP_URL", &nowhere)], &["worker", "--help"]).await;
    assert_eq!(help.status.code(), Some(DONE), "{help:?}");
    keeps(&help, SECRET);
}

#[tokio::test]
async fn the_address_may_be_in_a_file() {
    let broker = Broker::shared().await;
    let file = std::env::temp_dir().join(format!("streamwatch-test-url-{}", namespace()));
    let path = file.to_str().expect("a path of letters");
    let show = ["topology", "show"];
    std::fs::write(&file, format!("{}\n", broker.url())).expect("a file can be written");
    let unknown = namespace();
    let environment = [("AMQP_URL_FILE", path), ("STREAMWATCH_NAMESPACE", &unknown)];
    let finished = cli_with(&environment, &show).await;
    assert_eq!(
        finished.status.code(),
        Some(NO_TOPOLOGY),
        "it connects: {finished:?}"
    );

    let both = [("AMQP_URL_FILE", path), ("AMQP_URL", broker.url())];
    let finished = cli_with(&both, &show).await;
    assert_eq!(finished.status.code(), Some(WRONG_SETTINGS), "{finished:?}");
    keeps(&finished, password(broker));

    std::fs::write(&file, format!("http://user:{SECRET}@host\n")).expect("a file can be written");
    let finished = cli_with(&environment, &show).await;
    assert_eq!(finished.status.code(), Some(WRONG_SETTINGS), "{finished:?}");
    keeps(&finished, SECRET);

    std::fs::remove_file(&file).expect("the file can be deleted");
    let finished = cli_with(&environment, &show).await;
    assert_eq!(finished.status.code(), Some(WRONG_SETTINGS), "{finished:?}");
}

#[tokio::test]
async fn the_most_verbose_log_of_a_working_installation_does_not_contain_the_password() {
    let broker = Broker::shared().await;
    let installation = Installation::declared(broker, "2s").await;
    let arguments = ["worker", "--log", LOUDEST];
    let mut worker = Process::spawn(broker, &installation.namespace, &arguments);
    eventually(PATIENCE, "it takes requests", async || {
        let log = worker.stderr();
        log.contains("consuming requests")
            .then_some(())
            .ok_or(log.len())
    })
    .await;
    let play = [
        "--log",
        LOUDEST,
        "play",
        "--duration",
        "1s",
        "--accounts",
        "2",
    ];
    let played = installation.cli(&play).await;
    assert_eq!(played.status.code(), Some(DONE), "{played:?}");
    keeps(&played, password(broker));
    worker.signal("TERM");
    assert_eq!(worker.ended().await.code(), Some(DONE));
    assert!(
        !worker.stderr().contains(password(broker)),
        "the worker logs the password"
    );
}

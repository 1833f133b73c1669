//! Health reports of a worker while its broker is unavailable and after it is back.

use std::fmt::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use streamwatch::client::StreamId;
use tokio::sync::{Mutex, oneshot};

use crate::fixture::exit::{DONE, FAILED, WRONG_SETTINGS};
use crate::fixture::{Broker, Installation, PATIENCE, Worker, cli_with, eventually, heartbeat};

/// The report of a worker in one second.
#[derive(Clone, Debug, PartialEq)]
struct Second {
    what: &'static str,
    healthz: u16,
    readyz: u16,
    ready: Option<f64>,
    lag: Option<f64>,
    streams: Option<f64>,
    reconnects: Option<f64>,
    reason: String,
}

async fn ask(worker: &Worker, what: &'static str) -> Second {
    let (healthz, _) = worker.get("/healthz").await.expect("it answers");
    let (readyz, body) = worker.get("/readyz").await.expect("it answers");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let all = worker.series().await;
    let of = |name: &str| all.get(&format!("{name}{{partition=\"00\"}}")).copied();
    let reason = &body["partitions"][0]["reason"];
    Second {
        what,
        healthz,
        readyz,
        ready: of("streamwatch_ready"),
        lag: of("streamwatch_log_lag_seconds"),
        streams: of("streamwatch_active_streams"),
        reconnects: of("streamwatch_reconnects_total"),
        reason: reason.as_str().unwrap_or_default().to_owned(),
    }
}

fn table(seconds: &[Second]) -> String {
    let mut text =
        "  s  broker    healthz readyz ready   lag streams reconnects reason\n".to_owned();
    let number = |n: Option<f64>| n.map_or("-".to_owned(), |n| n.to_string());
    for (n, s) in seconds.iter().enumerate() {
        let reason: String = s.reason.chars().take(60).collect();
        writeln!(
            text,
            "{n:>3}  {:<9} {:>7} {:>6} {:>5} {:>5.4} {:>7} {:>10} {reason}",
            s.what,
            s.healthz,
            s.readyz,
            number(s.ready),
            number(s.lag),
            number(s.streams),
            number(s.reconnects),
        )
        .expect("a string takes all");
    }
    text
}

#[tokio::test]
async fn without_a_broker_a_worker_is_live_but_not_ready_and_reports_the_age_of_its_state() {
    let broker = Broker::start().await;
    let installation = Installation::declared(&broker, "10m").await;
    broker.sync_declarations().await;
    let worker = Arc::new(installation.ready_worker().await);
    let stream = StreamId::generate();
    let beaten = heartbeat(&installation.backend(), "alice", stream).await;
    beaten.expect("it is confirmed");
    let counts_one = async || {
        let streams = worker.metric("streamwatch_active_streams", "").await;
        (streams == 1.0).then_some(()).ok_or(streams)
    };
    eventually(PATIENCE, "it counts the stream", counts_one).await;

    // Sends requests every second, independently of the broker's state.
    let what = Arc::new(Mutex::new("up"));
    let (stop, mut stopped) = oneshot::channel();
    let watching = {
        let (worker, what) = (Arc::clone(&worker), Arc::clone(&what));
        tokio::spawn(async move {
            let mut seconds = Vec::new();
            let mut timer = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    _ = timer.tick() => {}
                    _ = &mut stopped => return seconds,
                }
                let now = *what.lock().await;
                seconds.push(ask(&worker, now).await);
            }
        })
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    *what.lock().await = "killed";
    broker.kill().await;
    worker.not_ready().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    *what.lock().await = "starts";
    broker.start_again().await;
    *what.lock().await = "up again";
    eventually(PATIENCE, "it is ready again", async || {
        match worker.get("/readyz").await {
            Ok((200, _)) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    eventually(PATIENCE, "it counts the stream again", counts_one).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let _ = stop.send(());
    let seconds = watching.await.expect("asking panics nowhere");
    eprintln!("{}", table(&seconds));

    assert!(
        seconds.iter().all(|s| s.healthz == 200),
        "it was sound all the time"
    );
    // The three requests were not sent at the same moment.
    let agrees = |s: &&Second| (s.readyz == 200) == (s.ready == Some(1.0));
    assert!(seconds.iter().filter(agrees).count() + 2 >= seconds.len());
    // Once its state is fresh, its metrics are back, and it reports that it is ready.
    let away = |s: &&Second| s.ready == Some(0.0) && s.lag > Some(1.5);
    let away: Vec<_> = seconds.iter().filter(away).collect();
    assert!(away.len() >= 5, "it was not ready meanwhile");
    assert!(
        away.iter().all(|s| s.streams.is_none()),
        "and showed no old count"
    );
    let lags: Vec<f64> = away.iter().filter_map(|s| s.lag).collect();
    assert_eq!(lags.len(), away.len());
    let grew = lags.windows(2).filter(|two| two[0] < two[1]).count();
    assert!(
        grew + 2 >= lags.len(),
        "the age of its state grew: {lags:?}"
    );
    let (first, last) = (&seconds[0], seconds.last().expect("it was asked"));
    assert_eq!((first.ready, first.streams), (Some(1.0), Some(1.0)));
    assert_eq!((last.ready, last.streams), (Some(1.0), Some(1.0)));
    assert!(last.lag < Some(5.0) && last.reconnects > first.reconnects);
}

#[tokio::test]
async fn the_healthcheck_exits_with_the_worker_s_health() {
    let bare = Installation::bare(Broker::shared().await);
    let worker = bare.worker();
    let http = worker.http().to_string();
    let environment = [("STREAMWATCH_HTTP", http.as_str())];
    let url = format!("http://{http}");
    worker.reports("topology declare").await;
    // Live, but not ready.
    let sound = cli_with(&environment, &["healthcheck"]).await;
    assert_eq!((sound.exits(DONE).stdout.as_str()), "ok\n");
    let ready = cli_with(&environment, &["healthcheck", "--ready"]).await;
    assert!(
        ready.exits(FAILED).stdout.contains("topology declare"),
        "{ready:?}"
    );
    bare.declare("10m").await;
    let mut worker = worker;
    worker.ready().await;
    let by_url = ["--json", "healthcheck", "--ready", "--url", &url];
    let ready = cli_with(&[], &by_url).await;
    assert_eq!(ready.exits(DONE).json()["ok"], true);
    worker.kill().await;
    let gone = cli_with(&environment, &["healthcheck"]).await;
    assert!(
        gone.exits(FAILED).stdout.contains("cannot query"),
        "{gone:?}"
    );

    // A process that listens there and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let silent_at = silent.local_addr().expect("it has an address").to_string();
    let asked = ["healthcheck", "--timeout", "100ms"];
    let stuck = cli_with(&[("STREAMWATCH_HTTP", &silent_at)], &asked).await;
    assert!(
        stuck.exits(FAILED).stdout.contains("no answer"),
        "{stuck:?}"
    );

    for wrong in [
        &["healthcheck"][..],
        &["healthcheck", "--url", "https://host:1"],
        &["healthcheck", "--http", "nowhere"],
        &["healthcheck", "--http", "127.0.0.1:1", "--timeout", "3"],
    ] {
        cli_with(&[], wrong).await.exits(WRONG_SETTINGS);
    }
}

//! The steps of deploy/EDGE.md.

use crate::fixture::{Broker, Edge, Installation, Process};

#[tokio::test]
async fn the_documented_steps_of_two_devices_have_the_documented_results() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let edge = Edge::open_to_all(&installation, &[]).await;
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/EDGE.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, after) = page
        .split_once("documented.rs runs this block -->\n```sh\n")
        .expect("steps");
    let (steps, after) = after.split_once("```\n").expect("the end of the steps");
    let (_, after) = after.split_once("```\n").expect("results");
    let (expected, _) = after.split_once("```\n").expect("the end of the results");
    let script = format!("EDGE=http://{}\n{steps}", edge.http);
    let mut shell = Process::shell(installation.broker, &installation.namespace, &script);
    assert!(shell.ended().await.success(), "{}", shell.stderr());
    let output = shell.stdout();
    assert_eq!(output.lines().count(), expected.lines().count(), "{output}");
    for (line, expected) in output.lines().zip(expected.lines()) {
        let (start, end) = expected.split_once('…').unwrap_or((expected, ""));
        assert!(
            line.starts_with(start) && line.ends_with(end),
            "{line}\n{expected}"
        );
    }
}

//! The files in `deploy/rabbitmq`, as in production: a node boots with its configuration, plugins,
//! definitions and TLS, users authenticate by certificate, and a worker counts.

use lapin::types::AMQPValue;
use serde_json::{Value, json};

use crate::fixture::exit::{DONE, UNREACHABLE};
use crate::fixture::{
    Authority, Broker, Caller, Finished, Folder, Installation, Pair, Valid, Worker, cli_with,
    deployed,
};
use crate::tls::drop_connections;

const VHOST: &str = "streamwatch";

/// A node as an operator would run it, with TLS and client certificates on all connections.
struct Site {
    files: Folder,
    clients: Authority,
    broker: Broker,
    port: u16,
}

impl Site {
    async fn boot() -> Self {
        let files = Folder::new();
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        // The node's `ca.pem` is the authority of client certificates, a client's that of the node.
        files.write("ca.pem", clients.pem());
        files.write("servers.pem", servers.pem());
        files.write_pair("", &servers.server(&["localhost"], Valid::Now));
        let plugins = std::fs::read_to_string(deployed("enabled_plugins")).expect("a file");
        let plugins = plugins.trim().trim_matches(['[', ']', '.']).to_owned();
        let mut configuration = vec!["rabbitmq.conf", "rabbitmq-tls.conf", "definitions.json"];
        if Broker::version().await >= (4, 0) {
            configuration.push("rabbitmq-4.conf");
        }
        let configuration: Vec<_> = configuration.into_iter().map(deployed).collect();
        let tls = files.path("");
        let mut arguments = vec!["--tls", &tls, "--plugins", &plugins];
        for file in &configuration {
            arguments.extend(["--config", file.as_str()]);
        }
        let broker = Broker::start_with(&arguments).await;
        let port = broker.port("amqps").await;
        Self {
            files,
            clients,
            broker,
            port,
        }
    }

    /// Creates users without passwords, with the permissions that the program prints.
    async fn make_users(&self) {
        let arguments = [
            "--json", "topology", "roles", "--vhost", VHOST, "--tenant", "acme",
        ];
        let printed = cli_with(&[], &arguments).await;
        let mut definitions: Value = printed.exits(DONE).json();
        let users: Vec<_> = definitions["permissions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|it| json!({ "name": it["user"], "password_hash": "", "tags": [] }))
            .collect();
        definitions["users"] = json!(users);
        let file = format!("{}/users.json", self.broker.folder());
        std::fs::write(&file, definitions.to_string()).expect("it can be written");
        self.broker.ctl(&["import_definitions", &file]).await;
    }

    fn show_as(&self, name: &str, pair: &Pair) -> Vec<(&'static str, String)> {
        let [certificate, key] = self.files.write_pair(name, pair);
        let url = format!(
            "amqps://localhost:{}/{VHOST}?auth_mechanism=external",
            self.port
        );
        vec![
            ("AMQP_URL", url),
            ("AMQP_TLS_CA", self.files.path("servers.pem")),
            ("AMQP_TLS_CERT", certificate),
            ("AMQP_TLS_KEY", key),
        ]
    }

    /// The environment of a user of that name.
    fn user(&self, name: &str) -> Vec<(&'static str, String)> {
        self.show_as(name, &self.clients.client(name, Valid::Now))
    }
}

fn borrowed<'a>(environment: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    let pairs = environment.iter();
    pairs.map(|(name, value)| (*name, value.as_str())).collect()
}

async fn run(environment: &[(&'static str, String)], arguments: &[&str]) -> Finished {
    cli_with(&borrowed(environment), arguments).await
}

#[tokio::test]
async fn a_node_boots_with_the_deployed_files_and_a_worker_authenticates_by_certificate() {
    let three_workers = Site::boot().await;
    three_workers.make_users().await;
    let (operator, player) = (
        three_workers.user("streamwatch.operator"),
        three_workers.user("streamwatch.acme.player"),
    );

    // Only the first settings are missing; a declaration accepts all components.
    let log = "{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"streamwatch\">>, queue, \
               <<\"streamwatch.p00.log\">>)), \
               {rabbit_policy:name(Q), maps:get(retention, amqqueue:get_type_state(Q))}.";
    let log = three_workers.broker.ctl(&["eval", log]).await;
    assert!(
        log.contains("streamwatch.logs") && log.contains("14400000"),
        "{log}"
    );
    run(&operator, &["topology", "declare", "--ttl", "30s"])
        .await
        .exits(DONE);
    let guests = three_workers.broker.ctl(&["-q", "list_users"]).await;
    assert!(!guests.contains("guest"), "{guests}");

    let worker_files = three_workers.user("streamwatch.worker");
    let nowhere = Broker::outside("amqps://localhost".to_owned());
    let environment = [borrowed(&worker_files), vec![("STREAMWATCH_NAMESPACE", "")]].concat();
    let mut worker = Worker::start_with(&nowhere, "", &[], &environment);
    worker.ready().await;
    let opened = run(&player, &["--json", "init", "acme", "alice"]).await;
    assert_eq!(opened.exits(DONE).json()["activity"]["count"], 1);

    let ask = ["status", "acme", "alice"];
    let refused = async |environment: &[(&'static str, String)], says: &str| {
        run(environment, &ask)
            .await
            .exits(UNREACHABLE)
            .reports(says);
    };
    refused(&player[..2], "RabbitMQ demands a client certificate").await;
    let expired = three_workers
        .clients
        .client("streamwatch.acme.player", Valid::Before);
    refused(
        &three_workers.show_as("expired", &expired),
        "it has expired; renew it",
    )
    .await;
    let untrusted = Authority::new("clients").client("streamwatch.acme.player", Valid::Now);
    refused(
        &three_workers.show_as("untrusted", &untrusted),
        "does not accept the certificate",
    )
    .await;
    refused(&three_workers.user("nobody"), "RabbitMQ refuses access").await;

    // The worker reads its files again at each connection.
    three_workers.show_as("streamwatch.worker", &expired);
    drop_connections(&three_workers.broker).await;
    worker.reports("it has expired; renew it").await;
    three_workers.user("streamwatch.worker");
    worker.ready().await;
    let status = run(&player, &["--json", "status", "acme", "alice"]).await;
    assert_eq!(status.exits(DONE).json()["activity"]["count"], 1);
}

#[tokio::test]
async fn several_partitions_are_imported_and_the_other_components_declared() {
    let broker = Broker::start().await;
    let bare = Installation::bare(&broker);
    let print = [
        "topology",
        "show",
        "--definitions",
        "--partitions",
        "4",
        "--vhost",
        "/",
    ];
    let printed = bare.cli(&print).await;
    let file = format!("{}/{}.json", broker.folder(), bare.namespace);
    std::fs::write(&file, &printed.exits(DONE).stdout).expect("it can be written");
    broker.ctl(&["import_definitions", &file]).await;

    // The number of partitions is that of the logs; the settings are added.
    let declared = bare
        .cli(&["--json", "topology", "declare", "--ttl", "30s"])
        .await;
    assert_eq!(declared.exits(DONE).json()["settings"]["partitions"], 4);
    let shown = bare
        .cli(&["topology", "show", "--definitions", "--vhost", "/"])
        .await;
    assert_eq!(shown.exits(DONE).stdout, printed.stdout);
    let _worker = bare.ready_worker().await;
    for name in ["alice", "bob", "carol", "dave"] {
        let opened = bare.cli(&["--json", "init", "acme", name]).await;
        assert_eq!(opened.exits(DONE).json()["activity"]["count"], 1);
    }
}

#[tokio::test]
async fn rabbitmq_replaces_a_senders_time_of_arrival() {
    if Broker::version().await < (4, 0) {
        return;
    }
    let configuration = deployed("rabbitmq-4.conf");
    let broker = Broker::start_with(&["--config", &configuration]).await;
    let installation = Installation::declared(&broker, "30s").await;
    let _worker = installation.ready_worker().await;
    let mut caller = Caller::new(&installation).await;
    let long_ago = [("timestamp_in_ms", AMQPValue::LongLongInt(1))];
    let reply = caller.ask("init", "alice", long_ago).await;
    let reply: Value = serde_json::from_slice(&reply.data).expect("JSON");
    assert_eq!(reply["type"], "opened", "{reply}");
}

#[tokio::test]
async fn the_example_definitions_equal_those_that_the_program_prints() {
    let arguments = ["topology", "show", "--definitions", "--partitions", "1"];
    let printed = cli_with(&[], &arguments).await;
    let committed = std::fs::read_to_string(deployed("definitions.json")).expect("a file");
    assert_eq!(
        printed.exits(DONE).stdout,
        committed,
        "write the file again"
    );
}

//! TLS with a real listener: trusted certificates, and the errors for others.

use streamwatch::client::{Addresses, Backend, Client, Tls};

use crate::fixture::exit::{DONE, UNREACHABLE, WRONG_SETTINGS};
use crate::fixture::{
    Authority, Broker, Finished, Folder, Installation, Valid, Worker, account, cli_with, streams,
    tenant,
};

const SHOW: [&str; 2] = ["topology", "declare"];

/// A node with a plain listener, and a TLS listener that requests no client certificate.
struct Site {
    files: Folder,
    authority: Authority,
    broker: Broker,
}

impl Site {
    async fn start() -> Self {
        let (files, authority) = (Folder::new(), Authority::new("tests"));
        files.write("ca.pem", authority.pem());
        files.write_pair("", &authority.server(&["localhost"], Valid::Now));
        let broker = Broker::start_with(&["--tls", &files.path("")]).await;
        Self {
            files,
            authority,
            broker,
        }
    }

    async fn url(&self, host: &str) -> String {
        let port = self.broker.port("amqps").await;
        format!("amqps://{}@{host}:{port}/%2f", self.broker.user())
    }

    /// Replaces the server's certificate, and closes existing connections.
    async fn serve(&self, authority: &Authority, names: &[&str], valid: Valid) {
        let pair = authority.server(names, valid);
        let folder = format!("{}/config/tls", self.broker.folder());
        for (file, text) in [("cert.pem", &pair.certificate), ("key.pem", &pair.key)] {
            std::fs::write(format!("{folder}/{file}"), text).expect("it can be written");
        }
        drop_connections(&self.broker).await;
    }
}

/// Makes the server read its files again, and closes every connection.
pub async fn drop_connections(broker: &Broker) {
    let end = "ssl:clear_pem_cache(), [rabbit_networking:close_connection(Pid, \"rotated\") || \
               Pid <- rabbit_networking:connections()], ok.";
    broker.ctl(&["eval", end]).await;
}

async fn declare(url: &str, environment: &[(&str, &str)]) -> Finished {
    let environment = [&[("AMQP_URL", url)], environment].concat();
    cli_with(&environment, &SHOW).await
}

#[tokio::test]
async fn each_problem_of_a_server_s_tls_is_reported_with_its_remedy() {
    let three_workers = Site::start().await;
    let ca = three_workers.files.path("ca.pem");
    let url = three_workers.url("localhost").await;
    let refused = async |url: &str, ca: Option<&str>, says: &str| {
        let ca = ca.map(|ca| ("AMQP_TLS_CA", ca));
        let declared = declare(url, ca.as_slice()).await;
        declared.exits(UNREACHABLE).reports(says);
        assert!(!declared.stderr.contains("Error"), "no dump: {declared:?}");
    };
    declare(&url, &[("AMQP_TLS_CA", &ca)]).await.exits(DONE);

    // The certificate is not signed by an authority of the system, or the system has none.
    refused(&url, None, "--tls-ca").await;
    let stranger = three_workers
        .files
        .write("stranger.pem", Authority::new("tests").pem());
    refused(
        &url,
        Some(&stranger),
        "is not signed by a trusted authority",
    )
    .await;
    let by_number = three_workers.url("127.0.0.1").await;
    refused(
        &by_number,
        Some(&ca),
        "is not for the host in the address, 127.0.0.1",
    )
    .await;

    let to_plain_port = three_workers.broker.url().replace("amqp://", "amqps://");
    let to_plain_port = to_plain_port.replace("127.0.0.1", "localhost");
    refused(&to_plain_port, Some(&ca), "does not use TLS").await;
    let plainly = url.replace("amqps://", "amqp://");
    refused(&plainly, None, "use amqps://").await;

    three_workers
        .serve(&three_workers.authority, &["localhost"], Valid::Before)
        .await;
    refused(&url, Some(&ca), "has expired").await;
    three_workers
        .serve(&three_workers.authority, &["localhost"], Valid::Later)
        .await;
    refused(&url, Some(&ca), "is not valid yet").await;
}

#[tokio::test]
async fn unusable_files_are_wrong_settings() {
    let files = Folder::new();
    let authority = Authority::new("tests");
    let ca = files.write("ca.pem", authority.pem());
    let [cert, key] = files.write_pair("", &authority.client("user", Valid::Now));
    let other = authority.client("other", Valid::Now);
    let other_key = files.write("other-key.pem", &other.key);
    let locked = files.write(
        "locked.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let missing = files.path("missing.pem");
    let (ca, cert, key) = (("AMQP_TLS_CA", &*ca), ("AMQP_TLS_CERT", &*cert), &*key);
    let key = ("AMQP_TLS_KEY", key);
    let secure = "amqps://user:s3cret@localhost/%2f";
    for (url, environment, says) in [
        (
            secure,
            &[("AMQP_TLS_CA", &*missing)][..],
            "--tls-ca (AMQP_TLS_CA): cannot read",
        ),
        (
            secure,
            &[("AMQP_TLS_CA", key.1)],
            "has no certificate in PEM form",
        ),
        (secure, &[ca, cert], "give both, or neither"),
        (
            secure,
            &[ca, cert, ("AMQP_TLS_KEY", cert.1)],
            "has no key in PEM form",
        ),
        (
            secure,
            &[ca, cert, ("AMQP_TLS_KEY", &locked)],
            "remove its passphrase",
        ),
        (
            secure,
            &[ca, cert, ("AMQP_TLS_KEY", &other_key)],
            "do not match",
        ),
        (
            "amqp://user:s3cret@localhost/%2f",
            &[ca],
            "they need an amqps:// address",
        ),
    ] {
        let finished = declare(url, environment).await;
        finished.exits(WRONG_SETTINGS).reports(says);
        assert!(!finished.stderr.contains("s3cret"), "{finished:?}");
    }
}

/// A worker connects, serves, loses its connection to a server with another certificate, logs the
/// reason, and reconnects without a restart when its own file has the new authority.
#[tokio::test]
async fn a_rotated_server_certificate_and_authority_are_picked_up_without_a_restart() {
    let three_workers = Site::start().await;
    let url = three_workers.url("localhost").await;
    let secure = Broker::outside(url.clone());
    let bare = Installation::bare(&secure);
    let ca = three_workers.files.path("ca.pem");
    let environment = [("AMQP_TLS_CA", ca.as_str())];
    let mut worker = Worker::start_with(&secure, &bare.namespace, &["--declare"], &environment);
    worker.ready().await;

    three_workers
        .serve(&three_workers.authority, &["localhost"], Valid::Before)
        .await;
    worker.reports("has expired").await;
    let next = Authority::new("tests, next year");
    three_workers.serve(&next, &["localhost"], Valid::Now).await;
    worker.reports("is not signed by a trusted authority").await;
    three_workers.files.write("ca.pem", next.pem());
    worker.ready().await;

    // The client library does the same.
    let tls = Tls {
        ca: Some(ca.into()),
        ..Tls::default()
    };
    let addresses: Addresses = url.parse().expect("an address");
    let client = Client::connect(addresses.with_tls(tls), bare.names());
    let backend = Backend::new(client);
    let asked = backend
        .status(&tenant(), &account("alice"), &Default::default())
        .await;
    assert!(streams(&asked.expect("it answers")).is_empty());
}

//! Keys of tokens at a URL.

use axum::http::Method;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::key_server::KeyServer;
use super::tokens::{LATER, SECRET};
use crate::fixture::{Authority, Broker, Edge, Folder, Installation, PATIENCE, eventually};

/// A key pair and its id.
struct Signer {
    id: &'static str,
    pair: Ed25519KeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).expect("a key");
        Self { id, pair }
    }

    /// The public key of a set.
    fn key(&self) -> Value {
        let public = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.id, "use": "sig", "x": public})
    }

    /// The status of a request of `alice` with a token of this key.
    async fn status(&self, edge: &Edge) -> u16 {
        let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let header = part(json!({"alg": "EdDSA", "kid": self.id}));
        let signed = format!("{header}.{}", part(json!({"sub": "alice", "exp": LATER})));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        let bearer = format!("Bearer {signed}.{signature}");
        let headers = [("authorization", &*bearer)];
        let path = "/api/v1/accounts/alice";
        edge.send(Method::GET, path, &headers, "").await.status
    }
}

fn tokens(urls: &[&str]) -> String {
    let tables = urls
        .iter()
        .map(|url| format!("[[tokens]]\ntenant = \"acme\"\njwks_url = \"{url}\"\n"));
    tables.collect()
}

/// Waits until the log contains this text.
async fn logs(edge: &Edge, text: &str) {
    eventually(PATIENCE, text, async || {
        let log = edge.process.stderr();
        log.contains(text).then_some(()).ok_or(log)
    })
    .await;
}

#[tokio::test]
async fn keys_are_read_over_https_and_from_no_other_server() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let (folder, trusted, other) = (Folder::new(), Authority::new("a"), Authority::new("b"));
    let authorities = folder.write("ca.pem", trusted.pem());
    let server = KeyServer::start(&trusted).await;
    let stranger = KeyServer::start(&other).await;
    let [good, large, elsewhere, untrusted] =
        ["good", "large", "elsewhere", "untrusted"].map(Signer::new);
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    server.serve("/good", &[good.key()], 0);
    server.serve("/large", &[large.key()], 300 * 1_024);
    server.serve("/elsewhere", &[elsewhere.key()], 0);
    server.serve(
        "/secret",
        &[json!({"kty": "oct", "kid": "k", "k": secret})],
        0,
    );
    server.fail("/moved", "302 Found\r\nlocation: /elsewhere");
    stranger.serve("/keys", &[untrusted.key()], 0);
    let (at, strange) = (server.port, stranger.port);
    let bad = [
        (
            format!("https://localhost:{at}/large"),
            "length limit exceeded",
        ),
        (
            format!("https://localhost:{at}/moved"),
            "the server responded with status 302",
        ),
        (
            format!("https://localhost:{at}/secret"),
            "the key set has no key with a kid",
        ),
        (format!("https://localhost:{strange}/keys"), "UnknownIssuer"),
        // Its certificate has another name.
        (
            format!("https://127.0.0.1:{at}/elsewhere"),
            "not valid for name",
        ),
        (
            "http://keys.example.com/".to_owned(),
            "the URL must start with https://",
        ),
    ];
    let well = format!("https://localhost:{at}/good");
    let mut urls: Vec<_> = bad.iter().map(|(url, _)| url.as_str()).collect();
    urls.push(&well);
    let access = folder.write("access.toml", &tokens(&urls));
    let environment = [("SSL_CERT_FILE", &*authorities)];
    let edge = Edge::start_with(&installation, &["--access", &access], &environment);
    for (url, problem) in &bad {
        logs(&edge, url).await;
        let log = edge.process.stderr();
        let line = log.lines().find(|line| line.contains(url));
        assert!(line.is_some_and(|line| line.contains(problem)), "{line:?}");
        assert!(line.is_some_and(|line| line.contains("WARN")), "{line:?}");
    }
    eventually(PATIENCE, "the keys are in force", async || {
        let status = good.status(&edge).await;
        (status == 200).then_some(()).ok_or(status)
    })
    .await;
    // Some tokens cannot be verified yet.
    assert_eq!(edge.readiness().await, Some(503));
    for signer in [&large, &elsewhere, &untrusted] {
        assert_eq!(signer.status(&edge).await, 401, "{}", signer.id);
    }
    let unknown = edge
        .metric("streamwatch_edge_refused_total", "unknown_key")
        .await;
    assert!(unknown >= 3.0, "{unknown}");

    // A server that fails later changes nothing, until it is well again.
    server.fail("/good", "500 Internal Server Error");
    folder.write("access.toml", &(tokens(&[&well]) + "audience = \"x\"\n"));
    logs(&edge, "the server responded with status 500").await;
    folder.write("access.toml", &tokens(&[&well]));
    eventually(PATIENCE, "the keys read before are in force", async || {
        let status = good.status(&edge).await;
        (status == 200).then_some(()).ok_or(status)
    })
    .await;
    assert_eq!(edge.readiness().await, Some(200));
}

#[tokio::test]
#[ignore = "it takes a minute: `tests/run --all`"]
async fn keys_are_rotated_without_a_restart_beside_a_server_that_never_responds() {
    let installation = Installation::declared(Broker::shared().await, "60s").await;
    let _worker = installation.ready_worker().await;
    let (folder, authority) = (Folder::new(), Authority::new("a"));
    let authorities = folder.write("ca.pem", authority.pem());
    let server = KeyServer::start(&authority).await;
    let [first, second] = ["2026-11", "2026-12"].map(Signer::new);
    server.serve("/keys", &[first.key()], 0);
    server.set("/slow", None);
    let urls = ["slow", "keys"].map(|path| format!("https://localhost:{}/{path}", server.port));
    let access = folder.write("access.toml", &tokens(&urls.each_ref().map(String::as_str)));
    let environment = [("SSL_CERT_FILE", &*authorities)];
    let edge = Edge::start_with(&installation, &["--access", &access], &environment);
    eventually(PATIENCE, "the edge serves", async || {
        edge.readiness().await.ok_or("nothing")
    })
    .await;
    eventually(PATIENCE, "the keys are in force", async || {
        let status = first.status(&edge).await;
        (status == 200).then_some(()).ok_or(status)
    })
    .await;
    assert!(edge.process.stderr().contains("no response within 10s"));

    server.serve("/keys", &[first.key(), second.key()], 0);
    eventually(2 * PATIENCE, "the new key is in force", async || {
        let status = second.status(&edge).await;
        (status == 200).then_some(()).ok_or(status)
    })
    .await;
    assert_eq!(first.status(&edge).await, 200);
    server.serve("/keys", &[second.key()], 0);
    eventually(2 * PATIENCE, "the old key is not in force", async || {
        let status = first.status(&edge).await;
        (status == 401).then_some(()).ok_or(status)
    })
    .await;
    assert_eq!(second.status(&edge).await, 200);
}

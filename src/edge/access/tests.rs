//! Tests of callers and their credentials.

mod tokens;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A folder with an access file.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("streamwatch-test-access-{}", uuid::Uuid::new_v4());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap();
    }

    fn access(&self, toml: &str) -> Result<Access, FileProblems> {
        self.write("access.toml", toml);
        Access::from_file(&self.0.join("access.toml"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        let value = axum::http::HeaderValue::from_bytes(value.as_bytes());
        (axum::http::HeaderName::from_static(name), value.unwrap())
    });
    pairs.collect()
}

fn basic(access: &Access, credentials: &str) -> Result<Caller, Denied> {
    let value = format!("Basic {}", STANDARD.encode(credentials));
    access.identify(&headers(&[("authorization", &value)]), PEER)
}

fn bearer(access: &Access, token: &str) -> Result<Caller, Denied> {
    let value = format!("Bearer {token}");
    access.identify(&headers(&[("authorization", &value)]), PEER)
}

fn caller(account: Scope, application: Option<&str>) -> Caller {
    Caller {
        tenant: Tenant::new("acme").unwrap(),
        account,
        application: application.map(str::to_owned),
    }
}

fn alice() -> Scope {
    Scope::One(AccountId::new("alice").unwrap())
}

#[test]
fn an_application_reaches_the_accounts_of_its_tenant() {
    let folder = Folder::new();
    folder.write("secret", "from a file\n");
    let access = folder.access(
        r#"
        applications = [
            { id = "web", tenant = "acme" },
            { id = "tv", tenant = "acme", secret = "s3cret" },
            { id = "box", tenant = "acme", secret_file = "secret" },
        ]"#,
    );
    let access = access.unwrap();
    let of = |id| Ok(caller(Scope::Any, Some(id)));
    assert_eq!(basic(&access, "web:"), of("web"));
    assert_eq!(basic(&access, "tv:s3cret"), of("tv"));
    assert_eq!(basic(&access, "box:from a file"), of("box"));
    for wrong in ["web:x", "tv:", "tv:s3cre", "tv:s3crets", "nobody:", ":"] {
        assert_eq!(basic(&access, wrong), Err(Denied::Application), "{wrong}");
    }
    assert_eq!(basic(&access, "web"), Err(Denied::Malformed));
    let malformed = headers(&[("authorization", "Basic ÿ")]);
    assert_eq!(access.identify(&malformed, PEER), Err(Denied::Malformed));
    let none = access.identify(&HeaderMap::new(), PEER);
    assert_eq!(none, Err(Denied::Missing));
    assert_eq!(access.identify_application("web"), of("web"));
    assert_eq!(access.identify_application("tv"), Err(Denied::Application));
}

#[test]
fn a_trusted_proxy_states_the_caller_and_the_client() {
    let access = Folder::new().access(
        r#"
        [proxy]
        addresses = ["127.0.0.1", "10.0.0.0/8"]
        tenant_header = "x-tenant"
        account_header = "x-account""#,
    );
    let access = access.unwrap();
    let stated = headers(&[("x-tenant", "acme"), ("x-account", "alice")]);
    let identified = access.identify(&stated, PEER);
    assert_eq!(identified, Ok(caller(alice(), None)));
    let stranger = "192.0.2.7".parse().unwrap();
    assert_eq!(access.identify(&stated, stranger), Err(Denied::Missing));
    let without = headers(&[("x-tenant", "acme")]);
    assert_eq!(access.identify(&without, PEER), Err(Denied::Missing));
    let mut twice = stated.clone();
    twice.append("x-account", axum::http::HeaderValue::from_static("bob"));
    assert_eq!(access.identify(&twice, PEER), Err(Denied::Claims));

    let client = |forwarded: &str, peer: &str| {
        let headers = headers(&[("x-forwarded-for", forwarded)]);
        access.client(&headers, peer.parse().unwrap()).to_string()
    };
    assert_eq!(
        client("198.51.100.1, 192.0.2.7, 10.0.0.2", "127.0.0.1"),
        "192.0.2.7"
    );
    assert_eq!(client("198.51.100.1", "192.0.2.7"), "192.0.2.7");
    assert_eq!(client("junk, 10.0.0.2", "127.0.0.1"), "10.0.0.2");
    assert_eq!(client("192.0.2.7:4711", "127.0.0.1"), "192.0.2.7");
    assert_eq!(client("[2001:db8::1]:4711", "127.0.0.1"), "2001:db8::1");
    assert_eq!(client("", "::ffff:127.0.0.1"), "127.0.0.1");
}

#[test]
fn mistakes_are_named_and_secrets_are_not_quoted() {
    let folder = Folder::new();
    let error = |toml: &str| folder.access(toml).map(|_| ()).unwrap_err().to_string();
    assert!(error("").contains("identifies no caller"));
    for (toml, contained) in [
        ("x = 1", "unknown field `x`"),
        (
            "\napplications = [{ id = \"a\" }]",
            "line 2: missing field `tenant`",
        ),
        (
            "applications = [{ id = \"a\", tenant = \"a b\" }]",
            "application \"a\": tenant",
        ),
        ("[[tokens]]\ntenant = \"acme\"", "needs keys"),
        (
            "[[tokens]]\ntenant = \"acme\"\njwks_file = \"none\"",
            "none: cannot read it",
        ),
        (
            "[proxy]\naddresses = [\"x\"]\ntenant = \"acme\"",
            "proxy: addresses",
        ),
    ] {
        let error = error(toml);
        assert!(error.contains(contained), "{error}");
    }
    for toml in [
        "applications = [{ id = \"a\", tenant = \"acme\", secret = 4711 }]",
        "applications = [{ id = \"a\", tenant = \"acme\", secret = \"4711 }]",
        "applications = [{ id = \"a\", tenant = \"acme\", secret = { a = \"4711\" } }]",
        "[[tokens]]\ntenant = \"acme\"\nkeys = [{ algorithm = \"HS256\", secret = \"4711\" }]",
    ] {
        let error = error(toml);
        assert!(!error.contains("4711"), "{error}");
    }
    let toml = "applications = [{ id = \"a\", tenant = \"acme\", secret = \"4711\" }]";
    let access = folder.access(toml).unwrap();
    let shown = format!("{:?}", access.rules());
    assert!(!shown.contains("4711"), "{shown}");
}

//! The decoders of an edge.

use std::sync::LazyLock;

use streamwatch::{
    client::{AccountId, StreamId, Tenant},
    edge::{
        Attributes, Policies, check_file, credentials, key_ids, status_query, termination_codes,
    },
    wire::{Addressed, MAX_BODY_BYTES},
};
use uuid::Uuid;

use super::{Target, bounded, check};

const POLICIES: &str = r#"
applications = [{id = "app", policies = ["p"], required = ["package"], same = ["device"]}]
policies = [{name = "p", rules = [{name = "r", max = 2, per = ["channel"]}]}]
"#;
const ACCESS: &str = r#"
applications = [{ id = "web", tenant = "acme", secret = "s3cret" }]
[[tokens]]
tenant_claim = "tenant"
audience = ["a", "b"]
jwks_url = "https://id.example.com/keys"
keys = [{ id = "k1", algorithm = "HS256", secret = "a secret of at least thirty-two bytes" }]
[proxy]
addresses = ["10.0.0.0/8", "::1"]
tenant_header = "x-tenant"
any_account = true
"#;

/// The bodies of requests, after a line with the idempotency key.
pub fn bodies(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (key, body) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let (tenant, account) = (Tenant::new("acme"), AccountId::new("alice"));
    let (tenant, account) = (tenant.expect("letters"), account.expect("letters"));
    let request = Addressed {
        tenant: &tenant,
        account: &account,
        body,
    };
    let stream = StreamId(Uuid::from_u128(1));
    for stream in [None, Some(stream)] {
        check(request.init(stream, Some(key)), data);
    }
    let heartbeat = request.heartbeat(stream);
    assert!(heartbeat.is_err() || body.len() <= MAX_BODY_BYTES);
    check(heartbeat, data);
}

/// Forms and queries: of a beacon, of an activity, and of Adobe's sessions.
pub fn forms(data: &[u8]) {
    static PARSED: LazyLock<Policies> =
        LazyLock::new(|| Policies::parse(POLICIES).expect("policies"));
    let (token, application) = credentials(data);
    let size = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    assert!(size(&token) + size(&application) <= data.len());
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let query = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let form = parts.next().unwrap_or_default();
    match status_query(&query) {
        Ok(decoded) => bounded(&decoded, data),
        Err(problem) => bounded(&problem, data),
    }
    let attributes = Attributes::decode(&query, form);
    let application = PARSED.application("app").expect("the application");
    let session = attributes.of_session(application, &[]).ok();
    bounded(&(attributes.lack_required(application), session), data);
    bounded(&attributes.of_heartbeat(), data);
    bounded(&termination_codes([&*query].into_iter()), data);
}

/// The files of access and of policies. A mistake quotes no secret.
pub fn files(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(problems) = Policies::parse(&text) {
        assert!(!problems.0.is_empty());
        bounded(&problems, data);
    }
    if let Err(mistake) = check_file(&text) {
        bounded(&mistake, data);
    }
}

/// A key set of a URL.
pub fn keys(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match key_ids(&text) {
        Ok(ids) => assert!(!ids.is_empty() && ids.concat().len() <= text.len()),
        Err(problem) => assert!(problem.len() < 200, "{problem}"),
    }
}

/// Every target with a few valid examples.
pub fn targets() -> Vec<Target> {
    let text = |examples: &[&str]| examples.iter().map(|e| e.as_bytes().to_vec()).collect();
    let of_bodies = text(&[
        "\n",
        "key\n{\"metadata\":{\"device\":\"tv\",\"a\":1.5,\"b\":true},\"max_active\":2}",
        r#"k
{"limits":[{"max":2,"distinct":"device","where":{"kind":["live",1,true]}}],"same":["device"],"on_limit":"replace_oldest","reason":"moved","group_by":["a"]}"#,
        r#"
{"stream":"00000000-0000-0000-0000-000000000001","replace":["0192f0c1-0000-7000-8000-000000000001"]}"#,
        "\n{\"metadata\":{\"a\":null},\"heartbeat_every_ms\":30000}",
    ]);
    let of_forms = text(&[
        "access_token=a.b-c_d&application=web%20tv",
        "group_by=device,a%2Cb&consistency=strong",
        "channel=1&package=x\nhba_status=true&deviceName=tv+1&%C3%A9=%26",
        "0a1b2c3d, \"0192f0c1-7a52-7b1e-9d7e-0a4ce5b2a111\"",
    ]);
    let of_keys = text(&[
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"b","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"},{"kty":"oct","kid":"c","k":"c2VjcmV0"}]}"#,
    ]);
    vec![
        ("edge_bodies", bodies as fn(&[u8]), of_bodies),
        ("edge_forms", forms, of_forms),
        ("edge_files", files, text(&[POLICIES, ACCESS])),
        ("edge_keys", keys, of_keys),
    ]
}

//! Tests of tokens.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use rcgen::{KeyPair, PKCS_ED25519};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use serde_json::{Value, json};

use super::{
    super::{claims, keys::VerificationKey},
    Access, AccountId, Denied, Folder, Scope, alice, bearer, caller,
};

const SECRET: &str = "a secret of at least thirty-two bytes";
/// A moment in the year 2100.
const LATER: u64 = 4_102_444_800;

fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn hs256(secret: &str) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

fn claims() -> Value {
    json!({"tenant": "acme", "sub": "alice", "exp": LATER})
}

/// Claims with one of them changed, or removed by null.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let all = claims.as_object_mut().unwrap();
    match value {
        Value::Null => all.remove(name),
        value => all.insert(name.to_owned(), value),
    };
    claims
}

fn of_tokens(folder: &Folder, more: &str) -> Access {
    let toml = format!(
        r#"
        [[tokens]]
        tenant_claim = "tenant"
        {more}
        keys = [{{ id = "k1", algorithm = "HS256", secret = "{SECRET}" }}]"#
    );
    folder.access(&toml).unwrap()
}

#[test]
fn a_token_reaches_its_account_alone() {
    let access = of_tokens(&Folder::new(), "application_claim = \"azp\"");
    let header = json!({"alg": "HS256", "kid": "k1"});
    let own = token(&header, &with("azp", json!("web")), hs256(SECRET));
    let caller = bearer(&access, &own).unwrap();
    assert_eq!(caller, self::caller(alice(), Some("web")));
    assert!(caller.reaches(&AccountId::new("alice").unwrap()));
    assert!(!caller.reaches(&AccountId::new("bob").unwrap()));
    assert_eq!(access.identify_token(&own), Ok(caller));
}

#[test]
fn a_token_is_denied_for_each_wrong_part() {
    let access = of_tokens(
        &Folder::new(),
        "issuer = \"https://id\"\naudience = [\"sw\", \"x\"]",
    );
    let header = json!({"alg": "HS256", "kid": "k1"});
    let good = json!({"tenant": "acme", "sub": "alice", "exp": LATER, "iss": "https://id",
        "aud": ["y", "sw"], "nbf": 1});
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        bearer(&access, &token(&header, &claims, hs256(SECRET)))
    };
    assert_eq!(changed("aud", json!("sw")), Ok(caller(alice(), None)));
    for (name, value, denied) in [
        ("exp", json!(1), Denied::Expired),
        ("exp", Value::Null, Denied::Expired),
        ("exp", json!("never"), Denied::Expired),
        ("nbf", json!(LATER), Denied::NotYetValid),
        ("iss", json!("https://other"), Denied::Issuer),
        ("iss", Value::Null, Denied::Issuer),
        ("aud", json!("z"), Denied::Audience),
        ("aud", Value::Null, Denied::Audience),
        ("tenant", json!("a.b"), Denied::Claims),
        ("tenant", json!(7), Denied::Claims),
        ("sub", Value::Null, Denied::Claims),
        ("sub", json!("a\nb"), Denied::Claims),
        ("sub", json!(""), Denied::Claims),
    ] {
        assert_eq!(changed(name, value.clone()), Err(denied), "{name} {value}");
    }
    let of =
        |header: Value, secret| bearer(&access, &token(&header, &good, hs256(secret))).unwrap_err();
    let wrong = "another secret of thirty-two bytes or so";
    assert_eq!(of(header.clone(), wrong), Denied::Signature);
    assert_eq!(
        of(json!({"alg": "none", "kid": "k1"}), SECRET),
        Denied::Algorithm
    );
    assert_eq!(
        of(json!({"alg": "HS512", "kid": "k1"}), SECRET),
        Denied::Algorithm
    );
    assert_eq!(
        of(json!({"alg": "HS256", "kid": "k2"}), SECRET),
        Denied::Key
    );
    assert_eq!(of(json!({"alg": "HS256"}), SECRET), Denied::Key);
    for malformed in ["", "a", "a.b", "a.b.c", "....", "e30.e30."] {
        assert_eq!(
            bearer(&access, malformed),
            Err(Denied::Malformed),
            "{malformed}"
        );
    }
    let extended = json!({"alg": "HS256", "kid": "k1", "crit": ["b64"], "b64": false});
    assert_eq!(of(extended, SECRET), Denied::Malformed);
    let unsigned = token(&json!({"alg": "none", "kid": "k1"}), &good, |_| Vec::new());
    assert_eq!(bearer(&access, &unsigned), Err(Denied::Algorithm));
}

#[test]
fn a_token_with_an_audience_needs_a_configured_one() {
    let access = of_tokens(&Folder::new(), "");
    let header = json!({"alg": "HS256", "kid": "k1"});
    let aud = token(&header, &with("aud", json!("other")), hs256(SECRET));
    assert_eq!(bearer(&access, &aud), Err(Denied::Audience));
}

#[test]
fn public_keys_verify_tokens_of_their_algorithm_only() {
    let folder = Folder::new();
    let ec = KeyPair::generate().unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    folder.write("ec.pem", &ec.public_key_pem());
    folder.write("ed.pem", &ed.public_key_pem());
    let access = folder.access(
        r#"
        [[tokens]]
        tenant = "acme"
        any_account = true
        keys = [
            { id = "ec", algorithm = "ES256", pem_file = "ec.pem" },
            { id = "ed", algorithm = "EdDSA", pem_file = "ed.pem" },
        ]"#,
    );
    let access = access.unwrap();
    let random = SystemRandom::new();
    let key = ec.serialize_der();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let es256 = EcdsaKeyPair::from_pkcs8(algorithm, &key, &random).unwrap();
    let eddsa = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&ed.serialize_der()).unwrap();
    let claims = json!({"exp": LATER});
    let by_ec = |message: &[u8]| es256.sign(&random, message).unwrap().as_ref().to_vec();
    let by_ed = |message: &[u8]| eddsa.sign(message).as_ref().to_vec();
    let (of_ec, of_ed) = (
        json!({"alg": "ES256", "kid": "ec"}),
        json!({"alg": "EdDSA", "kid": "ed"}),
    );
    let any = Ok(caller(Scope::Any, None));
    assert_eq!(bearer(&access, &token(&of_ec, &claims, by_ec)), any);
    assert_eq!(bearer(&access, &token(&of_ed, &claims, by_ed)), any);
    assert_eq!(
        bearer(&access, &token(&of_ed, &claims, by_ec)),
        Err(Denied::Signature)
    );
    // The public key as the secret of another algorithm.
    let confused = json!({"alg": "HS256", "kid": "ec"});
    let confused = token(&confused, &claims, hs256(&ec.public_key_pem()));
    assert_eq!(bearer(&access, &confused), Err(Denied::Algorithm));
}

/// The example of RFC 7515, appendix A.2. It expired in 2011, and its signature is checked first.
#[test]
fn an_rsa_key_verifies_the_example_of_the_standard() {
    const MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4q\
        PCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL\
        -bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9\
        kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0d\
        HA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9P\
        Jbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--\
        f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-\
        eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0\
        igcN_IoypGlUPQGe77Rw";
    let folder = Folder::new();
    folder.write(
        "set.json",
        &json!({"keys": [
            {"kty": "RSA", "kid": "a", "n": MODULUS, "e": "AQAB"},
            {"kty": "RSA", "kid": "encrypts", "use": "enc", "n": MODULUS, "e": "AQAB"},
            {"kty": "new", "kid": "unknown"},
        ]})
        .to_string(),
    );
    let toml = "[[tokens]]\ntenant = \"acme\"\njwks_file = \"set.json\"";
    let access = folder.access(toml).unwrap();
    let mut issuers = access.rules().issuers.clone();
    assert_eq!(issuers[0].keys.len(), 1, "{:?}", issuers[0].keys);
    // The example has no kid.
    issuers[0].keys = vec![VerificationKey {
        id: None,
        algorithm: Algorithm::RS256,
        key: DecodingKey::from_rsa_components(MODULUS, "AQAB").unwrap(),
    }];
    assert_eq!(claims::verify(&issuers, TOKEN), Err(Denied::Expired));
    let forged = TOKEN.replacen("eyJpc3Mi", "eyJpc3Mj", 1);
    assert_eq!(claims::verify(&issuers, &forged), Err(Denied::Signature));
}

#[tokio::test]
async fn keys_of_a_url_are_read_and_secrets_among_them_are_not() {
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let x = URL_SAFE_NO_PAD.encode(ed.public_key_raw());
    let set = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": x, "use": "sig", "alg": "EdDSA"},
        {"kty": "oct", "kid": "shared", "k": URL_SAFE_NO_PAD.encode(SECRET)},
    ]});
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let keys = axum::routing::get(async move || axum::Json(set));
    let routes = axum::Router::new().route("/keys", keys);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let folder = Folder::new();
    let toml = format!("[[tokens]]\ntenant = \"acme\"\nany_account = true\njwks_url = \"{url}\"");
    let access = folder.access(&toml).unwrap();
    assert!(!access.is_complete());
    let eddsa = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&ed.serialize_der()).unwrap();
    let by_ed = |message: &[u8]| eddsa.sign(message).as_ref().to_vec();
    let claims = json!({"exp": LATER});
    let token_of_ed = token(&json!({"alg": "EdDSA", "kid": "ed"}), &claims, by_ed);
    assert_eq!(bearer(&access, &token_of_ed), Err(Denied::Key));
    let read = async {
        while !access.is_complete() {
            tokio::task::yield_now().await;
        }
    };
    let within = std::time::Duration::from_secs(20);
    tokio::select! {
        read = tokio::time::timeout(within, read) => read.unwrap(),
        () = access.keep_current() => {}
    }
    assert_eq!(bearer(&access, &token_of_ed), Ok(caller(Scope::Any, None)));
    let shared = json!({"alg": "HS256", "kid": "shared"});
    let shared = token(&shared, &claims, hs256(SECRET));
    assert_eq!(bearer(&access, &shared), Err(Denied::Key));
}

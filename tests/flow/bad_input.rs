//! Bad input, end to end: each a named error, nothing crashes, nothing accepted is lost.

use crate::{
    alone,
    client::{Answered, Caller},
    documents::{Document, digits, example_uri},
    facts::{Facts, wait_until},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use slipway_bus::{Command, Principal, Verb};
use slipway_kernel::Phase;
use slipway_testkit::Mesh;
use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_refuses_each_bad_document_by_name_and_exit_code() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    let good = || Document::digits("digits", "digits-v1");
    // What is refused before it leaves the command line: exit code 2, the path, what is allowed.
    for (document, words) in [
        (good().with("spec.servng", json!({})), vec!["spec.servng", "serving"]),
        (good().with("spec.scale", json!({ "min": "many" })), vec!["spec.scale.min"]),
        (good().with("spec.scale", json!({ "min": 0 })), vec!["spec.scale.min", "1 to 1000"]),
        (good().with("metadata.name", json!("Digits_1")), vec!["metadata.name", "a-z"]),
        (good().with("spec.model.uri", json!("file:///models/../../etc/passwd")), vec!["spec.model.uri", ".."]),
        (good().with("spec.model.uri", json!("file:///models/%2e%2e/passwd")), vec!["spec.model.uri"]),
        (good().with("spec.model.uri", json!("gopher://models/x")), vec!["spec.model.uri", "https://"]),
        (good().with("spec.model.uri", json!("https://user:pw@host/x")), vec!["spec.model.uri", "password"]),
        (good().with("spec.model.sha256", json!("abc")), vec!["spec.model.sha256", "64"]),
        (good().with("spec.validation.minAccuracy", json!(1.5)), vec!["spec.validation.minAccuracy"]),
        (good().with("spec.outputs", json!([{ "postgres": { "url": "postgres://u:hunter2@h/d" } }])), vec!["env:NAME"]),
        (good().with("apiVersion", json!("slipway.dev/v9")), vec!["apiVersion", "slipway.dev/v1"]),
    ] {
        let ran = document.deploy(folder).await;
        assert_eq!(ran.code, Some(2), "{words:?}: {}\n{}", ran.stdout, ran.stderr);
        for word in &words {
            assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("hunter2"), "a secret is repeated: {}", ran.stderr);
    }
    let file = folder.path().join("broken.yaml");
    fs::write(&file, "spec: [").unwrap();
    for arguments in [
        vec!["deploy", "-f", file.to_str().unwrap()],
        vec!["deploy", "-f", "no/such/file.yaml"],
        vec!["fly"],
        vec!["deploy"],
    ] {
        let ran = folder.cli(&arguments).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
    let ran = folder.cli(["--output", "json", "log", "nobody"]).await;
    let error: Value = serde_json::from_str(ran.stderr.trim()).unwrap();
    assert_eq!((ran.code, error["error"]["name"].as_str()), (Some(2), Some("invalid-argument")), "{error}");

    // What only reading the artifact can refuse: exit code 1, the finding.
    for (name, document, word) in [
        ("missing", good().with("spec.model.uri", json!("file:///no/such/model.onnx")), "model.onnx"),
        ("swapped", good().with("spec.model.sha256", json!("0".repeat(64))), "sha256"),
        ("golden", good().with("spec.validation.golden", json!("file:///no/such/golden.jsonl")), "golden"),
    ] {
        let ran = document.with("metadata.name", json!(name)).deploy(folder).await;
        assert_eq!(ran.code, Some(1), "{name}: {}\n{}", ran.stdout, ran.stderr);
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains(word), "{name}: {}\n{}", ran.stdout, ran.stderr);
        assert_eq!(Facts::read(folder, name).await.deployment.phase(), Phase::Abandoned);
    }
    // Without a mesh: exit code 4, and what to do.
    let nowhere = tempfile::tempdir().unwrap();
    let ran = folder.cli(["--data", nowhere.path().to_str().unwrap(), "status"]).await;
    assert!(ran.code == Some(4) || ran.code == Some(2), "{}", ran.stderr);
}

/// The issuer of tokens that the deployment trusts, or does not.
struct Issuer {
    pair: Ed25519KeyPair,
    public: String,
}

impl Issuer {
    fn new() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Self { pair, public }
    }

    fn token(&self, change: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims =
            json!({ "iss": "https://id.example", "aud": "digits", "sub": "ann", "iat": now, "exp": now + 600 });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = if value.is_i64() {
                json!(i64::try_from(now).unwrap() + value.as_i64().unwrap())
            } else {
                value.clone()
            };
        }
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": "one" });
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_refuses_each_bad_request_by_status_and_code() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": issuer.public, "kid": "one", "alg": "EdDSA", "use": "sig" }] });
    let jwks = folder.path().join("jwks.json");
    fs::write(&jwks, keys.to_string()).unwrap();
    let access = json!({
        "apiKeys": true,
        "jwt": { "issuer": "https://id.example", "audience": "digits", "jwks": format!("file://{}", jwks.display()) },
    });
    let document = Document::digits("digits", "digits-v1")
        .with("spec.access", access)
        .with("spec.inputs", json!([{ "http": { "maxBody": "64Ki" } }]));
    document.deploy(folder).await.ok();
    let caller = Caller::of(folder, "digits");
    let digit = &digits()[0];
    caller.ask(digit).await;

    let with = |change: Value| {
        let mut body = digit.body.clone();
        for (name, value) in change.as_object().unwrap() {
            body["inputs"][0][name] = value.clone();
        }
        body
    };
    let short: Vec<Value> = digit.body["inputs"][0]["data"].as_array().unwrap()[..63].to_vec();
    let mut not_finite = digit.body["inputs"][0]["data"].as_array().unwrap().clone();
    not_finite[5] = Value::Null;
    for (what, body, status) in [
        ("tensor name", with(json!({ "name": "Y" })), 400),
        ("type", with(json!({ "datatype": "INT64" })), 400),
        ("unknown type", with(json!({ "datatype": "FP128" })), 400),
        ("shape", with(json!({ "shape": [1, 63] })), 400),
        ("negative shape", with(json!({ "shape": [-1, 64] })), 400),
        ("product overflow", with(json!({ "shape": [i64::MAX, i64::MAX] })), 400),
        ("length", with(json!({ "data": short })), 400),
        ("no number", with(json!({ "data": ["x"] })), 400),
        ("not finite", with(json!({ "data": not_finite })), 400),
        ("no inputs", json!({ "inputs": [] }), 400),
        ("no object", json!([1, 2]), 400),
        ("oversized", json!({ "inputs": [], "id": "x".repeat(100_000) }), 413),
    ] {
        let answered = Answered::read(caller.post(&body).send().await.unwrap()).await;
        assert_eq!(answered.status.as_u16(), status, "{what}: {}", answered.text);
        let code = if status == 413 { "payload-too-large" } else { "invalid-argument" };
        assert_eq!(answered.json()["code"], code, "{what}: {}", answered.text);
        assert!(answered.json()["error"].as_str().is_some_and(|error| !error.is_empty()), "{what}: {}", answered.text);
    }
    let url = format!("{}/v2/models/digits/infer", caller.door);
    let raw = |text: &'static str| {
        caller.client.post(&url).bearer_auth(&caller.key).header("content-type", "application/json").body(text)
    };
    for text in ["", "{", "{\"inputs\": NaN}", "\u{0}", "[[[[[[[[[["] {
        let answered = Answered::read(raw(text).send().await.unwrap()).await;
        assert_eq!(
            (answered.status.as_u16(), answered.json()["code"].as_str()),
            (400, Some("invalid-argument")),
            "{text:?}"
        );
    }
    let deep = Box::leak("[".repeat(50_000).into_boxed_str());
    assert_eq!(raw(deep).send().await.unwrap().status(), 400);

    for (what, token, status) in [
        ("good", issuer.token(json!({})), 200),
        ("expired", issuer.token(json!({ "exp": -600 })), 401),
        ("not yet valid", issuer.token(json!({ "nbf": 600 })), 401),
        ("foreign key", stranger.token(json!({})), 401),
        ("foreign issuer", issuer.token(json!({ "iss": "https://evil.example" })), 401),
        ("foreign audience", issuer.token(json!({ "aud": "other" })), 401),
        ("made up", "slw_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(), 401),
        ("empty", String::new(), 401),
    ] {
        let request = caller
            .client
            .post(&url)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        let answered = Answered::read(request.body(digit.body.to_string()).send().await.unwrap()).await;
        assert_eq!(answered.status.as_u16(), status, "{what}: {}", answered.text);
        if status == 401 {
            assert_eq!(answered.json()["code"], "unauthenticated", "{what}: {}", answered.text);
        }
    }
    for (path, status) in [
        ("/v2/models/nobody/infer", 404),
        ("/v2/models/digits/versions/9-9/infer", 404),
        ("/v1/x", 404),
        ("/v2/models/..%2f..%2fetc/infer", 404),
    ] {
        let answered = caller
            .client
            .post(format!("{}{path}", caller.door))
            .bearer_auth(&caller.key)
            .body("{}")
            .send()
            .await
            .unwrap();
        assert!(answered.status() == status || answered.status() == 400, "{path}: {}", answered.status());
    }
    // After all of it the door serves as before.
    caller.ask(digit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_answers_each_bad_demand_by_name_and_keeps_what_it_cannot_read() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    let (operator, client) = (folder.bus(Principal::Operator).await, folder.bus(Principal::Client).await);
    let good = Document::digits("digits", "digits-v1").0;
    let demand = |verb: Verb, id: &str, data: Value| Command {
        namespace: "default".parse().unwrap(),
        verb,
        source: "test".to_owned(),
        id: id.to_owned(),
        data,
    };
    let timeout = Duration::from_secs(15);
    let mut unknown = good.clone();
    unknown["spec"]["servng"] = json!({});
    let mut elsewhere = good.clone();
    elsewhere["metadata"]["namespace"] = json!("other");
    for (id, verb, data, error) in [
        ("1", Verb::Deploy, unknown, "invalid-spec"),
        ("2", Verb::Deploy, json!("text"), "invalid-spec"),
        ("3", Verb::Deploy, elsewhere, "namespace-mismatch"),
        ("4", Verb::Pause, json!({ "deployment": "nobody" }), "unknown-deployment"),
        ("5", Verb::Pause, json!({ "deployment": "nobody", "extra": 1 }), "invalid-command"),
        ("6", Verb::Rollback, json!({ "deployment": "Nobody" }), "invalid-command"),
    ] {
        let answer = operator.intake().send(&demand(verb, id, data), timeout).await.unwrap();
        assert!(!answer.accepted && answer.subject.is_none(), "{id}: {answer:?}");
        assert_eq!(answer.error.as_deref(), Some(error), "{id}: {answer:?}");
    }

    // The same demand twice is one generation; its id with another body is refused.
    let first = operator.intake().send(&demand(Verb::Deploy, "once", good.clone()), timeout).await.unwrap();
    assert!(first.accepted, "{first:?}");
    let again = operator.intake().send(&demand(Verb::Deploy, "once", good.clone()), timeout).await.unwrap();
    assert_eq!(again.subject, first.subject);
    let mut other = good.clone();
    other["spec"]["model"]["uri"] = json!(example_uri("digits-v2.onnx"));
    let reused = operator.intake().send(&demand(Verb::Deploy, "once", other), timeout).await.unwrap();
    assert_eq!(reused.error.as_deref(), Some("id-reused"), "{reused:?}");

    // The client may deploy here, but not annul, and nothing elsewhere.
    let denied = client
        .intake()
        .send(&demand(Verb::Annul, "c1", json!({ "deployment": "digits", "fact": "x" })), timeout)
        .await
        .unwrap();
    assert_eq!(denied.error.as_deref(), Some("permission-denied"), "{denied:?}");
    let mut abroad = demand(Verb::Retire, "c2", json!({ "deployment": "digits" }));
    abroad.namespace = "other".parse().unwrap();
    let denied = client.intake().send(&abroad, timeout).await;
    // The broker or the gate refuses; either way there is no fact.
    assert!(
        denied.as_ref().is_err() || denied.as_ref().unwrap().error.as_deref() == Some("permission-denied"),
        "{denied:?}"
    );

    wait_until(&operator, "digits", 90, |d| d.phase() == Phase::Released).await;
    let facts = Facts::read(folder, "digits").await;
    assert_eq!(facts.deployment.generations.len(), 1, "{:?}", facts.told());

    folder.cli(["retire", "digits", "--reason", "test"]).await.ok();
    wait_until(&operator, "digits", 90, |d| d.phase() == Phase::Retired).await;
    let late = operator
        .intake()
        .send(&demand(Verb::Rollback, "late", json!({ "deployment": "digits" })), timeout)
        .await
        .unwrap();
    assert_eq!(late.error.as_deref(), Some("retired"), "{late:?}");
}

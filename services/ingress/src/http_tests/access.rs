//! Who is let in, and to which revision.

use super::{
    client::Answer,
    worker::Worker,
    world::{FIRST, INFER, Setting, World, body},
};
use crate::{
    actor::{Effects as _, RealEffects, Subject},
    auth::{
        api_key::{KeyHash, tests::KEY},
        token::tests::{Issuer, wanted},
    },
    limits,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use slipway_kernel::{FindingKind, RevisionId};
use std::{collections::BTreeMap, time::Instant};

const SECOND: RevisionId = RevisionId::new(2, 1);

async fn guarded() -> (World, Worker, Issuer, tempfile::TempDir) {
    let (mut setting, issuer, folder) = (Setting::default(), Issuer::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, issuer.jwks()).unwrap();
    let jwt = wanted();
    setting.history.access = json!({
        "apiKeys": true,
        "jwt": { "issuer": jwt.issuer, "audience": jwt.audience, "jwks": format!("file://{}", path.display()) }
    });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let hash = KeyHash { sha256: Sha256::digest(KEY).into(), principal: "api-key:key-1".to_owned(), expires: None };
    world.ingress.authenticator.api_keys.set(BTreeMap::from([(world.history.id.clone(), vec![hash])]));
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    (world, worker, issuer, folder)
}

fn seconds(world: &World) -> u64 {
    world.ingress.clock.now().0 / 1_000
}

#[tokio::test]
async fn a_key_and_a_token_open_the_door_and_the_result_says_whose_they_are() {
    let (world, worker, issuer, _folder) = guarded().await;
    let token = format!("Bearer {}", issuer.token(seconds(&world) + 60));
    for (n, (name, value, principal)) in (1..).zip([
        ("slipway-api-key", KEY, "api-key:key-1"),
        ("authorization", &format!("Bearer {KEY}"), "api-key:key-1"),
        ("authorization", &token, "jwt:robot"),
    ]) {
        let answer = world.infer(&[(name, value)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(world.captured(n).await[n - 1].principal, principal);
        assert!(!worker.last().contains_key("authorization"), "the credential goes no further");
    }
}

#[tokio::test]
async fn every_refused_credential_gets_the_same_answer_after_the_same_time() {
    let (world, worker, issuer, _folder) = guarded().await;
    let expired = format!("Bearer {}", issuer.token(seconds(&world) - 120));
    let foreign = format!("Bearer {}", Issuer::new().token(seconds(&world) + 60));
    let good = format!("Bearer {}", issuer.token(seconds(&world) + 60));
    let altered = good.replace("Bearer ey", "Bearer ez");
    let mut answers: Vec<Answer> = Vec::new();
    for headers in [
        &[][..],
        &[("authorization", expired.as_str())],
        &[("authorization", &foreign)],
        &[("authorization", &altered)],
        &[("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.")],
        &[("authorization", "Bearer x")],
        &[("authorization", "Basic YTpi")],
        &[("authorization", &good), ("authorization", &good)],
        &[("authorization", &good), ("slipway-api-key", KEY)],
        &[("slipway-api-key", "slw_wrong")],
        &[("slipway-probe", "forged.AAAA")],
    ] {
        let begun = Instant::now();
        answers.push(world.infer(headers).await);
        assert!(begun.elapsed() >= limits::REFUSAL_AFTER, "{headers:?}");
    }
    answers.push(world.send(world.post(&format!("{INFER}?access_token=x"), &body())).await);
    for answer in &answers {
        assert_eq!((answer.status, answer.code()), (401, "unauthenticated"));
        assert_eq!(answer.body, answers[0].body);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    // The other resources of the deployment are behind the same door.
    for path in ["/v2/models/digits", "/v2/models/digits/ready", "/v2/requests/default.digits.1"] {
        assert_eq!(world.get(path).await.status, 401, "{path}");
    }
    assert_eq!(worker.calls(), 0);
}

#[tokio::test]
async fn a_stranger_learns_nothing_from_how_the_rest_of_his_request_is_wrong() {
    let (world, _worker, _issuer, _folder) = guarded().await;
    for request in [
        world.http.post(world.url(INFER)).body("{"),
        world.http.post(world.url(INFER)).body("x".repeat(8 << 20)),
        world.post(INFER, &body()).header("content-type", "text/xml"),
        world.post(INFER, &body()).header("slipway-revision", "9-9"),
        world.post(INFER, &body()).header("slipway-timeout-ms", "x"),
    ] {
        // A large body is not waited for; whether the client sees the answer or a closed connection is the network's affair.
        if let Ok(response) = request.send().await {
            assert_eq!(response.status().as_u16(), 401);
        }
    }
}

#[tokio::test]
async fn an_unreleased_revision_is_reached_by_the_mark_only() {
    let (mut world, _worker, _issuer, _folder) = guarded().await;
    world.history.deploy(2, 1);
    world.apply();
    let (first, second) = (world.worker(FIRST, "first"), world.worker(SECOND, "second"));
    world.register(&[&first, &second]);
    let own = world.ingress.authenticator.probes.own().to_owned();
    let named = ("slipway-revision", "2-1");
    assert_eq!(world.infer(&[named]).await.status, 401);
    let known = world.infer(&[named, ("slipway-api-key", KEY)]).await;
    let unknown = world.infer(&[("slipway-revision", "9-9"), ("slipway-api-key", KEY)]).await;
    assert_eq!((known.status, unknown.status), (404, 404));
    assert_eq!(known.body["error"].to_string().replace("2-1", "9-9"), unknown.body["error"].to_string());
    let marked = world.infer(&[named, ("slipway-probe", &own)]).await;
    assert_eq!((marked.status, marked.header("slipway-revision")), (200, "2-1"));
    let captured = world.captured(1).await;
    assert_eq!((captured[0].probe, captured[0].principal.as_str()), (true, "service:ingress"));
    assert_eq!(world.infer(&[("slipway-api-key", KEY), ("slipway-revision", "1-1")]).await.status, 200);
    // Once it has a share, anybody may ask for it.
    world.history.shift(2, 1, 5);
    world.apply();
    assert_eq!(world.infer(&[named, ("slipway-api-key", KEY)]).await.header("slipway-revision"), "2-1");
}

#[tokio::test]
async fn networks_are_held_to_the_connection_and_not_to_what_a_header_says() {
    let mut setting = Setting::default();
    setting.history.access = json!({ "anonymous": true, "allowFrom": ["10.0.0.0/8"] });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let answer = world.infer(&[("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1")]).await;
    assert_eq!((answer.status, answer.code()), (403, "permission-denied"));
}

#[tokio::test]
async fn the_proof_shows_an_answer_and_a_refusal() {
    let (mut world, _worker, _issuer, _folder) = guarded().await;
    world.history.deploy(2, 1);
    world.apply();
    let second = world.worker(SECOND, "second");
    world.register(&[&second]);
    let door = std::sync::Arc::clone(world.ingress.routing.load().door(&world.history.id).unwrap());
    let target = &door.entry.targets[&SECOND];
    let subject = Subject { ingress: &world.ingress, id: &world.history.id, target, door: &world.door };
    let proofs = RealEffects.prove(subject).await.unwrap();
    let names: Vec<&str> = proofs.iter().map(|proof| proof.name.as_str()).collect();
    assert_eq!(names, ["token keys", "request answered", "stranger"]);
    assert!(proofs[1].detail.contains("200"), "{proofs:?}");
    assert!(proofs[2].detail.contains("401"), "{proofs:?}");
    assert_eq!(second.calls(), 1);
}

#[tokio::test]
async fn a_row_that_is_larger_than_the_largest_body_is_a_misconfiguration() {
    let mut setting = Setting::default();
    setting.history.http = json!({ "maxBody": "1Ki" });
    setting.history.model = crate::http_tests::facts(&[("x", "FP32", &[-1, 5_000])], &[]);
    setting.history.deploy(1, 1);
    let world = World::open(setting).await;
    let door = std::sync::Arc::clone(world.ingress.routing.load().door(&world.history.id).unwrap());
    let subject = Subject {
        ingress: &world.ingress,
        id: &world.history.id,
        target: &door.entry.targets[&FIRST],
        door: &world.door,
    };
    let finding = RealEffects.prove(subject).await.unwrap_err();
    assert_eq!(finding.kind, FindingKind::Misconfigured);
    assert_eq!(finding.wanted, Some(1_024.0));
}

//! What is told beside inferences: what is served to whom, how, and what was done.

use super::world::{FIRST, Setting, World, eventually};
use crate::{
    auth::{
        api_key::{KeyHash, tests::KEY},
        token::tests::{Issuer, wanted},
    },
    limits,
    table::build::{build, tests::History},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use slipway_proto::inference::{
    ModelConfigRequest, ModelStatisticsRequest, RepositoryIndexRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
};
use std::{collections::BTreeMap, time::Instant};
use tonic::{
    Code, Request,
    transport::{Channel, Endpoint},
};

async fn client(world: &World) -> GrpcInferenceServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.address)).unwrap();
    GrpcInferenceServiceClient::new(endpoint.connect().await.unwrap())
}

#[tokio::test]
async fn the_figures_of_a_model_are_those_of_all_its_workers_on_either_wire() {
    let world = World::released().await;
    let (one, mut other) = (world.worker(FIRST, "one"), world.worker(FIRST, "other"));
    world.register(&[&one, &other]);
    for _ in 0..20 {
        assert_eq!(world.infer(&[]).await.status, 200);
    }
    assert!(one.calls() > 0 && other.calls() > 0);
    for path in [
        "/v2/models/digits/stats",
        "/v2/models/digits/versions/1-1/stats",
        "/v2/namespaces/default/models/digits/stats",
    ] {
        let told = world.get(path).await;
        let stats = &told.body["model_stats"][0];
        assert_eq!(
            (told.status, &stats["version"], &stats["inference_count"]),
            (200, &json!("1-1"), &json!(20)),
            "{path}"
        );
    }
    let mut client = client(&world).await;
    let named = |name: &str| ModelStatisticsRequest { name: name.into(), version: String::new() };
    let told = client.model_statistics(named("digits")).await.unwrap().into_inner().model_stats;
    assert_eq!((told.len(), told[0].inference_count), (1, 20));
    assert_eq!(client.model_statistics(named("")).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.model_statistics(named("cats")).await.unwrap_err().code(), Code::NotFound);
    // A sum without one of them would run backwards.
    other.kill();
    let told = world.get("/v2/models/digits/stats").await;
    assert_eq!((told.status, told.code()), (503, "unavailable"), "{told:?}");
    world.register(&[&one]);
    let told = world.get("/v2/models/digits/stats").await;
    assert_eq!(told.body["model_stats"][0]["inference_count"], json!(one.calls()));
    assert_eq!(world.send(world.http.post(world.url("/v2/models/digits/stats"))).await.status, 405);
}

#[tokio::test]
async fn the_configuration_is_that_of_a_worker_that_answers() {
    let world = World::released().await;
    let (mut dead, alive) = (world.worker(FIRST, "dead"), world.worker(FIRST, "alive"));
    dead.kill();
    world.register(&[&dead, &alive]);
    let told = world.get("/v2/models/digits/config").await;
    assert_eq!((told.status, &told.body["name"], &told.body["max_batch_size"]), (200, &json!("digits"), &json!(8)));
    let request = ModelConfigRequest { name: "digits".into(), version: "1-1".into() };
    let config = client(&world).await.model_config(request).await.unwrap().into_inner().config.unwrap();
    assert_eq!(config.max_batch_size, 8);
    world.register(&[]);
    assert_eq!(world.get("/v2/models/digits/config").await.status, 503);
}

/// Adds a released deployment with this access.
fn add(world: &World, id: &str, access: Value) {
    let mut history = History::new();
    (history.id, history.access) = (id.parse().unwrap(), access);
    history.release(1, 1);
    let entry = build(&history.fold());
    let applied = world.ingress.routing.load().applied + 1;
    world.ingress.routing.apply(&world.ingress.admission, [(history.id, entry)], applied, applied);
}

async fn index(world: &World, path: &str, header: Option<(&str, &str)>) -> Vec<(String, String)> {
    let mut request = world.http.post(world.url(path));
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    answer.body.as_array().unwrap().iter().map(|model| (text(&model["name"]), text(&model["state"]))).collect()
}

#[tokio::test]
async fn the_index_shows_to_each_caller_what_it_may_ask_and_nothing_of_other_tenants() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let (issuer, folder, jwt) = (Issuer::new(), tempfile::tempdir().unwrap(), wanted());
    let jwks = folder.path().join("jwks.json");
    std::fs::write(&jwks, issuer.jwks()).unwrap();
    let jwt = json!({ "issuer": jwt.issuer, "audience": jwt.audience, "jwks": format!("file://{}", jwks.display()) });
    add(&world, "default.secret", json!({ "apiKeys": true }));
    add(&world, "team.secret", json!({ "apiKeys": true }));
    add(&world, "team.tokens", json!({ "jwt": jwt }));
    add(&world, "team.more-tokens", json!({ "jwt": jwt }));
    add(&world, "team.elsewhere", json!({ "anonymous": true, "allowFrom": ["10.0.0.0/8"] }));
    let hash = KeyHash { sha256: Sha256::digest(KEY).into(), principal: "api-key:key-1".to_owned(), expires: None };
    world.ingress.authenticator.api_keys.set(BTreeMap::from([("team.secret".parse().unwrap(), vec![hash])]));
    let token = format!("Bearer {}", issuer.token(world.ingress.clock.now().0 / 1_000 + 60));
    let (key, token) = (Some(("slipway-api-key", KEY)), Some(("authorization", token.as_str())));
    let here = |names: &[(&str, &str)]| -> Vec<(String, String)> {
        names.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
    };
    let (own, team) = ("/v2/repository/index", "/v2/namespaces/team/repository/index");
    assert_eq!(index(&world, own, None).await, here(&[("digits", "READY")]));
    assert_eq!(index(&world, team, None).await, here(&[]));
    assert_eq!(index(&world, team, key).await, here(&[("secret", "UNAVAILABLE")]));
    let expected = here(&[("more-tokens", "UNAVAILABLE"), ("tokens", "UNAVAILABLE")]);
    assert_eq!(index(&world, team, token).await, expected);
    // A credential that is wrong here is not as good as none, as everywhere.
    assert_eq!(index(&world, own, key).await, here(&[]));
    let begun = Instant::now();
    assert_eq!(index(&world, "/v2/namespaces/nobody/repository/index", key).await, here(&[]));
    assert!(begun.elapsed() >= limits::REFUSAL_AFTER, "how long it took tells nothing");

    let mut client = client(&world).await;
    let mut names = async |ready, header: Option<(&'static str, &str)>| {
        let mut request = Request::new(RepositoryIndexRequest { ready, ..RepositoryIndexRequest::default() });
        if let Some((name, value)) = header {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        let models = client.repository_index(request).await.unwrap().into_inner().models;
        models.into_iter().map(|model| (model.name, model.state)).collect::<Vec<_>>()
    };
    assert_eq!(
        names(false, key.map(|(_, value)| ("slipway-api-key", value))).await,
        here(&[("team.secret", "UNAVAILABLE")])
    );
    assert_eq!(names(true, key.map(|(_, value)| ("slipway-api-key", value))).await, here(&[]));
    assert_eq!(names(true, None).await, here(&[("digits", "READY")]));
    assert_eq!(names(false, Some(("slipway-namespace", "team"))).await, here(&[]));
}

#[tokio::test]
async fn figures_and_configuration_are_held_to_the_access_and_the_rate_of_the_model() {
    let mut setting = Setting::default();
    setting.history.access = json!({ "apiKeys": true });
    setting.history.release(1, 1);
    let closed = World::open(setting).await;
    for path in ["stats", "config"] {
        let answer = closed.get(&format!("/v2/models/digits/{path}")).await;
        assert_eq!((answer.status, answer.code()), (401, "unauthenticated"), "{path}");
    }
    let mut setting = Setting::default();
    setting.history.access = json!({ "anonymous": true, "rateLimit": "1/h" });
    setting.history.release(1, 1);
    let slow = World::open(setting).await;
    let worker = slow.worker(FIRST, "a");
    slow.register(&[&worker]);
    eventually("it is registered", || slow.ingress.pool.count(&slow.history.id, FIRST) == 1).await;
    assert_eq!(slow.get("/v2/models/digits/stats").await.status, 200);
    assert_eq!(slow.get("/v2/models/digits/stats").await.code(), "rate-limited");
}

//! What tools of gRPC ask of any server.

use super::world::{FIRST, Setting, World};
use serde_json::json;
use slipway_oip::health::{HealthCheckRequest, HealthCheckResponse, HealthClient, ServingStatus};
use std::time::Duration;
use tonic::{
    Code, Streaming,
    transport::{Channel, Endpoint},
};

async fn client(world: &World) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.address)).unwrap();
    HealthClient::new(endpoint.connect().await.unwrap())
}

fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

async fn next(readings: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let next = tokio::time::timeout(Duration::from_secs(10), readings.message()).await.expect("it is told");
    next.unwrap().map(|reading| reading.status())
}

#[tokio::test]
async fn a_model_is_healthy_while_it_has_a_worker_and_the_door_while_it_is_ready() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    let mut client = client(&world).await;
    let mut check = async |service: &str| client.check(asked(service)).await.map(|answer| answer.into_inner().status());
    assert_eq!(check("digits").await.unwrap(), ServingStatus::NotServing);
    world.register(&[&worker]);
    for service in ["", "inference.GRPCInferenceService", "digits", "default.digits"] {
        assert_eq!(check(service).await.unwrap(), ServingStatus::Serving, "{service}");
    }
    for unknown in ["cats", "team.digits", "Cats!"] {
        assert_eq!(check(unknown).await.unwrap_err().code(), Code::NotFound, "{unknown}");
    }
    world.ingress.health.condition("nats").set_not_ready("gone");
    assert_eq!(check("").await.unwrap(), ServingStatus::NotServing);
    assert_eq!(check("digits").await.unwrap(), ServingStatus::Serving);
}

#[tokio::test]
async fn who_watches_is_told_of_each_change_and_holds_no_door_that_closes() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    let mut client = client(&world).await;
    let mut model = client.watch(asked("digits")).await.unwrap().into_inner();
    let mut door = client.watch(asked("")).await.unwrap().into_inner();
    let mut unknown = client.watch(asked("cats")).await.unwrap().into_inner();
    assert_eq!(next(&mut model).await, Some(ServingStatus::NotServing));
    assert_eq!(next(&mut door).await, Some(ServingStatus::Serving));
    assert_eq!(next(&mut unknown).await, Some(ServingStatus::ServiceUnknown));
    world.register(&[&worker]);
    assert_eq!(next(&mut model).await, Some(ServingStatus::Serving));
    world.register(&[]);
    assert_eq!(next(&mut model).await, Some(ServingStatus::NotServing));
    let nats = world.ingress.health.condition("nats");
    assert_eq!((nats.set_not_ready("gone"), next(&mut door).await), ((), Some(ServingStatus::NotServing)));
    nats.set_ready();
    assert_eq!(next(&mut door).await, Some(ServingStatus::Serving));
    world.shutdown.cancel();
    assert_eq!((next(&mut door).await, next(&mut door).await), (Some(ServingStatus::NotServing), None));
    let ended = tokio::time::timeout(Duration::from_secs(5), world.server);
    ended.await.expect("the door does not wait for its bound").unwrap();
}

#[tokio::test]
async fn the_health_of_a_model_is_told_to_whom_it_is_served() {
    let mut setting = Setting::default();
    setting.history.access = json!({ "apiKeys": true });
    setting.history.release(1, 1);
    let closed = World::open(setting).await;
    let mut client = client(&closed).await;
    assert_eq!(client.check(asked("digits")).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(client.watch(asked("digits")).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(client.check(asked("")).await.is_ok());
}

//! A service that is started before what it needs waits where it is, and says for what.

use super::support::LONG;
use slipway_bus::{
    Bus, BusConfig, BusError, Principal,
    topology::{TopologyConfig, ensure},
};
use slipway_kernel::{Service, Span};
use slipway_runtime::Frame;
use slipway_testkit::{NatsServer, eventually, frame};
use std::time::Duration;

const INGRESS: Principal = Principal::Service(Service::Ingress);

/// What keeps the service from being ready, with the reason that holds the word.
fn waits_for(frame: &Frame, condition: &str, word: &str) -> bool {
    frame.health.not_ready().iter().any(|one| one.condition == condition && one.reason.contains(word))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_waits_for_its_streams_and_is_ready_when_they_are_there() {
    let server = NatsServer::start().await;
    let config = BusConfig { connect_timeout: Span::default(), ..server.config(INGRESS) };
    let own = frame(INGRESS);
    let connecting = tokio::spawn({
        let (config, own) = (config.clone(), own.clone());
        async move { Bus::connect(&config, INGRESS, &own).await }
    });
    eventually(LONG, || async { waits_for(&own, "streams", "no streams of Slipway") }).await;
    assert!(!waits_for(&own, "nats", ""), "the broker is there");
    ensure(&server.bus(Principal::Bootstrap).await, &TopologyConfig::default()).await.unwrap();
    let bus = tokio::time::timeout(LONG, connecting).await.unwrap().unwrap().unwrap();
    assert!(own.health.is_ready() && bus.is_connected());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_end_to_its_patience_it_fails_and_says_what_is_missing() {
    let server = NatsServer::start().await;
    let config = BusConfig { connect_timeout: Span::millis(300), ..server.config(INGRESS) };
    let error = Bus::connect(&config, INGRESS, &frame(INGRESS)).await.unwrap_err();
    assert!(matches!(error, BusError::Topology { found: None, .. }), "{error}");
    assert!(error.to_string().contains("`slipway topology` makes them"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_waited_for_until_the_process_ends() {
    // Nobody listens at the port of a server that has ended.
    let mut server = NatsServer::start().await;
    let config = BusConfig { connect_timeout: Span::default(), ..server.config(INGRESS) };
    server.stop().await;
    let own = frame(INGRESS);
    let connecting = tokio::spawn({
        let own = own.clone();
        async move { Bus::connect(&config, INGRESS, &own).await }
    });
    eventually(LONG, || async { waits_for(&own, "nats", "does not answer yet") }).await;
    own.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), connecting).await.unwrap().unwrap();
    assert!(matches!(ended, Err(BusError::Ended)));
}

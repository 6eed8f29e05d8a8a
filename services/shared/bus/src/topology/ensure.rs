//! Makes what the topology names. Run at installation and upgrade by the one principal that may; services never do.

use super::{
    Bucket, StreamName, WorkConsumer,
    buckets::{PAYLOADS, blobs_config, payloads_config, uploads},
};
use crate::{connect::Bus, error::BusError, wire};
use async_nats::jetstream::{
    consumer::IntoConsumerConfig,
    stream::{Config, PersistenceMode},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slipway_kernel::{ByteSize, Namespace};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// How long to wait for a cluster to elect its meta leader: elections take 4-9 s, a cold start of three servers some more.
const BUDGET: Duration = Duration::from_secs(60);
/// No such stream.
const NOT_FOUND: u64 = 10_059;

/// How the topology is laid out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct TopologyConfig {
    /// Copies of every stream: 1 on one server, 3 on a cluster.
    pub replicas: usize,
    /// Whose clients ask models over NATS: each namespace has an object store for what is too large for their messages.
    pub namespaces: BTreeSet<Namespace>,
}

impl Default for TopologyConfig {
    fn default() -> Self {
        Self { replicas: 1, namespaces: BTreeSet::new() }
    }
}

/// Creates or updates every stream, bucket and consumer.
///
/// # Errors
/// When the broker refuses one of them, or has no leader after a minute.
pub async fn ensure(bus: &Bus, config: &TopologyConfig) -> Result<(), BusError> {
    let deadline = Instant::now() + BUDGET;
    for stream in &all(config) {
        retry(deadline, || ensure_stream(bus, stream)).await?;
    }
    for consumer in WorkConsumer::all() {
        retry(deadline, || ensure_consumer(bus, consumer)).await?;
    }
    Ok(())
}

/// Every stream, those under buckets and object stores included.
fn all(config: &TopologyConfig) -> Vec<Config> {
    let streams = StreamName::ALL.into_iter().map(|stream| stream.config(config.replicas));
    let buckets = Bucket::ALL.into_iter().map(|bucket| bucket.config(config.replicas));
    let payloads = [PAYLOADS.to_owned()].into_iter().chain(config.namespaces.iter().map(uploads));
    let payloads = payloads.map(|bucket| payloads_config(&bucket, config.replicas));
    streams.chain(buckets).chain([blobs_config(config.replicas)]).chain(payloads).collect()
}

/// What all streams that have a bound may hold on one server. The log of facts and the artifacts come on top: they grow with what is deployed.
#[must_use]
pub fn bounds(config: &TopologyConfig) -> ByteSize {
    ByteSize(all(config).iter().filter_map(|stream| u64::try_from(stream.max_bytes).ok()).sum())
}

async fn retry<F: Future<Output = Result<(), BusError>>>(
    deadline: Instant,
    mut attempt: impl FnMut() -> F,
) -> Result<(), BusError> {
    loop {
        match attempt().await {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                tracing::debug!(%error, "the broker is not ready yet");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            done => return done,
        }
    }
}

async fn ensure_stream(bus: &Bus, config: &Config) -> Result<(), BusError> {
    match wire::api(bus, &format!("STREAM.INFO.{}", config.name), &json!({})).await {
        Ok(info) => {
            let there = |field: &str| info.pointer(&format!("/config/{field}")).unwrap_or(&Value::Null);
            let max_consumers = there("max_consumers").as_i64().and_then(|count| i32::try_from(count).ok());
            // These two cannot be changed, so a stream made by an earlier version keeps them.
            let config = Config {
                max_consumers: max_consumers.unwrap_or(config.max_consumers),
                persist_mode: PersistenceMode::deserialize(there("persist_mode")).ok(),
                ..config.clone()
            };
            wire::api(bus, &format!("STREAM.UPDATE.{}", config.name), &config).await.map(drop)
        }
        Err(BusError::Refused { code: NOT_FOUND, .. }) => {
            wire::api(bus, &format!("STREAM.CREATE.{}", config.name), config).await.map(drop)
        }
        Err(error) => Err(error),
    }
}

async fn ensure_consumer(bus: &Bus, consumer: WorkConsumer) -> Result<(), BusError> {
    let stream = consumer.stream().as_str();
    let request = json!({
        "stream_name": stream,
        "config": consumer.config().into_consumer_config(),
        "action": "",
    });
    wire::api(bus, &format!("CONSUMER.CREATE.{stream}.{}", consumer.as_str()), &request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_is_bounded_and_each_namespace_with_clients_adds_a_store() {
        let of = |namespaces: &[&str]| {
            let namespaces = namespaces.iter().map(|name| name.parse().unwrap()).collect();
            bounds(&TopologyConfig { namespaces, ..TopologyConfig::default() }).0
        };
        assert_eq!(of(&["a", "b"]) - of(&[]), 2 * (256 << 20));
        assert!(of(&[]) < 5 << 30, "the README says how much: {}", of(&[]));
    }
}

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
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::Instant;

/// The version of all that is made here. Raised with every change of it, so that a service of this version does not begin on the streams
/// of an earlier one; those of a later one serve it.
pub const VERSION: u32 = 2;
/// Where the version stands: in the metadata of the log, written when everything else is there.
const VERSION_KEY: &str = "slipway-topology";
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
    // Last of all: what reads the version finds everything else.
    let mut log = StreamName::Lifecycle.config(config.replicas);
    log.metadata.insert(VERSION_KEY.to_owned(), VERSION.to_string());
    retry(deadline, || ensure_stream(bus, &log)).await
}

/// The version of the topology that the broker has; none if there is no log, or none is noted.
///
/// # Errors
/// When the broker does not answer or refuses.
pub(crate) async fn version(bus: &Bus) -> Result<Option<u32>, BusError> {
    match info(bus, StreamName::Lifecycle.as_str()).await? {
        Some(info) => Ok(metadata(&info).get(VERSION_KEY).and_then(|version| version.parse().ok())),
        None => Ok(None),
    }
}

/// What the broker says of a stream, if it has it.
async fn info(bus: &Bus, stream: &str) -> Result<Option<Value>, BusError> {
    match wire::api(bus, &format!("STREAM.INFO.{stream}"), &json!({})).await {
        Ok(info) => Ok(Some(info)),
        Err(BusError::Refused { code: NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn metadata(info: &Value) -> HashMap<String, String> {
    info.pointer("/config/metadata").and_then(|metadata| HashMap::deserialize(metadata).ok()).unwrap_or_default()
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
    let Some(info) = info(bus, &config.name).await? else {
        return wire::api(bus, &format!("STREAM.CREATE.{}", config.name), config).await.map(drop);
    };
    let there = |field: &str| info.pointer(&format!("/config/{field}")).unwrap_or(&Value::Null);
    let max_consumers = there("max_consumers").as_i64().and_then(|count| i32::try_from(count).ok());
    let config = Config {
        // These two cannot be changed, so a stream made by an earlier version keeps them.
        max_consumers: max_consumers.unwrap_or(config.max_consumers),
        persist_mode: PersistenceMode::deserialize(there("persist_mode")).ok(),
        // The version that was noted holds until all of the next one is there.
        metadata: metadata(&info).into_iter().chain(config.metadata.clone()).collect(),
        ..config.clone()
    };
    wire::api(bus, &format!("STREAM.UPDATE.{}", config.name), &config).await.map(drop)
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

    /// Every stream and consumer in one text. What the text digests to stands beside the version: a change of one is a change of the other.
    #[test]
    fn the_version_is_raised_with_every_change() {
        let streams: Vec<Value> =
            all(&TopologyConfig::default()).iter().map(|config| serde_json::to_value(config).unwrap()).collect();
        let consumers: Vec<Value> = WorkConsumer::all()
            .into_iter()
            .map(|consumer| serde_json::to_value(consumer.config().into_consumer_config()).unwrap())
            .collect();
        let text = serde_json::to_string(&json!({ "streams": streams, "consumers": consumers })).unwrap();
        let digest = slipway_kernel::Digest::of(text.as_bytes()).to_string();
        assert_eq!((VERSION, &digest[..12]), (2, "0a7bb9e04d85"), "raise VERSION and put the new digest here");
    }

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

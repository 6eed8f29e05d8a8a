//! The broker without the bus: what a bench holds the bus against, and times finer than facts have them.

use super::NatsServer;
use async_nats::{
    ConnectOptions,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, pull},
    },
};
use futures::StreamExt as _;
use slipway_bus::{
    Principal,
    topology::{LIFECYCLE, StreamName, WorkConsumer, inbox},
};
use slipway_kernel::Service;
use std::{
    fs,
    time::{Duration, Instant},
};

/// About what a fact has with its envelope.
const PAYLOAD: usize = 1_024;
/// How many messages are asked for at once.
const BATCH: usize = 500;

/// What JetStream itself takes, one message at a time.
#[derive(Clone, Debug, Default)]
pub struct Floor {
    /// From the publish to its acknowledgement, which says that the disk has it.
    pub acknowledged: Vec<Duration>,
    /// From the publish to its arrival at a pull consumer that was waiting.
    pub fetched: Vec<Duration>,
}

/// When the broker appended a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The subject of the fact.
    pub subject: String,
    /// Nanoseconds since 1970, by the broker's clock.
    pub at: i128,
}

impl NatsServer {
    /// Process id of the broker.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    async fn raw(&self, principal: Principal) -> jetstream::Context {
        let seed = self.seed_file(principal).map(|file| fs::read_to_string(file).expect("a seed"));
        let options = seed.map_or_else(ConnectOptions::new, |seed| ConnectOptions::with_nkey(seed.trim().to_owned()));
        let options = options.custom_inbox_prefix(inbox(principal));
        jetstream::new(options.connect(self.url()).await.expect("the broker lets it in"))
    }

    /// How many messages a stream has.
    ///
    /// # Panics
    /// When the broker does not say.
    pub async fn messages(&self, stream: &str) -> u64 {
        let stream = self.raw(Principal::Operator).await.get_stream(stream).await.expect("a stream");
        stream.cached_info().state.messages
    }

    /// Takes everything with these subjects out of a stream, as somebody does who may.
    ///
    /// # Panics
    /// When it is not done.
    pub async fn purge(&self, stream: &str, subjects: &str) {
        let stream = self.raw(Principal::Bootstrap).await.get_stream(stream).await.expect("a stream");
        stream.purge().filter(subjects).await.expect("they are gone");
    }

    /// How many of the requests that clients left were delivered more than once and are not dealt with.
    ///
    /// # Panics
    /// When the broker does not say.
    pub async fn redelivered(&self) -> usize {
        let inbound = WorkConsumer::Inbound;
        let context = self.raw(Principal::Operator).await;
        let stream = context.get_stream(inbound.stream().as_str()).await.expect("a stream");
        let mut consumer = stream.get_consumer::<pull::Config>(inbound.as_str()).await.expect("a consumer");
        consumer.info().await.expect("what the broker knows of it").num_redelivered
    }

    /// Publishes into the log and fetches by a service's own durable consumer, one message after the other. What is published is
    /// no fact: nobody else may be at this broker.
    pub async fn floor(&self, rounds: usize) -> Floor {
        let service = Service::Provisioner;
        let jetstream = self.raw(Principal::Service(service)).await;
        let stream = jetstream.get_stream(StreamName::Lifecycle.as_str()).await.expect("the log");
        let name = WorkConsumer::Duties(service).as_str();
        let consumer: jetstream::consumer::PullConsumer = stream.get_consumer(name).await.expect("the consumer");
        let mut messages = consumer.messages().await.expect("deliveries");
        let mut floor = Floor::default();
        for round in 0..rounds {
            let subject = format!("slipway.lifecycle.bench.floor.{round}.0.choice.0");
            let begun = Instant::now();
            let stored = jetstream.publish(subject, vec![b' '; PAYLOAD].into()).await.expect("published");
            let acknowledged = async {
                stored.await.expect("acknowledged");
                begun.elapsed()
            };
            let fetched = async {
                let message = messages.next().await.expect("a delivery").expect("a message");
                let elapsed = begun.elapsed();
                message.ack().await.expect("acknowledged");
                elapsed
            };
            let (acknowledged, fetched) = tokio::join!(acknowledged, fetched);
            floor.acknowledged.push(acknowledged);
            floor.fetched.push(fetched);
        }
        floor
    }

    /// When each fact of the log was appended, in their order.
    pub async fn appended(&self) -> Vec<Appended> {
        let jetstream = self.raw(Principal::Operator).await;
        let mut stream = jetstream.get_stream(StreamName::Lifecycle.as_str()).await.expect("the log");
        let total = stream.info().await.expect("its state").state.messages;
        let config = pull::Config {
            name: Some("view-operator-times".to_owned()),
            filter_subject: LIFECYCLE.to_owned(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: Duration::from_secs(30),
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.expect("a view");
        let mut appended = Vec::new();
        while (appended.len() as u64) < total {
            let mut batch = consumer.fetch().max_messages(BATCH).messages().await.expect("a batch");
            while let Some(message) = batch.next().await {
                let message = message.expect("a message");
                let at = message.info().expect("its place").published.unix_timestamp_nanos();
                appended.push(Appended { subject: message.subject.to_string(), at });
            }
        }
        appended
    }
}

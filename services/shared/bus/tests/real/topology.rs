//! An installation of an earlier version is taken over.

use super::support::LONG;
use async_nats::jetstream::{self, consumer::pull, stream};
use slipway_bus::{
    Principal,
    topology::{Bucket, MAX_QUEUED_REQUESTS, StreamName, TopologyConfig, WorkConsumer, ensure},
};
use slipway_kernel::Service;
use slipway_testkit::NatsServer;

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_made_is_brought_up_to_date() {
    let server = NatsServer::start().await;
    let admin = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let requests = StreamName::Requests.config(1);
    let requests = stream::Config { max_consumers: -1, max_messages_per_subject: 10, ..requests };
    admin.create_stream(requests).await.unwrap();
    // Each write of it went to the disk at once.
    let routes = stream::Config { persist_mode: None, ..Bucket::Routes.config(1) };
    admin.create_stream(routes).await.unwrap();
    // Its doorbell rang for every fact.
    let log = admin.create_stream(StreamName::Lifecycle.config(1)).await.unwrap();
    let security = WorkConsumer::Duties(Service::Security);
    let unfiltered = pull::Config { filter_subjects: Vec::new(), ..security.config() };
    log.create_consumer(unfiltered).await.unwrap();

    let bus = server.bus(Principal::Bootstrap).await;
    for _ in 0..2 {
        ensure(&bus, &TopologyConfig::default()).await.unwrap();
    }
    let requests = admin.get_stream("REQUESTS").await.unwrap();
    assert_eq!(requests.cached_info().config.max_messages_per_subject, MAX_QUEUED_REQUESTS);
    assert_eq!(admin.get_stream("LIFECYCLE").await.unwrap().cached_info().state.consumer_count, 8);
    let heard = log.consumer_info(security.as_str()).await.unwrap().config.filter_subjects;
    assert_eq!(heard, security.config().filter_subjects);
    let ingress = server.bus_as(Service::Ingress).await;
    ingress.routes().report(1).await.unwrap();
    assert_eq!(ingress.routes().wait_all(1, LONG).await.unwrap(), 1);
}

//! The view: the whole log in memory, through restarts and rebuilds of the broker.

use super::support::{LONG, deployment, draft, key, recovered, request};
use slipway_bus::{Change, Principal, topology};
use slipway_kernel::{Service, Slot};
use slipway_testkit::{NatsServer, eventually};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_view_has_what_was_there_and_what_comes() {
    let server = NatsServer::ready().await;
    let bus = server.bus_as(Service::Controller).await;
    request(&bus.log(), "before").await;
    let view = bus.log().follow().await.unwrap();
    assert_eq!(view.ids(), [deployment("before")]);
    let mut changes = view.changes();
    let written = request(&bus.log(), "after").await.into_fact();
    assert!(view.wait_applied(written.sequence, LONG).await);
    let change = Change::Deployment { id: deployment("after"), slot: Some(Slot::Request) };
    assert_eq!(changes.next().await, change);
    let folded = view.get(&deployment("after")).unwrap();
    assert_eq!(folded.last_sequence, written.sequence);
    assert_eq!(folded.deployment.newest().unwrap().requested().intake.id, "after");
    // Folded once, until something changes.
    assert!(std::sync::Arc::ptr_eq(&folded, &view.get(&deployment("after")).unwrap()));
    assert!(view.get(&deployment("never")).is_none());
    let same = bus.log().follow().await.unwrap();
    assert_eq!(same.applied(), view.applied());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_fact_is_set_aside_and_moves_the_token() {
    let server = NatsServer::ready().await;
    let bus = server.bus_as(Service::Controller).await;
    let first = request(&bus.log(), "digits").await.into_fact().sequence;
    let foreign = async_nats::connect(server.url()).await.unwrap();
    let foreign = async_nats::jetstream::new(foreign);
    for subject in ["slipway.lifecycle.default.digits.1.0.nonsense.0", "slipway.lifecycle.Nobody"] {
        foreign.publish(subject, "garbage".into()).await.unwrap().await.unwrap();
    }
    let view = bus.log().follow().await.unwrap();
    assert!(view.wait_applied(first + 2, LONG).await);
    let folded = view.get(&deployment("digits")).unwrap();
    assert_eq!(folded.last_sequence, first + 1);
    assert_eq!(folded.deployment.set_aside.len(), 1);
    assert!(folded.deployment.newest().is_some());
    assert_eq!(view.strays().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_goes_on_after_a_restart_of_the_broker() {
    let mut server = NatsServer::ready().await;
    let bus = server.bus_as(Service::Controller).await;
    let view = bus.log().follow().await.unwrap();
    for (round, kill) in [false, true, false].into_iter().enumerate() {
        request(&bus.log(), &format!("before-{round}")).await;
        if kill {
            server.kill9().await;
        }
        server.restart().await;
        let after = request(&bus.log(), &format!("after-{round}")).await.into_fact();
        assert!(view.wait_applied(after.sequence, LONG).await, "round {round}");
        assert_eq!(view.ids().len(), (round + 1) * 2);
    }
    assert!(bus.flags().list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_that_vanish_from_the_log_flag_their_deployment() {
    let server = NatsServer::ready().await;
    let bus = server.bus_as(Service::Controller).await;
    let view = bus.log().follow().await.unwrap();
    let kept = request(&bus.log(), "kept").await;
    let lost = request(&bus.log(), "lost").await;
    view.wait_applied(lost.fact().sequence, LONG).await;
    assert!(view.get(&deployment("kept")).is_some());
    // The log is made anew, with one of the two facts.
    let admin = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    admin.delete_stream("LIFECYCLE").await.unwrap();
    let bootstrap = server.bus(Principal::Bootstrap).await;
    topology::ensure(&bootstrap, &topology::TopologyConfig::default()).await.unwrap();
    let again = draft(kept.fact().answer.clone());
    bus.log().append(&kept.fact().key, again).await.unwrap();
    let flags = eventually(LONG, || async {
        let flags = bus.flags().list().await.unwrap();
        (!flags.is_empty()).then_some(flags)
    })
    .await;
    assert!(flags.contains_key(&deployment("lost")));
    eventually(LONG, || async { view.ids() == [deployment("kept")] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_deployment_ends_when_it_is_as_wanted() {
    let server = NatsServer::ready().await;
    let bus = server.bus_as(Service::Observability).await;
    let view = bus.log().follow().await.unwrap();
    let id = deployment("digits");
    assert!(view.wait_until(&id, Duration::from_millis(50), |_| true).await.is_none());
    let waiting = view.wait_until(&id, LONG, |folded| !folded.deployment.set_aside.is_empty());
    let writing = async {
        // Without a request this fact is set aside: it is not the first of its generation.
        bus.log().append(&key("digits", Slot::Degradation, 0), draft(recovered())).await.unwrap()
    };
    let (found, _) = tokio::join!(waiting, writing);
    assert!(found.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_leaves_no_consumer_behind() {
    let server = NatsServer::ready().await;
    let bus = server.bus_as(Service::Controller).await;
    request(&bus.log(), "digits").await;
    // More than the thousand consumers the broker allows at once.
    for _ in 0..1_100 {
        assert_eq!(bus.log().read(&deployment("digits")).await.unwrap().len(), 1);
    }
    let admin = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    eventually(LONG, || async {
        let stream = admin.get_stream("LIFECYCLE").await.unwrap();
        let count = stream.cached_info().state.consumer_count;
        if count <= 8 { Ok(()) } else { Err(count) }
    })
    .await;
}

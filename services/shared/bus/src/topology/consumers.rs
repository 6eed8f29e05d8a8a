//! The durable consumers. They are made at installation, so that no service needs the right to make or change one.

use super::{
    StreamName,
    subjects::{LIFECYCLE, RESULTS, facts_in_slot, request_queue},
};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull::Config};
use slipway_kernel::{DeploymentId, RevisionId, Service, Slot, names};
use std::time::Duration;

/// How long a delivery may go without a sign of life before another replica gets it: the failover time of work. Handlers say
/// "working" each 10 s, so two may be lost.
pub const WORK_ACK_WAIT: Duration = Duration::from_secs(30);
/// How many doorbells may be out at once. Each running or waiting duty holds one, and a thousand deployments may be at work at
/// once, some with several facts under way; past this the rest waits in the log, and the sweep finds it.
pub const MAX_ACK_PENDING_DUTIES: i64 = 4_096;
/// Demands in work at the gate: each is a few milliseconds, and more would only wait in memory instead of in the stream.
const MAX_ACK_PENDING_INTAKE: i64 = 256;
/// Results under way to the sinks. Those for objects are held until there are enough for one, and must not be missing to the others: at
/// some hundred a second, ten seconds' worth for each of four replicas. The broker keeps some hundred bytes for each.
pub const MAX_ACK_PENDING_RESULTS: i64 = 40_000;
/// Batches under way to the sinks. Those for objects are held: at a hundred a second, which is the most one ingress sends, ten seconds'
/// worth for each of four replicas.
pub const MAX_ACK_PENDING_CAPTURES: i64 = 4_096;
/// Requests at the doors that are being passed on, or wait to be tried again: all there may be. With fewer, a deployment whose queue is full
/// would keep the requests of others from being delivered.
const MAX_ACK_PENDING_INBOUND: i64 = super::streams::MAX_INBOUND_IN_ALL;
/// Requests held by all workers of a revision: the bound of the queue itself.
const MAX_ACK_PENDING_REQUESTS: i64 = super::streams::MAX_QUEUED_REQUESTS;

/// A durable consumer made at installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkConsumer {
    /// The doorbell of one service.
    Duties(Service),
    /// The gate's: what arrived while no gate was up.
    Gate,
    /// The ingress', of requests that clients left.
    Inbound,
    /// The sink-writer's, of results that can be asked for.
    Results,
    /// The sink-writer's, of captured batches.
    Captures,
}

impl WorkConsumer {
    /// Every durable consumer made at installation. Workers do not answer questions of the log, so they have none there.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let answering = Service::ALL.into_iter().filter(|service| *service != Service::InferenceWorker);
        answering.map(Self::Duties).chain([Self::Gate, Self::Inbound, Self::Results, Self::Captures]).collect()
    }

    /// The stream it reads.
    #[must_use]
    pub const fn stream(self) -> StreamName {
        match self {
            Self::Duties(_) => StreamName::Lifecycle,
            Self::Gate => StreamName::Intake,
            Self::Inbound => StreamName::Inbound,
            Self::Results => StreamName::Results,
            Self::Captures => StreamName::Captures,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duties(service) => service.name(),
            Self::Gate => "gate",
            Self::Inbound => Service::Ingress.name(),
            Self::Results | Self::Captures => Service::SinkWriter.name(),
        }
    }

    /// Whose it is.
    #[must_use]
    pub const fn owner(self) -> Service {
        match self {
            Self::Duties(service) => service,
            Self::Gate => Service::Controller,
            Self::Inbound => Service::Ingress,
            Self::Results | Self::Captures => Service::SinkWriter,
        }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(self) -> Config {
        Config {
            durable_name: Some(self.as_str().to_owned()),
            name: Some(self.as_str().to_owned()),
            ack_policy: AckPolicy::Explicit,
            // From the beginning: a service installed later is rung for everything that is still open. Doorbells for what is done
            // cost one look each.
            deliver_policy: DeliverPolicy::All,
            filter_subjects: match self {
                Self::Duties(service) => facts_that_ring(service),
                Self::Gate | Self::Inbound | Self::Captures => Vec::new(),
                // Not the marks of fences.
                Self::Results => vec![RESULTS.to_owned()],
            },
            ack_wait: WORK_ACK_WAIT,
            // Never skipped in silence: the service itself writes the dead letter.
            max_deliver: -1,
            max_ack_pending: match self {
                Self::Duties(_) => MAX_ACK_PENDING_DUTIES,
                Self::Gate => MAX_ACK_PENDING_INTAKE,
                Self::Inbound => MAX_ACK_PENDING_INBOUND,
                Self::Results => MAX_ACK_PENDING_RESULTS,
                Self::Captures => MAX_ACK_PENDING_CAPTURES,
            },
            // Each replica has one pull open; this is a bound on replicas.
            max_waiting: 128,
            ..Config::default()
        }
    }
}

/// Whether the doorbell of `service` rings for facts in `slot`. A token with a number in it cannot be filtered for, and the filters of a
/// consumer may not overlap: so only the controller, which hears everything, is rung for commands.
pub(crate) fn rings(service: Service, slot: Slot) -> bool {
    service == Service::Controller || (slot.concerns(service) && !matches!(slot, Slot::Command(_) | Slot::Shift(_)))
}

/// The subjects that ring at `service`. A fact that rings at all eight costs as much again as reading it everywhere.
fn facts_that_ring(service: Service) -> Vec<String> {
    if service == Service::Controller {
        return vec![LIFECYCLE.to_owned()];
    }
    let slots =
        Slot::FIXED.into_iter().chain(Service::REMOVERS.map(Slot::Removal)).filter(|slot| rings(service, *slot));
    slots.map(|slot| facts_in_slot(&slot.to_string())).collect()
}

/// The shared consumer of one revision's queue: name and configuration. Workers make it, since revisions come and go.
pub(crate) fn request_consumer(id: &DeploymentId, revision: RevisionId) -> (String, Config) {
    queue_consumer(id, revision, names::queue(id, revision))
}

/// The consumer by which the queue of a fenced revision is moved. While it is there, nobody can make the workers' own.
pub(crate) fn moving_consumer(id: &DeploymentId, revision: RevisionId) -> (String, Config) {
    queue_consumer(id, revision, format!("{}_moving", names::queue(id, revision)))
}

fn queue_consumer(id: &DeploymentId, revision: RevisionId, name: String) -> (String, Config) {
    let config = Config {
        durable_name: Some(name.clone()),
        name: Some(name.clone()),
        filter_subject: request_queue(id, revision),
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::All,
        ack_wait: WORK_ACK_WAIT,
        // Poison is dead-lettered by the worker, which sees the count of deliveries.
        max_deliver: -1,
        max_ack_pending: MAX_ACK_PENDING_REQUESTS,
        max_waiting: 512,
        // A Raft group per revision would cost more than the count of deliveries is worth; the stream itself keeps its copies.
        num_replicas: 1,
        ..Config::default()
    };
    (name, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_that_answers_questions_has_a_doorbell() {
        let all = WorkConsumer::all();
        assert_eq!(all.len(), 12);
        for consumer in all {
            assert_eq!(consumer.config().max_deliver, -1, "{consumer:?}");
            assert!(consumer.config().max_ack_pending > 0, "{consumer:?}");
        }
    }

    #[test]
    fn a_doorbell_rings_for_what_concerns_its_service_and_no_share_of_the_traffic_concerns_any_but_the_controller() {
        let heard = WorkConsumer::Duties(Service::Ingress).config().filter_subjects;
        assert_eq!(heard, ["deployment", "ingress", "removal-ingress"].map(facts_in_slot));
        assert_eq!(WorkConsumer::Duties(Service::Controller).config().filter_subjects, [LIFECYCLE]);
        // These cannot be named by a filter, so they must not be needed.
        for service in Service::ALL.into_iter().filter(|service| *service != Service::Controller) {
            assert!((1..100).all(|percent| !Slot::Shift(percent).concerns(service)), "{service}");
            let others = Service::REMOVERS.into_iter().filter(|other| *other != service);
            assert!(others.map(Slot::Removal).all(|slot| !slot.concerns(service)), "{service}");
        }
    }

    #[test]
    fn revisions_of_different_deployments_never_share_a_consumer() {
        let name = |id: &str, generation| request_consumer(&id.parse().unwrap(), RevisionId::new(generation, 1)).0;
        assert_ne!(name("a.b-1", 1), name("a-b.1", 1));
        assert_ne!(name("a.b", 1), name("a.b", 2));
        assert!(!name("a.b", 1).contains('.'));
    }
}

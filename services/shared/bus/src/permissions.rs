//! Who may say and hear what, generated from the slot table: each service writes its own slots and nobody else's, clients write none.
//!
//! What permissions cannot tell apart is said here: clearing an integrity flag is a write like raising one, so services could; that
//! they do not is their code. The three reads that bypass subjects (`STREAM.MSG.GET`, `DIRECT.GET` by body, a consumer with many
//! filters) are for services only; clients have the read by subject, which is confined. At the object store of its namespace a client of models
//! may do what the libraries do there, so all of them share it.

mod config;
mod rules;

pub use config::{ClusterConfig, RouteCredentials, ServerConfig, ServerTls, authorization, open_config, server_config};
pub use rules::{Permissions, Rules};

use crate::{
    principal::{InferenceClient, Principal},
    topology::{
        self, API, ASKED, BLOBS, Bucket, CAPTURES, CLIENT_INBOXES, DEFAULT_INBOXES, FENCES, INBOUND, INTAKE,
        INTAKE_ANSWERS, LIFECYCLE, PAYLOADS, REQUESTS, RESULT_PARTS, RESULTS, RESULTS_BELOW, StreamName, WorkConsumer,
        client_inbox, facts_in_slot, inbox, nudges, objects_stream,
    },
};
use slipway_kernel::{Namespace, Service, Slot};

/// What a principal may say and hear.
#[must_use]
pub fn of(principal: Principal) -> Permissions {
    let mut permissions = Permissions::default();
    permissions.hear(format!("{}.>", inbox(principal)));
    match principal {
        Principal::Service(service) => of_service(&mut permissions, service),
        Principal::Operator => of_operator(&mut permissions),
        Principal::Client => demands(&mut permissions),
        Principal::Bootstrap => permissions.say(format!("{API}.>")),
    }
    permissions
}

/// What a principal may say and hear at a broker that has clients of models in these namespaces: the ingress reads what they put into their
/// object stores.
#[must_use]
pub fn beside_clients<'a>(principal: Principal, namespaces: impl IntoIterator<Item = &'a Namespace>) -> Permissions {
    let mut permissions = of(principal);
    if principal == Principal::Service(Service::Ingress) {
        for namespace in namespaces {
            let bucket = topology::uploads(namespace);
            objects(&mut permissions, &objects_stream(&bucket), &bucket);
        }
    }
    permissions
}

/// What a client of models may say and hear: requests to the models of its namespace, answers below a prefix that is its own.
#[must_use]
pub fn of_inference_client(client: &InferenceClient) -> Permissions {
    let mut permissions = Permissions::default();
    permissions.hear(format!("{}.>", client_inbox(client)));
    for requests in topology::of_namespace(&client.namespace) {
        permissions.say(requests);
    }
    // The object store of the namespace, as the libraries of NATS use one.
    let bucket = topology::uploads(&client.namespace);
    let stream = objects_stream(&bucket);
    permissions.say(format!("$O.{bucket}.>"));
    for what in ["STREAM.INFO", "STREAM.PURGE", "STREAM.MSG.GET", "DIRECT.GET"] {
        permissions.say(format!("{API}.{what}.{stream}"));
    }
    permissions.say(format!("{API}.DIRECT.GET.{stream}.$O.{bucket}.M.*"));
    permissions
}

/// The slots of a service, each as the token or tokens it may write. The controller's counted slots (`shift-25`, `command-3`) have no
/// wildcard of their own, so it may write all slots but those of others.
fn slots(permissions: &mut Permissions, service: Service) {
    let every = Slot::FIXED.into_iter().chain(Service::REMOVERS.map(Slot::Removal));
    if service == Service::Controller {
        permissions.say(LIFECYCLE);
        for slot in every.filter(|slot| slot.answered_by() != service) {
            permissions.never_say(facts_in_slot(&slot.to_string()));
        }
    } else {
        for slot in every.filter(|slot| slot.answered_by() == service) {
            permissions.say(facts_in_slot(&slot.to_string()));
        }
    }
}

fn of_service(permissions: &mut Permissions, service: Service) {
    slots(permissions, service);
    view(permissions);
    for consumer in WorkConsumer::all().into_iter().filter(|consumer| consumer.owner() == service) {
        work(permissions, consumer);
    }
    permissions.hear(nudges(service));
    permissions.say(topology::NUDGES);
    permissions.say(topology::dead(service.name()));
    lease(permissions, service);
    flags(permissions);
    blobs(permissions);
    identity(permissions, service);
    for bucket in [Bucket::Workers, Bucket::Routes] {
        follow(permissions, bucket, ">");
    }
    match service {
        Service::Controller => controller(permissions),
        Service::Ingress => ingress(permissions),
        Service::InferenceWorker => worker(permissions),
        Service::SinkWriter => sink_writer(permissions),
        Service::Security => security(permissions),
        Service::PlatformSelector => foreign_objects(permissions),
        Service::Observability => {
            permissions.say(consumer_info(WorkConsumer::Results));
            permissions.say(consumer_info(WorkConsumer::Captures));
        }
        Service::Validator => {
            results_by_subject(permissions);
            permissions.say(topology::ask(Service::SinkWriter, "rows"));
        }
        Service::Provisioner => {
            bucket_write(permissions, Bucket::Troubles, &format!("*.*.*.{service}"));
        }
    }
}

fn of_operator(permissions: &mut Permissions) {
    demands(permissions);
    view(permissions);
    flags(permissions);
    blobs(permissions);
    results_by_subject(permissions);
    for service in [Service::SinkWriter, Service::Security] {
        permissions.say(topology::ask(service, "*"));
    }
    permissions.say(format!("{API}.STREAM.INFO.*"));
    permissions.say(format!("{API}.CONSUMER.INFO.*.*"));
    for bucket in [Bucket::Workers, Bucket::Troubles, Bucket::Routes, Bucket::Leases, Bucket::ApiKeys] {
        follow(permissions, bucket, ">");
    }
    // Models in object stores of one's own.
    permissions.say("$O.*.>");
    foreign_objects(permissions);
    // Dead letters: read, send again, remove.
    let dead = StreamName::Dead.as_str();
    permissions.say(format!("{API}.STREAM.MSG.GET.{dead}"));
    permissions.say(format!("{API}.STREAM.MSG.DELETE.{dead}"));
    read_stream(permissions, dead, topology::DEAD);
    permissions.say(topology::NUDGES);
    permissions.say(INBOUND);
    permissions.say(REQUESTS);
    permissions.say(CAPTURES);
}

/// The intake and its answers: all that a client may.
fn demands(permissions: &mut Permissions) {
    permissions.say(INTAKE);
    permissions.hear(INTAKE_ANSWERS);
    permissions.say(format!("{API}.DIRECT.GET.{}.{INTAKE_ANSWERS}", StreamName::IntakeAnswers.as_str()));
}

/// Following a stream or a part of it: the consumer's filter stands in the subject by which it is made.
fn read_stream(permissions: &mut Permissions, stream: &str, filter: &str) {
    permissions.say(format!("{API}.STREAM.INFO.{stream}"));
    permissions.say(format!("{API}.CONSUMER.CREATE.{stream}.*.{filter}"));
    permissions.say(format!("{API}.CONSUMER.INFO.{stream}.*"));
    permissions.say(format!("{API}.CONSUMER.MSG.NEXT.{stream}.*"));
    permissions.say(format!("{API}.CONSUMER.DELETE.{stream}.*"));
}

fn view(permissions: &mut Permissions) {
    let log = StreamName::Lifecycle.as_str();
    read_stream(permissions, log, LIFECYCLE);
    permissions.say(format!("{API}.STREAM.MSG.GET.{log}"));
    // The right to make a view must not reach the durable consumers of the services.
    for consumer in WorkConsumer::all().into_iter().filter(|consumer| consumer.stream() == StreamName::Lifecycle) {
        permissions.never_say(format!("{API}.CONSUMER.CREATE.{log}.{}.>", consumer.as_str()));
        permissions.never_say(format!("{API}.CONSUMER.DELETE.{log}.{}", consumer.as_str()));
        permissions.never_say(next(consumer));
    }
}

fn next(consumer: WorkConsumer) -> String {
    format!("{API}.CONSUMER.MSG.NEXT.{}.{}", consumer.stream().as_str(), consumer.as_str())
}

fn consumer_info(consumer: WorkConsumer) -> String {
    format!("{API}.CONSUMER.INFO.{}.{}", consumer.stream().as_str(), consumer.as_str())
}

fn work(permissions: &mut Permissions, consumer: WorkConsumer) {
    permissions.say_after_all(next(consumer));
    permissions.say(consumer_info(consumer));
    acknowledge(permissions, consumer.stream().as_str(), consumer.as_str());
}

fn acknowledge(permissions: &mut Permissions, stream: &str, consumer: &str) {
    permissions.say(format!("$JS.ACK.{stream}.{consumer}.>"));
    // As servers of a later version write it, with domain and account.
    permissions.say(format!("$JS.ACK.*.*.{stream}.{consumer}.>"));
}

fn bucket_read(permissions: &mut Permissions, bucket: Bucket) {
    permissions.say(format!("{API}.STREAM.MSG.GET.{}", bucket.stream()));
}

fn follow(permissions: &mut Permissions, bucket: Bucket, keys: &str) {
    read_stream(permissions, &bucket.stream(), &topology::bucket_key(bucket.as_str(), keys));
}

fn bucket_write(permissions: &mut Permissions, bucket: Bucket, keys: &str) {
    permissions.say(topology::bucket_key(bucket.as_str(), keys));
}

/// The third token of a lease's key is its service.
fn lease(permissions: &mut Permissions, service: Service) {
    bucket_write(permissions, Bucket::Leases, &format!("*.*.{service}.*"));
    bucket_read(permissions, Bucket::Leases);
    follow(permissions, Bucket::Leases, ">");
}

fn flags(permissions: &mut Permissions) {
    bucket_write(permissions, Bucket::Flags, "*.*.integrity");
    bucket_read(permissions, Bucket::Flags);
    follow(permissions, Bucket::Flags, ">");
}

fn identity(permissions: &mut Permissions, service: Service) {
    bucket_write(permissions, Bucket::Identities, &format!("asked.{service}.*"));
    follow(permissions, Bucket::Identities, &format!("issued.{service}.*"));
    follow(permissions, Bucket::Identities, "trust");
}

fn blobs(permissions: &mut Permissions) {
    let stream = objects_stream(BLOBS);
    permissions.say(format!("$O.{BLOBS}.>"));
    // A blob that two put at once is stored twice for a moment; the second then purges the pieces of the first.
    permissions.say(format!("{API}.STREAM.PURGE.{stream}"));
    objects(permissions, &stream, BLOBS);
}

/// Reading the objects of a bucket: the description by its subject, the pieces by a consumer that is confined to them.
fn objects(permissions: &mut Permissions, stream: &str, bucket: &str) {
    permissions.say(format!("{API}.STREAM.INFO.{stream}"));
    permissions.say(format!("{API}.DIRECT.GET.{stream}.$O.{bucket}.>"));
    read_stream(permissions, stream, &format!("$O.{bucket}.C.*"));
}

/// Models that users have put into object stores of their own. The wildcards reach objects only.
fn foreign_objects(permissions: &mut Permissions) {
    objects(permissions, "*", "*");
    // What that reaches besides: consumers of streams that are not objects.
    let others = [
        StreamName::Intake,
        StreamName::IntakeAnswers,
        StreamName::Inbound,
        StreamName::Requests,
        StreamName::Results,
        StreamName::Captures,
    ];
    for stream in others {
        permissions.never_say(format!("{API}.CONSUMER.MSG.NEXT.{}.*", stream.as_str()));
        permissions.never_say(format!("{API}.CONSUMER.DELETE.{}.*", stream.as_str()));
    }
}

fn results_by_subject(permissions: &mut Permissions) {
    for subjects in [RESULTS_BELOW, RESULT_PARTS] {
        permissions.say(format!("{API}.DIRECT.GET.{}.{subjects}", StreamName::Results.as_str()));
    }
}

fn marks_by_subject(permissions: &mut Permissions) {
    permissions.say(format!("{API}.DIRECT.GET.{}.{FENCES}", StreamName::Results.as_str()));
}

/// A queue's consumer: workers share it, and whoever moves requests uses the same.
fn request_queues(permissions: &mut Permissions) {
    let stream = StreamName::Requests.as_str();
    permissions.say(format!("{API}.CONSUMER.CREATE.{stream}.*.{REQUESTS}"));
    permissions.say(format!("{API}.CONSUMER.INFO.{stream}.*"));
    permissions.say(format!("{API}.CONSUMER.MSG.NEXT.{stream}.*"));
    permissions.say(format!("{API}.STREAM.INFO.{stream}"));
    acknowledge(permissions, stream, "*");
}

fn controller(permissions: &mut Permissions) {
    // The gate, and the bridge, which demands at it for custom resources.
    permissions.hear(INTAKE);
    demands(permissions);
    permissions.may_respond();
    permissions.say(INTAKE_ANSWERS);
    permissions.say(format!("{API}.STREAM.MSG.GET.{}", StreamName::IntakeAnswers.as_str()));
    // Rollback moves what waits; a revision that is gone takes its queue along.
    let stream = StreamName::Requests.as_str();
    request_queues(permissions);
    permissions.say(REQUESTS);
    permissions.say(format!("{API}.CONSUMER.DELETE.{stream}.*"));
    permissions.say(format!("{API}.STREAM.PURGE.{stream}"));
    // A fenced revision is marked, and what it said too late is removed.
    permissions.say(FENCES);
    marks_by_subject(permissions);
    results_by_subject(permissions);
    permissions.say(format!("{API}.STREAM.PURGE.{}", StreamName::Results.as_str()));
    bucket_write(permissions, Bucket::Troubles, ">");
}

/// Answers to clients, at their inboxes and nowhere else: not wherever a request says, which `allow_responses` would let happen.
fn answer_clients(permissions: &mut Permissions) {
    permissions.say(CLIENT_INBOXES);
    permissions.say(DEFAULT_INBOXES);
}

/// Storing what is too large for the message of a queued request, and removing it.
fn payloads(permissions: &mut Permissions) {
    permissions.say(format!("$O.{PAYLOADS}.>"));
    permissions.say(format!("{API}.STREAM.PURGE.{}", objects_stream(PAYLOADS)));
}

fn ingress(permissions: &mut Permissions) {
    permissions.hear(ASKED);
    payloads(permissions);
    answer_clients(permissions);
    permissions.say(REQUESTS);
    permissions.say(format!("{API}.STREAM.INFO.{}", StreamName::Requests.as_str()));
    permissions.say(RESULTS);
    permissions.say(RESULT_PARTS);
    permissions.say(CAPTURES);
    results_by_subject(permissions);
    bucket_write(permissions, Bucket::Routes, "ingress.*");
    bucket_write(permissions, Bucket::Accepted, ">");
    bucket_read(permissions, Bucket::Accepted);
    follow(permissions, Bucket::ApiKeys, ">");
}

fn worker(permissions: &mut Permissions) {
    bucket_write(permissions, Bucket::Workers, ">");
    request_queues(permissions);
    objects(permissions, &objects_stream(PAYLOADS), PAYLOADS);
    permissions.say(format!("{API}.STREAM.PURGE.{}", objects_stream(PAYLOADS)));
    permissions.say(RESULTS);
    permissions.say(RESULT_PARTS);
    answer_clients(permissions);
    // A request that is delivered again may be answered already.
    results_by_subject(permissions);
}

fn sink_writer(permissions: &mut Permissions) {
    let stream = StreamName::Results.as_str();
    permissions.say(format!("{API}.STREAM.INFO.{stream}"));
    permissions.say(format!("{API}.STREAM.PURGE.{stream}"));
    results_by_subject(permissions);
    marks_by_subject(permissions);
    permissions.hear(topology::ask(Service::SinkWriter, "*"));
    permissions.may_respond();
}

fn security(permissions: &mut Permissions) {
    bucket_write(permissions, Bucket::ApiKeys, ">");
    follow(permissions, Bucket::ApiKeys, ">");
    bucket_write(permissions, Bucket::Identities, "issued.>");
    bucket_write(permissions, Bucket::Identities, "trust");
    follow(permissions, Bucket::Identities, ">");
    // An operator is told a key that is made for him.
    permissions.hear(topology::ask(Service::Security, "*"));
    permissions.may_respond();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use slipway_kernel::{Attempt, FactKey, RevisionId};

    fn may_write(principal: Principal, slot: Slot) -> bool {
        let key = FactKey::new("default.digits".parse().unwrap(), RevisionId::new(3, 1), slot).at(Attempt(2));
        of(principal).may_say(&topology::fact(&key))
    }

    fn any_slot() -> impl Strategy<Value = Slot> {
        prop_oneof![
            proptest::sample::select(Slot::FIXED.to_vec()),
            proptest::sample::select(Service::REMOVERS.to_vec()).prop_map(Slot::Removal),
            (1_u8..=99).prop_map(Slot::Shift),
            any::<u32>().prop_map(Slot::Command),
        ]
    }

    proptest! {
        #[test]
        fn each_slot_is_written_by_its_service_and_by_nobody_else(slot in any_slot()) {
            for principal in Principal::ALL {
                let expected = principal == Principal::Service(slot.answered_by());
                prop_assert_eq!(may_write(principal, slot), expected, "{} {}", principal, slot);
            }
        }
    }

    #[test]
    fn a_client_reaches_the_intake_and_nothing_else() {
        let client = of(Principal::Client);
        assert!(client.may_say("slipway.intake.default.deploy"));
        for subject in [
            "slipway.lifecycle.default.digits.1.0.request.0",
            "slipway.intake-answers.default.x",
            "$JS.API.STREAM.MSG.GET.LIFECYCLE",
            "$JS.API.STREAM.DELETE.LIFECYCLE",
            "$JS.API.CONSUMER.CREATE.LIFECYCLE.x",
            "$JS.API.DIRECT.GET.LIFECYCLE.slipway.lifecycle.default.digits.1.0.request.0",
            "$KV.slipway-leases.a.b.controller.x",
            "slipway.nudge.controller.a.b",
            "slipway.results.a.b.c",
        ] {
            assert!(!client.may_say(subject), "{subject}");
        }
        assert!(!client.may_hear("slipway.lifecycle.a.b.1.0.request.0"));
        assert!(!client.may_hear("_SLIPWAY_INBOX.controller.x"));
    }

    #[test]
    fn a_client_of_models_reaches_those_of_its_namespace_and_hears_nobody_elses_answers() {
        let shop: InferenceClient = "team-b.shop".parse().unwrap();
        let permissions = of_inference_client(&shop);
        assert!(permissions.may_say("slipway.inference.team-b.digits.request"));
        assert!(permissions.may_say("slipway.inference.team-b.digits.infer"));
        assert!(permissions.may_hear("_SLIPWAY_CLIENT.team-b.shop.x.1"));
        for subject in [
            "slipway.inference.default.digits.request",
            "slipway.inference.team-b.digits.1-1.request",
            "slipway.intake.team-b.deploy",
            "slipway.results.team-b.digits.x",
            "slipway.captures.team-b.digits",
            "slipway.dead.ingress",
            "slipway.nudge.ingress.team-b.digits",
            "_SLIPWAY_CLIENT.team-b.shop.x",
            "$JS.API.STREAM.INFO.INBOUND",
            "$JS.API.CONSUMER.MSG.NEXT.INBOUND.ingress",
            "$JS.ACK.INBOUND.ingress.1.1.1.1.1",
            "$KV.slipway-requests.team-b.digits.x",
        ] {
            assert!(!permissions.may_say(subject), "{subject}");
        }
        for subject in ["_SLIPWAY_CLIENT.team-b.other.x", "_INBOX.x", "slipway.inference.team-b.digits.request"] {
            assert!(!permissions.may_hear(subject), "{subject}");
        }
    }

    #[test]
    fn only_an_operator_is_told_a_key() {
        let asked = topology::ask(Service::Security, "api-key");
        for principal in Principal::ALL {
            let may = of(principal).may_say(&asked);
            assert_eq!(may, principal == Principal::Operator, "{principal}");
            let hears = of(principal).may_hear(&asked);
            assert_eq!(hears, principal == Principal::Service(Service::Security), "{principal}");
        }
    }

    #[test]
    fn who_answers_clients_does_so_at_their_inboxes_only() {
        for service in [Service::Ingress, Service::InferenceWorker] {
            let permissions = of(service.into());
            assert!(!permissions.respond, "{service}");
            assert!(permissions.may_say("_SLIPWAY_CLIENT.a.b.c") && permissions.may_say("_INBOX.x.1"), "{service}");
            for subject in ["_SLIPWAY_INBOX.operator.x", "slipway.intake.default.deploy", "$SYS.REQ.SERVER.PING"] {
                assert!(!permissions.may_say(subject), "{service}: {subject}");
            }
        }
    }

    #[test]
    fn the_provisioner_says_what_is_wrong_with_infrastructure_and_not_with_workers() {
        let provisioner = of(Service::Provisioner.into());
        assert!(provisioner.may_say("$KV.slipway-troubles.default.digits.1-0.provisioner"));
        assert!(!provisioner.may_say("$KV.slipway-troubles.default.digits.1-1"));
    }

    #[test]
    fn a_service_cannot_touch_the_work_of_another() {
        for service in Service::ALL {
            let permissions = of(service.into());
            for other in Service::ALL.into_iter().filter(|other| *other != service) {
                for subject in [
                    format!("$JS.API.CONSUMER.MSG.NEXT.LIFECYCLE.{other}"),
                    format!("$JS.API.CONSUMER.CREATE.LIFECYCLE.{other}"),
                    format!("$JS.API.CONSUMER.DELETE.LIFECYCLE.{other}"),
                    format!("$JS.API.CONSUMER.CREATE.LIFECYCLE.{other}.slipway.lifecycle.>"),
                    format!("$JS.ACK.LIFECYCLE.{other}.1.1.1.1.1"),
                    format!("$KV.slipway-leases.a.b.{other}.work"),
                    format!("$KV.slipway-identities.asked.{other}.x"),
                    format!("slipway.dead.{other}"),
                ] {
                    // Workers have no durable there, so a view may have their name.
                    if other != Service::InferenceWorker || !subject.contains("LIFECYCLE") {
                        assert!(!permissions.may_say(&subject), "{service}: {subject}");
                    }
                }
                assert!(!permissions.may_hear(&format!("_SLIPWAY_INBOX.{other}.x")), "{service}: {other}");
            }
            for consumer in WorkConsumer::all().into_iter().filter(|consumer| consumer.owner() != service) {
                let (stream, name) = (consumer.stream().as_str(), consumer.as_str());
                for verb in ["MSG.NEXT", "DELETE", "CREATE"] {
                    assert!(
                        !permissions.may_say(&format!("$JS.API.CONSUMER.{verb}.{stream}.{name}")),
                        "{service}: {name}"
                    );
                }
            }
            for subject in ["STREAM.DELETE.LIFECYCLE", "STREAM.UPDATE.LIFECYCLE", "STREAM.PURGE.LIFECYCLE"] {
                assert!(!permissions.may_say(&format!("$JS.API.{subject}")), "{service}: {subject}");
            }
            if service != Service::InferenceWorker {
                assert!(permissions.may_say(&format!("$JS.API.CONSUMER.MSG.NEXT.LIFECYCLE.{service}")), "{service}");
            }
        }
    }
}

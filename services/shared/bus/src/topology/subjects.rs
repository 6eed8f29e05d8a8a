//! Subjects as functions and parsers. Ids are validated where they are made, so none of them can leave its token.

use crate::principal::{InferenceClient, Principal};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use sha2::{Digest, Sha256};
use slipway_kernel::{DeploymentId, FactKey, Namespace, RequestId, RevisionId, Service};

/// Every fact.
pub const LIFECYCLE: &str = "slipway.lifecycle.>";
/// Everything people, CI and custom resources send.
pub const INTAKE: &str = "slipway.intake.>";
/// Every recorded answer of the gate.
pub const INTAKE_ANSWERS: &str = "slipway.intake-answers.>";
/// The queues of all revisions.
pub const REQUESTS: &str = "slipway.inference.*.*.*.request";
/// Requests that clients leave for any deployment. One token shorter than the queues of revisions, so that neither is ever the other.
pub const INBOUND: &str = "slipway.inference.*.*.request";
/// Requests whose clients wait for the answer: core NATS, never stored.
pub const ASKED: &str = "slipway.inference.*.*.infer";
/// Where clients of models hear answers, each below a prefix of its own.
pub const CLIENT_INBOXES: &str = "_SLIPWAY_CLIENT.>";
/// Where clients that were told of no other prefix hear answers.
pub const DEFAULT_INBOXES: &str = "_INBOX.>";
/// Every recorded result. Not below `slipway.inference`: a request with the id `request` would match both streams.
pub const RESULTS: &str = "slipway.results.*.*.*";
/// The parts of results that are too large for one message, beside them so that both go together.
pub const RESULT_PARTS: &str = "slipway.result-parts.*.*";
/// Marks among the results: what a fenced revision says after its own is void.
pub const FENCES: &str = "slipway.fences.*.*.*";
/// Results on their way to the outputs, per deployment.
pub const CAPTURES: &str = "slipway.captures.*.*";
/// Every dead letter.
pub const DEAD: &str = "slipway.dead.>";
/// What JetStream's administration is asked through.
pub const API: &str = "$JS.API";

/// Where a fact stands.
#[must_use]
pub fn fact(key: &FactKey) -> String {
    format!("slipway.lifecycle.{key}")
}

/// All facts of one deployment: the filter of a guarded write.
#[must_use]
pub fn facts_of(id: &DeploymentId) -> String {
    format!("slipway.lifecycle.{id}.>")
}

/// The key in a fact's subject.
///
/// # Errors
/// Why the subject is none of a fact.
pub fn parse_fact(subject: &str) -> Result<FactKey, String> {
    subject.strip_prefix("slipway.lifecycle.").ok_or_else(|| "not below `slipway.lifecycle`".to_owned())?.parse()
}

/// Whose facts a subject of the log belongs to, even where the rest of it makes no sense.
#[must_use]
pub fn deployment_of(subject: &str) -> Option<DeploymentId> {
    let mut tokens = subject.strip_prefix("slipway.lifecycle.")?.split('.');
    Some(DeploymentId { namespace: tokens.next()?.parse().ok()?, name: tokens.next()?.parse().ok()? })
}

/// Facts in one slot, of every deployment and revision; `slot` is a whole token.
#[must_use]
pub fn facts_in_slot(slot: &str) -> String {
    format!("slipway.lifecycle.*.*.*.*.{slot}.*")
}

/// Where a demand is sent.
#[must_use]
pub fn intake(namespace: &Namespace, verb: &str) -> String {
    format!("slipway.intake.{namespace}.{verb}")
}

/// Namespace and verb of an intake subject, unchecked.
#[must_use]
pub fn parse_intake(subject: &str) -> Option<(&str, &str)> {
    let (namespace, verb) = subject.strip_prefix("slipway.intake.")?.split_once('.')?;
    (!verb.contains('.')).then_some((namespace, verb))
}

/// The token of an intake message: the first 32 hexadecimal digits of SHA-256 over `<ce-source>\n<ce-id>`.
#[must_use]
pub fn intake_token(source: &str, id: &str) -> String {
    let mut token = hex::encode(Sha256::digest(format!("{source}\n{id}")));
    // 128 bits: enough that two messages never meet by chance.
    token.truncate(32);
    token
}

/// Where the answer to an intake message is kept.
#[must_use]
pub fn intake_answer(namespace: &Namespace, source: &str, id: &str) -> String {
    format!("slipway.intake-answers.{namespace}.{}", intake_token(source, id))
}

/// The queue of one revision.
#[must_use]
pub fn request_queue(id: &DeploymentId, revision: RevisionId) -> String {
    format!("slipway.inference.{id}.{revision}.request")
}

/// Where clients leave requests for a deployment.
#[must_use]
pub fn inbound(id: &DeploymentId) -> String {
    format!("slipway.inference.{id}.request")
}

/// Where clients ask a deployment and wait.
#[must_use]
pub fn asked(id: &DeploymentId) -> String {
    format!("slipway.inference.{id}.infer")
}

/// Whom a request was left for, or asked.
#[must_use]
pub fn parse_inference(subject: &str) -> Option<DeploymentId> {
    let (deployment, verb) = subject.strip_prefix("slipway.inference.")?.rsplit_once('.')?;
    deployment.parse().ok().filter(|_| matches!(verb, "request" | "infer"))
}

/// Where the requests of a client of models go: those it leaves and those it waits for, for any deployment of its namespace.
#[must_use]
pub fn of_namespace(namespace: &Namespace) -> [String; 2] {
    ["request", "infer"].map(|verb| format!("slipway.inference.{namespace}.*.{verb}"))
}

/// The prefix below which a client of models hears answers, and nobody else does.
#[must_use]
pub fn client_inbox(client: &InferenceClient) -> String {
    format!("_SLIPWAY_CLIENT.{client}")
}

/// Where the result of one request is kept.
#[must_use]
pub fn result(id: &DeploymentId, request: &RequestId) -> String {
    format!("slipway.results.{id}.{request}")
}

/// A part of a result; `parts` is a name that nobody has used.
#[must_use]
pub fn result_part(parts: &str, number: usize) -> String {
    format!("slipway.result-parts.{parts}.{number}")
}

/// The mark of a fenced revision.
#[must_use]
pub fn fence(id: &DeploymentId, revision: RevisionId) -> String {
    format!("slipway.fences.{id}.{revision}")
}

/// Whose result it is.
#[must_use]
pub fn parse_result(subject: &str) -> Option<(DeploymentId, RequestId)> {
    let rest = subject.strip_prefix("slipway.results.")?;
    let (deployment, request) = rest.rsplit_once('.')?;
    Some((deployment.parse().ok()?, request.parse().ok()?))
}

/// Where the results of one deployment are captured.
#[must_use]
pub fn capture(id: &DeploymentId) -> String {
    format!("slipway.captures.{id}")
}

/// Whose results were captured there.
#[must_use]
pub fn parse_capture(subject: &str) -> Option<DeploymentId> {
    subject.strip_prefix("slipway.captures.")?.parse().ok()
}

/// A knock at one service's door about one deployment: core NATS, never stored.
#[must_use]
pub fn nudge(service: Service, id: &DeploymentId) -> String {
    format!("slipway.nudge.{service}.{id}")
}

/// All knocks at one service's door.
#[must_use]
pub fn nudges(service: Service) -> String {
    format!("slipway.nudge.{service}.>")
}

/// All knocks at all doors.
pub const NUDGES: &str = "slipway.nudge.>";
/// Everything below the results: what may be read by its subject.
pub const RESULTS_BELOW: &str = "slipway.results.>";

/// Whom a knock is about.
#[must_use]
pub fn parse_nudge(subject: &str) -> Option<DeploymentId> {
    let mut tokens = subject.strip_prefix("slipway.nudge.")?.split('.').skip(1);
    let id = DeploymentId { namespace: tokens.next()?.parse().ok()?, name: tokens.next()?.parse().ok()? };
    tokens.next().is_none().then_some(id)
}

/// A question that one service answers: core NATS, never stored.
#[must_use]
pub fn ask(service: Service, what: &str) -> String {
    format!("slipway.ask.{service}.{what}")
}

/// Where a service puts what it cannot handle.
#[must_use]
pub fn dead(by: &str) -> String {
    format!("slipway.dead.{by}")
}

/// Who gave up on a dead letter.
#[must_use]
pub fn parse_dead(subject: &str) -> Option<&str> {
    subject.strip_prefix("slipway.dead.")
}

/// Where a principal hears answers. Each service has a place where nobody else may listen; clients share the default one, so that a
/// foreign client works without being told.
#[must_use]
pub fn inbox(principal: Principal) -> String {
    match principal {
        Principal::Client => "_INBOX".to_owned(),
        _ => format!("_SLIPWAY_INBOX.{principal}"),
    }
}

/// The pieces of one object of an object store.
#[must_use]
pub fn object_pieces(bucket: &str, nuid: &str) -> String {
    format!("$O.{bucket}.C.{nuid}")
}

/// The description of one object.
#[must_use]
pub fn object_info(bucket: &str, name: &str) -> String {
    format!("$O.{bucket}.M.{}", URL_SAFE.encode(name))
}

/// One key of a bucket.
#[must_use]
pub fn bucket_key(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// The key in a bucket's subject.
#[must_use]
pub fn parse_bucket_key<'a>(bucket: &str, subject: &'a str) -> Option<&'a str> {
    subject.strip_prefix("$KV.")?.strip_prefix(bucket)?.strip_prefix('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{Attempt, Slot};

    fn id() -> DeploymentId {
        "team-b.digits".parse().unwrap()
    }

    #[test]
    fn a_facts_subject_reads_back_as_its_key() {
        let key = FactKey::new(id(), RevisionId::new(3, 2), Slot::Shift(25)).at(Attempt(1));
        assert_eq!(fact(&key), "slipway.lifecycle.team-b.digits.3.2.shift-25.1");
        assert_eq!(parse_fact(&fact(&key)).unwrap(), key);
        assert_eq!(deployment_of(&fact(&key)), Some(id()));
        assert_eq!(deployment_of("slipway.lifecycle.team-b.digits.not.a.fact"), Some(id()));
        assert_eq!(deployment_of("slipway.lifecycle.Team.digits"), None);
        assert!(parse_fact("slipway.intake.default.deploy").is_err());
    }

    #[test]
    fn the_streams_never_claim_one_subject_twice() {
        let request: RequestId = "request".parse().unwrap();
        assert!(result(&id(), &request).starts_with("slipway.results."));
        assert!(request_queue(&id(), RevisionId::new(1, 1)).starts_with("slipway.inference."));
        assert_eq!(parse_result(&result(&id(), &request)), Some((id(), request)));
    }

    #[test]
    fn what_is_left_for_a_deployment_is_never_taken_for_what_waits_for_a_revision() {
        let revision = request_queue(&id(), RevisionId::new(1, 1));
        assert_eq!(parse_inference(&revision), None);
        assert_eq!(parse_inference(&inbound(&id())), Some(id()));
        assert_eq!(parse_inference(&asked(&id())), Some(id()));
        assert_eq!(inbound(&id()).split('.').count() + 1, revision.split('.').count());
        for subject in ["slipway.inference.team-b.digits.fly", "slipway.inference.digits.request", "slipway.inference"]
        {
            assert_eq!(parse_inference(subject), None, "{subject}");
        }
    }

    #[test]
    fn an_intake_token_is_made_of_source_and_id() {
        assert_eq!(intake_token("ci", "1").len(), 32);
        assert_ne!(intake_token("ci", "1"), intake_token("ci", "2"));
        assert_eq!(parse_intake("slipway.intake.default.deploy"), Some(("default", "deploy")));
        assert_eq!(parse_intake("slipway.intake.default.deploy.x"), None);
    }

    #[test]
    fn a_nudge_names_its_deployment() {
        assert_eq!(parse_nudge(&nudge(Service::SinkWriter, &id())), Some(id()));
        assert_eq!(parse_nudge("slipway.nudge.ingress.a"), None);
    }
}

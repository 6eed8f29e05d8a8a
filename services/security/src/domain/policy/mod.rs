//! What this installation allows, whatever a spec asks for. One rule a file; a rule looks at the spec, the plan and what led
//! to it, and names each value that is not allowed, and what would be.

mod anonymous_access;
mod image_pinned;
mod jwks_source;
mod memory_limit;
mod model_pinned;
mod model_source;
mod placement;
mod protocols;
mod secret_source;

use serde::{Deserialize, Serialize};
use slipway_kernel::{
    Answer, ByteSize, Finding, FindingKind, GenerationState, InfrastructureChosen, Plan, PlatformSelected,
    RevisionState, Slot, spec::Spec,
};
use std::fmt::Display;

/// What is allowed. The section `policy` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Whether a deployment may serve callers without a credential.
    pub anonymous: bool,
    /// Hosts that keys of token issuers may be fetched from; none listed: any, over https.
    pub jwks_hosts: Vec<String>,
    /// The largest memory limit of one worker.
    pub max_memory: ByteSize,
    /// Whether a spec must name its model's digest, so that it cannot change at its source.
    pub model_digest: bool,
    /// Where models may come from: `file`, `https`, `nats-object`, `blob`.
    pub model_sources: Vec<String>,
    /// Where secrets may be taken from: `env`, `file`.
    pub secret_sources: Vec<String>,
    /// Folders that secrets may lie in; none listed: any.
    pub secret_folders: Vec<String>,
    /// Protocols of inference that may be offered: `http`, `grpc`, `nats`.
    pub protocols: Vec<String>,
}

/// The words `model_sources` is made of.
pub const MODEL_SOURCES: [&str; 4] = ["file", "https", "nats-object", "blob"];
/// The words `secret_sources` is made of.
pub const SECRET_SOURCES: [&str; 2] = ["env", "file"];
/// The words `protocols` is made of.
pub const PROTOCOLS: [&str; 3] = ["http", "grpc", "nats"];

impl Default for Policy {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            anonymous: false,
            jwks_hosts: Vec::new(),
            // Larger than one worker on today's machines needs; there only against slips of the pen.
            max_memory: ByteSize::mebibytes(1 << 20),
            model_digest: false,
            model_sources: words(&MODEL_SOURCES),
            secret_sources: words(&SECRET_SOURCES),
            secret_folders: Vec::new(),
            protocols: words(&PROTOCOLS),
        }
    }
}

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What the user asked for.
    pub spec: &'a Spec,
    /// What is deployed.
    pub plan: &'a Plan,
    /// Where it was decided to run, and what spoke against each place.
    pub choice: Option<&'a InfrastructureChosen>,
    /// Whether a person approved that.
    pub approved: bool,
    /// What serves it, and the model that was fetched.
    pub platform: Option<&'a PlatformSelected>,
}

impl<'a> Subject<'a> {
    /// A planned revision, with what its generation's facts say; `None` if it is not planned.
    #[must_use]
    pub fn of(generation: &'a GenerationState, revision: &'a RevisionState) -> Option<Self> {
        let choice = match generation.answer(Slot::Choice) {
            Some(Answer::InfrastructureChosen(choice)) => Some(choice),
            _ => None,
        };
        Some(Self {
            spec: generation.spec(),
            plan: &revision.planned()?.plan,
            choice,
            approved: matches!(generation.answer(Slot::Approval), Some(Answer::Approved(_))),
            platform: generation.platform(),
        })
    }
}

/// A value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: &'static str,
    /// Where the value stands: a path in the spec, the plan or another fact.
    pub path: String,
    /// The value.
    pub value: String,
    /// What is allowed there.
    pub allowed: String,
}

impl Violation {
    fn new(
        rule: &'static str,
        path: impl Into<String>,
        value: &(impl Display + ?Sized),
        allowed: impl Into<String>,
    ) -> Self {
        Self { rule, path: path.into(), value: value.to_string(), allowed: allowed.into() }
    }

    /// The finding for `security-failed`: the same plan breaks the same policy again.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let Self { rule, path, value, allowed } = self;
        let message = format!("{rule}: {path} is {value}; allowed: {allowed}");
        Finding::deterministic(FindingKind::PolicyViolation, message)
            .with_evidence(path.clone())
            .with_evidence(format!("policy:{rule}"))
    }
}

type Rule = fn(&Subject<'_>, &Policy) -> Vec<Violation>;

/// Every rule by its name, in the order in which they are reported.
pub const RULES: [(&str, Rule); 9] = [
    (anonymous_access::NAME, anonymous_access::check),
    (jwks_source::NAME, jwks_source::check),
    (secret_source::NAME, secret_source::check),
    (model_source::NAME, model_source::check),
    (model_pinned::NAME, model_pinned::check),
    (image_pinned::NAME, image_pinned::check),
    (memory_limit::NAME, memory_limit::check),
    (protocols::NAME, protocols::check),
    (placement::NAME, placement::check),
];

/// Everything that is not allowed; empty if all is.
#[must_use]
pub fn violations(subject: &Subject<'_>, policy: &Policy) -> Vec<Violation> {
    RULES.iter().flat_map(|(_, rule)| rule(subject, policy)).collect()
}

/// A list in words.
fn listed(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// The part of a URI before `://`.
fn scheme(uri: &str) -> &str {
    uri.split_once("://").map_or("", |(scheme, _)| scheme)
}

/// The host in a URI, without port and user.
fn host(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    match place.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or(""),
        None => place.split(':').next().unwrap_or(""),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::{History, choice, document, plan, platform};
    use serde_json::{Value, json};

    /// What the rules find in a deployment with this spec, after `change` to what the mesh decided about it.
    pub(super) fn found(
        spec: &Value,
        policy: &Policy,
        change: impl FnOnce(&mut Plan, &mut InfrastructureChosen, &mut PlatformSelected),
    ) -> Vec<Violation> {
        let document = document(spec);
        let (mut plan, mut choice, mut platform) = (plan(), choice(), platform());
        change(&mut plan, &mut choice, &mut platform);
        let subject = Subject {
            spec: &document.spec,
            plan: &plan,
            choice: Some(&choice),
            approved: false,
            platform: Some(&platform),
        };
        violations(&subject, policy)
    }

    /// The names of the rules that a spec breaks.
    pub(super) fn broken(spec: &Value, policy: &Policy) -> Vec<&'static str> {
        found(spec, policy, |_, _, _| ()).iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_spec_of_defaults_breaks_nothing() {
        assert_eq!(found(&json!({}), &Policy::default(), |_, _, _| ()), []);
    }

    #[test]
    fn all_that_is_not_allowed_is_named_at_once() {
        let spec = json!({
            "access": { "anonymous": true },
            "outputs": [{ "postgres": { "url": "env:DATABASE" } }],
        });
        let policy = Policy { secret_sources: vec!["file".to_owned()], ..Policy::default() };
        assert_eq!(broken(&spec, &policy), [anonymous_access::NAME, secret_source::NAME]);
    }

    #[test]
    fn a_violation_becomes_a_finding_that_no_repetition_heals() {
        let violation = Violation::new("memory-limit", "plan.memory", "0", "1 to 2");
        let finding = violation.finding();
        assert_eq!(finding.message, "memory-limit: plan.memory is 0; allowed: 1 to 2");
        assert_eq!((finding.kind, finding.cause), (FindingKind::PolicyViolation, slipway_kernel::Cause::Deterministic));
        assert_eq!(finding.evidence, ["plan.memory", "policy:memory-limit"]);
    }

    #[test]
    fn names_of_rules_are_unique() {
        let names: std::collections::BTreeSet<_> = RULES.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), RULES.len());
    }

    #[test]
    fn the_subject_is_what_the_facts_say() {
        let deployment = History::new().requested(1).chosen(1).planned(1, 1).fold();
        let generation = deployment.newest().unwrap();
        let subject = Subject::of(generation, generation.latest().unwrap()).unwrap();
        assert_eq!(subject.choice.unwrap().target, "local");
        assert!(subject.platform.is_some() && !subject.approved);
        assert_eq!(violations(&subject, &Policy::default()), []);
    }

    #[test]
    fn a_host_is_read_from_a_uri() {
        for (uri, expected) in [
            ("https://a.example/x", "a.example"),
            ("https://a.example:8443/x", "a.example"),
            ("https://user@a.example?b", "a.example"),
            ("https://[::1]:1/x", "::1"),
            ("file:///x", ""),
            ("x", ""),
        ] {
            assert_eq!(host(uri), expected, "{uri}");
        }
    }
}

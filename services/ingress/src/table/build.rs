//! What the facts of one deployment say about its door. Pure: every replica comes to the same.

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};
use slipway_kernel::{
    ByteSize, Deployment, DeploymentId, Digest, GenerationState, RequestId, RevisionId, Routes,
    spec::{Access, Record},
};
use slipway_oip::Signature;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// One deployment as the log tells it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which.
    pub id: DeploymentId,
    /// Who gets which share, and who can be reached by name.
    pub routes: Routes,
    /// Every revision that has a share or can be reached.
    pub targets: BTreeMap<RevisionId, Arc<Target>>,
    /// Whose rules hold for whoever addresses the deployment and no revision: those of the revision that serves (what a
    /// shift leaves), before the first release those of the newest.
    at_the_door: RevisionId,
}

/// One revision as requests meet it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which.
    pub revision: RevisionId,
    /// The rules of its generation.
    pub rules: Arc<Rules>,
    /// What its model takes and gives; why it cannot be served, if the protocol lacks one of its types.
    pub signature: Result<Signature, String>,
    /// What serves it.
    pub platform: String,
    /// The artifact.
    pub model_digest: Digest,
}

/// What one generation's spec says about its door.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who may come in.
    pub access: Access,
    /// Networks that requests may come from; empty: any.
    pub allow_from: Vec<IpNet>,
    /// The largest body in bytes.
    pub max_body: usize,
    /// How long a request may take when it sets no deadline.
    pub timeout: Duration,
    /// When results are recorded.
    pub record: Record,
    /// Memory for answers that are kept for equal requests; none are without.
    pub cache: Option<ByteSize>,
    /// After how long a second worker is asked too; never without.
    pub hedge_after: Option<Duration>,
    /// Whether requests may come over NATS.
    pub nats: bool,
}

impl Entry {
    /// The rules for whoever addresses no revision.
    #[must_use]
    pub fn rules(&self) -> Option<&Arc<Rules>> {
        self.targets.get(&self.at_the_door).map(|target| &target.rules)
    }

    /// The revision that a request of this id meets.
    #[must_use]
    pub fn pick(&self, id: &RequestId) -> Option<&Arc<Target>> {
        self.routes.pick(hash(id)).and_then(|revision| self.targets.get(&revision))
    }

    /// The revision that serves who names none and is told about: the one with the largest share.
    #[must_use]
    pub fn serving(&self) -> Option<RevisionId> {
        self.routes.shares.iter().max_by_key(|route| route.percent).map(|route| route.revision)
    }

    /// Whether the revision has a share of the traffic, so that anybody may ask for it by name.
    #[must_use]
    pub fn is_public(&self, revision: RevisionId) -> bool {
        self.routes.shares.iter().any(|route| route.revision == revision && route.percent > 0)
    }
}

/// The place of a request among the shares: the first eight bytes of the SHA-256 of its id, so that it is the same in every
/// replica, version and language.
#[must_use]
pub fn hash(id: &RequestId) -> u64 {
    let digest = Sha256::digest(id.as_str());
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The entry of a deployment; none if no revision of it can be reached.
#[must_use]
pub fn build(deployment: &Deployment) -> Option<Entry> {
    let routes = deployment.routes();
    let mut rules = BTreeMap::new();
    let mut targets = BTreeMap::new();
    let with_share = routes.shares.iter().map(|route| route.revision);
    for revision in with_share.chain(routes.reachable.iter().copied()) {
        let Some(generation) = deployment.generations.get(&revision.generation) else { continue };
        // Every revision has a plan, and a plan follows a selected platform.
        let Some(platform) = generation.platform() else { continue };
        let of_generation = rules.entry(revision.generation).or_insert_with(|| Arc::new(rules_of(generation)));
        let target = Target {
            revision,
            rules: Arc::clone(of_generation),
            signature: Signature::of(&platform.model).map_err(|error| error.to_string()),
            platform: platform.platform.clone(),
            model_digest: platform.model.digest.clone(),
        };
        targets.insert(revision, Arc::new(target));
    }
    let serving = deployment.serving().or_else(|| routes.shares.first().map(|route| route.revision));
    let at_the_door = serving.filter(|id| targets.contains_key(id)).or_else(|| targets.keys().next_back().copied())?;
    Some(Entry { id: deployment.id.clone(), routes, targets, at_the_door })
}

fn rules_of(generation: &GenerationState) -> Rules {
    let spec = generation.spec();
    let http = spec.http();
    Rules {
        // The gate has checked each; one that is none must not open the door to everybody, so it matches nobody.
        allow_from: spec.access.allow_from.iter().map(|cidr| cidr.parse().unwrap_or(NOWHERE)).collect(),
        access: spec.access.clone(),
        max_body: usize::try_from(http.max_body.0).unwrap_or(usize::MAX),
        timeout: http.timeout.0,
        record: spec.record,
        cache: spec.serving.cache.map(|cache| cache.max_bytes),
        hedge_after: spec.serving.hedging.map(|hedging| hedging.after.0),
        nats: spec.is_open_over_nats(),
    }
}

/// A network that nothing comes from: the address `255.255.255.255` alone.
const NOWHERE: IpNet = IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::BROADCAST, 32));

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::http_tests::facts;
    use serde_json::{Value, json};
    use slipway_kernel::{
        Answer, CommandReason, Deployed, Fact, FactKey, Generation, IntakeReference, ModelFacts, Plan, Planned,
        PlatformSelected, Released, Requested, Revision, RolledBack, Shifted, Slot, Timestamp, fold,
        spec::ModelDeployment,
    };

    /// A deployment's log, written step by step.
    pub(crate) struct History {
        pub(crate) id: DeploymentId,
        pub(crate) facts: Vec<Arc<Fact>>,
        pub(crate) access: Value,
        pub(crate) http: Value,
        pub(crate) nats: bool,
        pub(crate) record: Value,
        pub(crate) serving: Value,
        pub(crate) model: ModelFacts,
    }

    impl History {
        pub(crate) fn new() -> Self {
            Self {
                id: "default.digits".parse().unwrap(),
                facts: Vec::new(),
                access: json!({ "anonymous": true }),
                http: json!({}),
                nats: false,
                record: json!("after-reply"),
                serving: json!({}),
                model: facts(&[("x", "FP32", &[-1, 2])], &[("y", "FP32", &[-1, 2])]),
            }
        }

        pub(crate) fn fold(&self) -> Deployment {
            fold(&self.id, self.facts.clone())
        }

        pub(crate) fn add(&mut self, revision: RevisionId, slot: Slot, answer: Answer) {
            let key = FactKey::new(self.id.clone(), revision, slot);
            let sequence = self.facts.len() as u64 + 1;
            self.facts.push(Arc::new(Fact {
                id: key.to_string(),
                key,
                actor: "test".to_owned(),
                causation: None,
                correlation: "test".to_owned(),
                traceparent: None,
                at: Timestamp(sequence),
                sequence,
                answer,
            }));
        }

        /// Up to `deployed`.
        pub(crate) fn deploy(&mut self, generation: u32, revision: u32) {
            let (before, id) = (RevisionId::new(generation, 0), RevisionId::new(generation, revision));
            let intake = IntakeReference { source: "test".to_owned(), id: id.to_string() };
            if revision == 1 {
                let mut inputs = vec![json!({ "http": self.http })];
                inputs.extend(self.nats.then(|| json!({ "nats": {} })));
                let deployment = ModelDeployment::read(&json!({
                    "metadata": { "name": self.id.name, "namespace": self.id.namespace },
                    "spec": {
                        "model": { "uri": "file:///m.onnx" }, "access": self.access, "inputs": inputs,
                        "record": self.record, "serving": self.serving
                    }
                }))
                .unwrap();
                let spec_digest = deployment.digest();
                self.add(before, Slot::Request, Answer::Requested(Requested { deployment, spec_digest, intake }));
                let selected = PlatformSelected {
                    platform: "slipway".to_owned(),
                    image: String::new(),
                    reason: String::new(),
                    model: self.model.clone(),
                    candidates: Vec::new(),
                    golden: None,
                };
                self.add(before, Slot::Platform, Answer::PlatformSelected(selected));
            }
            let plan = Plan {
                target: "local".to_owned(),
                platform: "slipway".to_owned(),
                model_digest: self.model.digest.clone(),
                replicas: 1,
                cpu: slipway_kernel::CpuMillis(1_000),
                memory: slipway_kernel::ByteSize::mebibytes(512),
                threads: 1,
                max_batch: revision,
                max_delay: slipway_kernel::Span::millis(2),
                queue_limit: 64,
                fixed_batching: false,
                latency_target: None,
            };
            let digest = plan.digest();
            let planned = Planned { plan, digest, manifests: None, revises: None, changes: Vec::new() };
            self.add(id, Slot::Plan, Answer::Planned(planned));
            let deployed = Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 1 };
            self.add(id, Slot::Deployment, Answer::Deployed(deployed));
        }

        pub(crate) fn shift(&mut self, generation: u32, revision: u32, percent: u8) {
            let shifted = Shifted { percent: u32::from(percent), beside: None, measurements: Vec::new() };
            self.add(RevisionId::new(generation, revision), Slot::Shift(percent), Answer::Shifted(shifted));
        }

        pub(crate) fn release(&mut self, generation: u32, revision: u32) {
            if self.fold().revision(RevisionId::new(generation, revision)).is_none() {
                self.deploy(generation, revision);
            }
            let released = Released { replaces: None, measurements: Vec::new() };
            self.add(RevisionId::new(generation, revision), Slot::Release, Answer::Released(released));
        }

        pub(crate) fn roll_back(&mut self, from: RevisionId, to: RevisionId) {
            let back = RolledBack { to, reason: String::new(), findings: Vec::new() };
            self.add(from, Slot::Rollback, Answer::RolledBack(back));
        }

        pub(crate) fn retire(&mut self, generation: u32) {
            let intake = IntakeReference { source: "test".to_owned(), id: "retire".to_owned() };
            let retire = CommandReason { reason: String::new(), intake };
            self.add(RevisionId::new(generation, 0), Slot::Command(0), Answer::RetireRequested(retire));
        }
    }

    fn id(n: usize) -> RequestId {
        format!("request-{n}").parse().unwrap()
    }

    #[test]
    fn before_the_first_release_a_revision_is_known_and_gets_nothing() {
        let mut history = History::new();
        assert!(build(&history.fold()).is_none());
        history.deploy(1, 1);
        let entry = build(&history.fold()).unwrap();
        assert!(entry.pick(&id(1)).is_none());
        assert!(entry.targets.contains_key(&RevisionId::new(1, 1)));
        assert!(!entry.is_public(RevisionId::new(1, 1)));
        assert!(entry.rules().unwrap().access.anonymous, "the door has its rules already");
    }

    #[test]
    fn the_rules_at_the_door_are_those_of_the_serving_revision_until_the_next_is_released() {
        let mut history = History::new();
        history.release(1, 1);
        history.access = json!({ "apiKeys": true });
        history.deploy(2, 1);
        history.shift(2, 1, 50);
        let entry = build(&history.fold()).unwrap();
        assert!(entry.rules().unwrap().access.anonymous);
        assert!(!entry.targets[&RevisionId::new(2, 1)].rules.access.anonymous);
        assert!(entry.is_public(RevisionId::new(2, 1)));
        history.release(2, 1);
        assert!(!build(&history.fold()).unwrap().rules().unwrap().access.anonymous);
    }

    #[test]
    fn requests_are_spread_as_the_shares_say_and_each_id_keeps_its_revision() {
        let mut history = History::new();
        history.release(1, 1);
        history.deploy(2, 1);
        history.shift(2, 1, 25);
        let entry = build(&history.fold()).unwrap();
        let to_new = (0..10_000).filter(|n| entry.pick(&id(*n)).unwrap().revision == RevisionId::new(2, 1)).count();
        assert!((2_300..2_700).contains(&to_new), "{to_new} of 10000 where 25 % were wanted");
        history.shift(2, 1, 50);
        let wider = build(&history.fold()).unwrap();
        for n in 0..1_000 {
            let before = entry.pick(&id(n)).unwrap().revision;
            // Who met the new revision meets it again when its share grows.
            assert!(before == RevisionId::new(1, 1) || wider.pick(&id(n)).unwrap().revision == before);
        }
    }

    #[test]
    fn the_hash_of_an_id_is_a_promise() {
        // sha256("request-1") = 0x5d...: any other implementation must come to the same place.
        let digest = Digest::of(b"request-1");
        assert_eq!(format!("{:016x}", hash(&id(1))), digest.as_str()[..16]);
    }

    #[test]
    fn a_revision_taken_back_gets_nothing_and_a_retired_deployment_has_no_door() {
        let mut history = History::new();
        history.release(1, 1);
        history.release(2, 1);
        history.roll_back(RevisionId::new(2, 1), RevisionId::new(1, 1));
        let entry = build(&history.fold()).unwrap();
        assert_eq!(entry.pick(&id(1)).unwrap().revision, RevisionId::new(1, 1));
        assert!(!entry.targets.contains_key(&RevisionId::new(2, 1)));
        history.retire(2);
        assert!(build(&history.fold()).is_none());
    }

    #[test]
    fn a_network_that_cannot_be_read_lets_nobody_in() {
        let mut history = History::new();
        history.access = json!({ "anonymous": true, "allowFrom": ["10.0.0.0/8"] });
        history.deploy(1, 1);
        let mut deployment = history.fold();
        let rules = rules_of(&deployment.generations[&Generation(1)]);
        assert_eq!(rules.allow_from, ["10.0.0.0/8".parse().unwrap()]);
        deployment.generations.clear();
        assert!(deployment.revision(RevisionId { generation: Generation(1), revision: Revision(1) }).is_none());
        assert!(!NOWHERE.contains(&std::net::IpAddr::from([10, 0, 0, 1])));
    }
}

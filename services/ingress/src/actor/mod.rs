//! What ingress does about the log: opens the door to a revision that runs and proves it, forgets a deployment that is retired.

mod knock;
mod pinned;
mod prove;
mod sample;

pub use prove::{Effects, RealEffects, Subject};

use crate::{
    auth,
    exposure::Exposure,
    limits,
    stack::Ingress,
    table::{Door, Target},
};
use async_trait::async_trait;
use slipway_bus::{Actor, Bus, Done, DutyError, RouteError, Scene, topology};
use slipway_kernel::{
    Answer, Attempt, Deployment, Due, Failed, Finding, FindingKind, Generation, Item, Proof, Ready, Removed, Revision,
    RevisionId, Service, Slot, Step, Timestamp,
};
use std::{net::SocketAddr, sync::Arc};
use tokio::time::timeout;

/// How the own door is reached.
#[derive(Clone, Debug)]
pub struct OwnDoor {
    /// Where it listens, as seen from here.
    pub address: SocketAddr,
    /// The address clients are told.
    pub advertised: String,
    /// Its certificate, if it speaks TLS.
    pub certificate: Option<Arc<crate::channels::DoorCertificate>>,
}

/// Answers `ingress` and `removal-ingress`.
pub struct IngressActor {
    ingress: Arc<Ingress>,
    bus: Bus,
    door: OwnDoor,
    exposure: Option<Exposure>,
    effects: Arc<dyn Effects>,
}

impl IngressActor {
    /// With the effects of its choice.
    #[must_use]
    pub fn new(
        ingress: Arc<Ingress>,
        bus: Bus,
        door: OwnDoor,
        exposure: Option<Exposure>,
        effects: Arc<dyn Effects>,
    ) -> Self {
        Self { ingress, bus, door, exposure, effects }
    }

    async fn open(&self, revision: RevisionId, attempt: Attempt, scene: &Scene) -> Result<Done, DutyError> {
        // Under no lease: what it does to the world are requests that may be sent twice.
        let answer = match timeout(limits::PROOF, self.configure(revision, scene)).await {
            Ok(Ok(ready)) => Answer::IngressReady(ready),
            Ok(Err(finding)) => Answer::IngressFailed(Failed { findings: vec![finding] }),
            Err(_) => {
                let message = format!("the door was not open after {} s", limits::PROOF.as_secs());
                Answer::IngressFailed(Failed { findings: vec![Finding::transient(FindingKind::Timeout, message)] })
            }
        };
        scene.append(&scene.key(revision, Slot::Ingress).at(attempt), answer).await?;
        Ok(Done::Wrote)
    }

    async fn configure(&self, revision: RevisionId, scene: &Scene) -> Result<Ready, Finding> {
        let routed_at = scene.folded.deployment.routed_at();
        let replicas = self.everywhere(routed_at).await.map_err(|error| {
            Finding::transient(
                FindingKind::DependencyUnavailable,
                format!("not all replicas route by the log: {error}"),
            )
        })?;
        let door = self.ingress.routing.load().door(&scene.id).cloned();
        let target = door.as_ref().and_then(|door| door.entry.targets.get(&revision)).cloned();
        let (Some(door), Some(target)) = (door, target) else {
            return Err(Finding::transient(
                FindingKind::Misconfigured,
                format!("revision {revision} cannot be reached"),
            ));
        };
        let subject = Subject { ingress: &self.ingress, id: &scene.id, target: &target, door: &self.door };
        let mut proofs = vec![Proof {
            name: "routes applied".to_owned(),
            detail: format!("{replicas} replicas route by the log up to {routed_at}"),
        }];
        proofs.extend(self.effects.prove(subject).await?);
        let mut configured = self.configured(&door, &target);
        // Last: nobody is led to a door that does not open.
        if let Some(exposure) = &self.exposure {
            let (items, accepted) = exposure.expose(&scene.id, target.rules.timeout).await?;
            configured.extend(items);
            proofs.extend(accepted);
        }
        Ok(Ready { configured, proofs })
    }

    /// Waits until this replica and all others stand on the log up to `sequence`; returns how many there are.
    async fn everywhere(&self, sequence: u64) -> Result<usize, RouteError> {
        let mut changes = self.ingress.routing.changes();
        while self.ingress.routing.load().applied < sequence {
            // The sender lives as long as the routing, which is held here.
            if changes.changed().await.is_err() {
                break;
            }
        }
        Ok(self.bus.routes().wait_all(sequence, limits::REPLICAS).await?.max(1))
    }

    fn configured(&self, door: &Door, target: &Target) -> Vec<Item> {
        let (id, rules) = (&door.entry.id, &target.rules);
        let limits = &self.ingress.limits;
        let networks = rules.access.allow_from.join(", ");
        let rate = rules.access.rate_limit.map_or_else(|| "none".to_owned(), |rate| rate.to_string());
        let mut items = vec![
            ("address", self.door.advertised.clone()),
            ("path", format!("/v2/namespaces/{}/models/{}/infer", id.namespace, id.name)),
            ("protocol", "Open Inference Protocol v2 over HTTP (JSON)".to_owned()),
            ("authentication", auth::methods(rules)),
            ("allow-from", if networks.is_empty() { "any".to_owned() } else { networks }),
            ("rate-limit", rate),
            ("max-body", slipway_kernel::ByteSize(rules.max_body as u64).to_string()),
            ("timeout", slipway_kernel::Span(rules.timeout).to_string()),
            ("in-flight", limits.in_flight_per_deployment.to_string()),
        ];
        if rules.nats {
            items.push(("nats-request", topology::inbound(id)));
            items.push(("nats-infer", topology::asked(id)));
        }
        if let Ok(signature) = &target.signature {
            let ports = |ports: &[slipway_oip::TensorSpec]| {
                let port = |p: &slipway_oip::TensorSpec| format!("{}: {} {:?}", p.name, p.data_type, p.shape);
                ports.iter().map(port).collect::<Vec<_>>().join("; ")
            };
            items.push(("inputs", ports(&signature.inputs)));
            items.push(("outputs", ports(&signature.outputs)));
        }
        items.into_iter().map(|(name, value)| Item { name: name.to_owned(), value }).collect()
    }

    async fn remove(&self, generation: Generation, attempt: Attempt, scene: &Scene) -> Result<Done, DutyError> {
        // The fold has taken the routes away; what remains is to know that no replica serves by an older one.
        let routed_at = scene.folded.deployment.routed_at();
        let replicas = self.everywhere(routed_at).await.map_err(DutyError::transient)?;
        let path = format!("/v2/namespaces/{}/models/{}", scene.id.namespace, scene.id.name);
        let mut items = vec![Item { name: path, value: format!("no route at {replicas} replicas") }];
        if let Some(exposure) = &self.exposure {
            items.extend(exposure.remove(&scene.id).await.map_err(DutyError::transient)?);
        }
        let at = RevisionId { generation, revision: Revision(0) };
        let key = scene.key(at, Slot::Removal(Service::Ingress)).at(attempt);
        scene.append(&key, Answer::Removed(Removed { items })).await?;
        Ok(Done::Wrote)
    }
}

#[async_trait]
impl Actor for IngressActor {
    type Duty = Step;

    fn service(&self) -> Service {
        Service::Ingress
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Step> {
        deployment.step(Service::Ingress, Slot::Ingress, now)
    }

    fn label(&self, duty: &Step) -> &'static str {
        match duty {
            Step::Configure { .. } => "open-ingress",
            Step::Remove { .. } => "remove-ingress",
        }
    }

    async fn perform(&self, duty: Step, scene: Scene) -> Result<Done, DutyError> {
        match duty {
            Step::Configure { revision, attempt } => self.open(revision, attempt, &scene).await,
            Step::Remove { generation, attempt } => self.remove(generation, attempt, &scene).await,
        }
    }
}

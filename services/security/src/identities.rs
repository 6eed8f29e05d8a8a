//! Signs requests for identities, as soon as they come: workers and the ingress wait for theirs at their start.

use crate::{
    authority::{
        Authority,
        certificate::{peer, spiffe},
        request,
    },
    config::IdentitiesConfig,
    domain::identity::{Application, Claim, Denial, PeerId, Requester, Verdict, decide, standing},
    error::chain,
    telemetry::{Kind, SecurityMetrics},
};
use futures::{StreamExt as _, stream};
use slipway_bus::{Bus, Granted, IdentityRequest, Principal, View, Watched, WorkerRecord, WorkerState};
use slipway_runtime::tls::SpiffeId;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Requests that are answered at once: an answer is one write to the broker.
const AT_ONCE: usize = 16;
/// How soon open requests are looked at again, though nothing was heard: their patience may be over.
const RECHECK: Duration = Duration::from_millis(250);
/// An answer that has not taken its request off the list by now was overwritten by another replica's answer to the request
/// before: it is given again.
const REPEAT: Duration = Duration::from_secs(2);

/// Answers requests.
#[derive(Clone, Debug)]
pub(crate) struct Registrar {
    pub(crate) bus: Bus,
    pub(crate) authority: Arc<Authority>,
    pub(crate) view: View,
    pub(crate) workers: Watched<Vec<WorkerRecord>>,
    pub(crate) config: IdentitiesConfig,
    pub(crate) metrics: SecurityMetrics,
}

/// A request as this process has seen it. Its place and its own id tell it apart from every other.
type Key = (Principal, String, String);

/// What has become of a request so far.
#[derive(Clone, Copy, Debug)]
struct Seen {
    first: Instant,
    answered: Option<Instant>,
}

/// What is to be done about a request now.
enum Answer {
    Send(Result<Granted, String>),
    Wait,
}

impl Registrar {
    /// Answers requests until it is dropped.
    ///
    /// # Errors
    /// When the broker does not answer at the start, or the connection is closed.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut requests = self.bus.identities().requests().await?;
        let mut workers = self.workers.clone();
        let mut changes = self.view.changes();
        let mut seen: HashMap<Key, Seen> = HashMap::new();
        // What it signs must be what everybody trusts.
        self.authority.in_force().await;
        loop {
            let open = requests.get();
            self.answer(&open, &mut seen).await;
            // Until the list is empty something may still be to be done: for what waits, or to repeat an answer.
            let waiting = !open.is_empty();
            tokio::select! {
                live = requests.changed() => anyhow::ensure!(live, "the requests for identities are followed no more"),
                live = workers.changed(), if waiting => anyhow::ensure!(live, "the workers are followed no more"),
                _ = changes.next(), if waiting => {}
                () = tokio::time::sleep(RECHECK), if waiting => {}
            }
        }
    }

    /// Answers what can be answered.
    async fn answer(&self, open: &[IdentityRequest], seen: &mut HashMap<Key, Seen>) {
        let now = Instant::now();
        seen.retain(|key, _| open.iter().any(|request| key_of(request) == *key));
        for request in open {
            seen.entry(key_of(request)).or_insert(Seen { first: now, answered: None });
        }
        let mut trying = Vec::new();
        for request in open {
            let key = key_of(request);
            let is_open = |seen: &Seen| seen.answered.is_none_or(|at| now.duration_since(at) >= REPEAT);
            if let Some(Seen { first, .. }) = seen.get(&key).copied().filter(is_open) {
                trying.push(async move { self.answer_one(request, now.duration_since(first)).await.then_some(key) });
            }
        }
        let done: Vec<Option<Key>> = stream::iter(trying).buffer_unordered(AT_ONCE).collect().await;
        for key in done.into_iter().flatten() {
            if let Some(seen) = seen.get_mut(&key) {
                seen.answered = Some(Instant::now());
            }
        }
    }

    /// Whether it is answered now.
    async fn answer_one(&self, request: &IdentityRequest, waited: Duration) -> bool {
        let Answer::Send(answer) = self.decide(request, waited) else { return false };
        match self.bus.identities().answer(request, answer).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(requester = %request.requester, instance = request.instance, error = %chain(&error),
                    "a request for an identity could not be answered yet");
                false
            }
        }
    }

    fn decide(&self, request: &IdentityRequest, waited: Duration) -> Answer {
        let id = request.subject.parse::<SpiffeId>().ok().map(peer);
        let read = request::read(&request.csr_pem);
        let application = Application {
            requester: request.requester.service().map_or(Requester::Other, Requester::Service),
            subject: &request.subject,
            id: id.as_ref(),
            names: &request.names,
            request: read.as_ref().map(|(_, facts)| facts),
            claim: id.as_ref().and_then(|id| self.claim(id, &request.instance)),
            hosts: &self.config.hosts,
        };
        match decide(&application) {
            Verdict::Refuse(denial) => self.refuse(request, &denial),
            Verdict::NotYet(_) if waited < self.config.patience.0 => Answer::Wait,
            Verdict::NotYet(denial) => self.refuse(request, &denial),
            Verdict::Grant(grant) => {
                let Ok((Some(key), _)) = &read else {
                    // An accepted kind of key that cannot be certified is a fault of ours.
                    tracing::error!(instance = request.instance, "a key that is accepted cannot be certified");
                    return Answer::Send(Err("weak-key: this key cannot be certified".to_owned()));
                };
                let now = self.bus.clock().now();
                match self.authority.sign(&grant, key, now, self.config.lifetime.0) {
                    Ok(signed) => {
                        let kind = match grant.id {
                            PeerId::Service(_) => Kind::Service,
                            PeerId::Revision { .. } => Kind::Worker,
                        };
                        self.metrics.issued(kind, &spiffe(&grant.id).to_string(), signed.not_after, now);
                        tracing::info!(identity = %request.subject, instance = request.instance, until = signed.not_after.0,
                            "an identity was issued");
                        Answer::Send(Ok(Granted {
                            chain_pem: signed.chain_pem,
                            ca_bundle_pem: signed.bundle_pem,
                            not_after: signed.not_after,
                        }))
                    }
                    Err(error) => {
                        tracing::error!(instance = request.instance, error = %chain(&error), "an identity could not be signed");
                        Answer::Wait
                    }
                }
            }
        }
    }

    fn refuse(&self, request: &IdentityRequest, denial: &Denial) -> Answer {
        self.metrics.refused(denial.reason);
        tracing::warn!(requester = %request.requester, instance = request.instance, %denial, "an identity was refused");
        Answer::Send(Err(denial.to_string()))
    }

    /// What log and registry say of whoever speaks for a revision.
    fn claim(&self, id: &PeerId, instance: &str) -> Option<Claim> {
        let PeerId::Revision { deployment, revision } = id else { return None };
        let folded = self.view.get(deployment);
        let is_it = |record: &WorkerRecord| {
            record.deployment == *deployment
                && record.revision == *revision
                && record.instance == instance
                && record.state != WorkerState::Draining
        };
        Some(Claim {
            standing: standing(folded.as_deref().map(|folded| &folded.deployment), *revision),
            registered: self.workers.get().iter().any(is_it),
        })
    }
}

fn key_of(request: &IdentityRequest) -> Key {
    (request.requester, request.instance.clone(), request.id.clone())
}

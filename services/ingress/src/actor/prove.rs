//! The proof for `ingress-ready`: a request through the own door, answered by a worker of the revision, and one that is refused.

use super::{
    OwnDoor,
    knock::{Answered, post},
    sample,
};
use crate::{
    auth::{credential::PROBE, issuers::IssuerError, outbound::FetchError},
    stack::Ingress,
    table::Target,
};
use async_trait::async_trait;
use slipway_kernel::{DeploymentId, Finding, FindingKind, Proof};
use std::time::Duration;

/// Between two tries: the first fail because workers wait for their identities, which takes a few of these.
const AGAIN: Duration = Duration::from_millis(50);

/// What is to be proved.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What the handlers share.
    pub ingress: &'a Ingress,
    /// The deployment.
    pub id: &'a DeploymentId,
    /// The revision.
    pub target: &'a Target,
    /// The own door.
    pub door: &'a OwnDoor,
}

/// What touches the world when a door is opened. A bench of the mesh has a double that touches nothing.
#[async_trait]
pub trait Effects: Send + Sync + 'static {
    /// Proves that the revision answers through the door, and that a stranger is refused. Tries until it is dropped, as long
    /// as trying can help.
    ///
    /// # Errors
    /// What stands in the way and will not pass by itself.
    async fn prove(&self, subject: Subject<'_>) -> Result<Vec<Proof>, Finding>;
}

/// The real ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealEffects;

#[async_trait]
impl Effects for RealEffects {
    async fn prove(&self, subject: Subject<'_>) -> Result<Vec<Proof>, Finding> {
        let mut proofs = Vec::new();
        proofs.extend(subject.issuer().await?);
        proofs.push(subject.answered().await?);
        proofs.push(subject.stranger().await?);
        Ok(proofs)
    }
}

fn misconfigured(message: impl Into<String>) -> Finding {
    Finding::deterministic(FindingKind::Misconfigured, message)
}

impl Subject<'_> {
    fn path(&self) -> String {
        format!("/v2/namespaces/{}/models/{}/infer", self.id.namespace, self.id.name)
    }

    /// The keys of the token issuer can be had.
    async fn issuer(&self) -> Result<Option<Proof>, Finding> {
        let Some(jwt) = &self.target.rules.access.jwt else { return Ok(None) };
        match self.ingress.authenticator.issuers.keys(&jwt.jwks, |_| true).await {
            Ok(keys) => {
                let algorithms: Vec<&str> = keys.iter().map(|key| key.algorithm.name()).collect();
                let detail = format!("{} keys ({}) from {}", keys.len(), algorithms.join(", "), jwt.jwks);
                Ok(Some(Proof { name: "token keys".to_owned(), detail }))
            }
            Err(error) => {
                let passing = matches!(
                    &error,
                    IssuerError::Paused { .. }
                        | IssuerError::Fetch { source: FetchError::Http(_) | FetchError::Status(_), .. }
                );
                let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                let finding = if passing { Finding::transient } else { Finding::deterministic };
                Err(finding(FindingKind::Misconfigured, format!("{error}{cause}"))
                    .with_evidence("spec.access.jwt.jwks"))
            }
        }
    }

    /// A worker of the revision answers a request of zeros.
    async fn answered(&self) -> Result<Proof, Finding> {
        let signature = self.target.signature.as_ref().map_err(|reason| misconfigured(reason.clone()))?;
        let document = sample::zeros(signature).map_err(misconfigured)?;
        let limit = self.target.rules.max_body;
        if document.len() > limit {
            let message = format!("one row of the inputs takes {} bytes of JSON, the limit is {limit}", document.len());
            let finding = misconfigured(message).with_figures(document.len() as f64, limit as f64, "bytes");
            return Err(finding.with_evidence("spec.inputs.http.maxBody"));
        }
        let revision = self.target.revision;
        let headers = [
            (PROBE, self.ingress.authenticator.probes.own().to_owned()),
            (REVISION_HEADER, revision.to_string()),
            // Shorter than the bound of the proof, so that what stands in the way is seen and tried again.
            ("slipway-timeout-ms", "5000".to_owned()),
        ];
        loop {
            let begun = tokio::time::Instant::now();
            match post(self.door, &self.path(), &headers, document.clone()).await {
                Ok(Answered { status: 200, body }) => {
                    let ms = begun.elapsed().as_secs_f64() * 1_000.0;
                    let detail = format!("POST {} to {revision}: 200, {} bytes in {ms:.1} ms", self.path(), body.len());
                    return Ok(Proof { name: "request answered".to_owned(), detail });
                }
                // What the model says to zeros it will say again.
                Ok(answered) if matches!(answered.status, 400 | 413 | 501) => {
                    return Err(misconfigured(format!("a request of zeros was refused: {}", answered.says())));
                }
                Ok(answered) => tracing::debug!(says = answered.says(), "not answered yet"),
                Err(reason) => tracing::debug!(reason, "not answered yet"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A caller without credential is refused, or let in where the spec says so.
    async fn stranger(&self) -> Result<Proof, Finding> {
        let headers = [(REVISION_HEADER, self.target.revision.to_string())];
        let access = &self.target.rules.access;
        let answered = loop {
            match post(self.door, &self.path(), &headers, "{}".to_owned()).await {
                Ok(answered) => break answered,
                Err(reason) => tracing::debug!(reason, "no answer"),
            }
            tokio::time::sleep(AGAIN).await;
        };
        let name = "stranger".to_owned();
        match answered.status {
            401 | 403 => Ok(Proof { name, detail: format!("a call without credential: {}", answered.says()) }),
            // Let in; what follows is that the revision is not released (404), or that an empty document fits no model (400).
            400 | 404 if access.anonymous => {
                let detail = format!("let in without credential, as spec.access.anonymous says: {}", answered.says());
                Ok(Proof { name, detail })
            }
            _ => {
                let message = format!("a call without credential was answered {}", answered.says());
                Err(Finding::deterministic(FindingKind::AuthHole, message))
            }
        }
    }
}

const REVISION_HEADER: &str = "slipway-revision";

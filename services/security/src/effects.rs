//! The world as security's duties touch it. A bench or test puts a simulated one in its place.

use async_trait::async_trait;
use slipway_kernel::{DeploymentId, Digest, Finding, Item, Proof, RevisionId};

/// Why something was not done.
#[derive(Debug)]
pub enum Trouble {
    /// The deployment is not secure, or could not be made so; never empty.
    Findings(Vec<Finding>),
    /// It could not even be tried; later.
    Later(anyhow::Error),
}

impl Trouble {
    /// One finding.
    #[must_use]
    pub fn finding(finding: Finding) -> Self {
        Self::Findings(vec![finding])
    }
}

/// What is proved of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The revision.
    pub revision: RevisionId,
    /// How many workers it has by its plan.
    pub replicas: u32,
    /// Whether callers without a credential are served.
    pub anonymous: bool,
}

/// The world.
#[async_trait]
pub trait Effects: Send + Sync + 'static {
    /// Reads the artifact back and computes its digest anew.
    async fn verify_artifact(&self, digest: &Digest) -> Result<Proof, Trouble>;

    /// Sees to it that the deployment has its key, if it wants one. Doing it again changes nothing.
    async fn ensure_key(&self, id: &DeploymentId, wanted: bool) -> Result<Item, Trouble>;

    /// Knocks at each worker of the revision, as strangers and as the ingress.
    async fn prove_workers(&self, place: &Place) -> Result<Vec<Proof>, Trouble>;

    /// Knocks at the public door as a stranger.
    async fn prove_door(&self, place: &Place) -> Result<Vec<Proof>, Trouble>;

    /// Removes what was made for the deployment. Doing it again changes nothing.
    async fn remove(&self, id: &DeploymentId) -> Result<Vec<Item>, Trouble>;
}

/// A world in which everything is as it should be, at once and without a trace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulated;

fn simulated(name: &str) -> Proof {
    Proof { name: name.to_owned(), detail: "simulated".to_owned() }
}

#[async_trait]
impl Effects for Simulated {
    async fn verify_artifact(&self, _: &Digest) -> Result<Proof, Trouble> {
        Ok(simulated("artifact-digest"))
    }

    async fn ensure_key(&self, _: &DeploymentId, _: bool) -> Result<Item, Trouble> {
        Ok(Item { name: "api-key".to_owned(), value: "simulated".to_owned() })
    }

    async fn prove_workers(&self, _: &Place) -> Result<Vec<Proof>, Trouble> {
        Ok(vec![simulated("workers-closed")])
    }

    async fn prove_door(&self, _: &Place) -> Result<Vec<Proof>, Trouble> {
        Ok(vec![simulated("door-closed")])
    }

    async fn remove(&self, _: &DeploymentId) -> Result<Vec<Item>, Trouble> {
        Ok(vec![Item { name: "api-key".to_owned(), value: "simulated".to_owned() }])
    }
}

//! `slipway cluster-init`: makes what must be secret in a cluster, and keeps it in order. It looks at what is there, makes what is missing, and
//! looks again, until nothing is to be done; so two at once, or one that is killed in the middle, leave nothing half done.

mod api;
mod broker;
mod certificates;
mod config;
mod keys;
mod objects;
mod plan;

pub use config::Config;

use crate::failure::chain;
use api::Cluster;
use slipway_runtime::Frame;
use std::time::Duration;

/// Rounds until nothing is to be done. Each makes what the one before made possible; three do, more are others' doing at the same time.
const ROUNDS: usize = 20;
/// Pause after a round that the API server did not take: it, or its leader, has just started.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs until everything is as it shall be.
///
/// # Errors
/// When something that is there cannot be used, when the API server refuses, or does not answer for long.
pub async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    let cluster = Cluster::find(&config).await?;
    let mut last = None;
    for _ in 0..ROUNDS {
        match round(&config, &frame, &cluster).await {
            Ok(0) => {
                tracing::info!(objects = objects::all(&config).len(), "everything is as it shall be");
                return Ok(());
            }
            Ok(changes) => tracing::debug!(changes, "looking again"),
            Err(error) if error.is_transient() => {
                tracing::warn!(error = %chain(&error), "tried again");
                last = Some(error);
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => anyhow::bail!("something else changes the same objects again and again"),
    }
}

/// Looks at everything and does what is to be done; how much that was.
async fn round(config: &Config, frame: &Frame, cluster: &Cluster) -> Result<usize, InitError> {
    let found = cluster.read(&objects::all(config)).await?;
    let changes = plan::changes(config, &found, frame.clock.now())?;
    for change in &changes {
        cluster.make(change).await?;
    }
    Ok(changes.len())
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The cluster.
    #[error("the API server did not {action}")]
    Api {
        /// What.
        action: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// Something that is there cannot be used, and is not replaced: somebody may need it.
    #[error("{object} {problem}; {advice}")]
    Unusable {
        /// Which.
        object: String,
        /// What about it.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// A key.
    #[error("a key cannot be made")]
    Key(#[from] slipway_bus::keys::KeyError),
    /// A certificate of the broker.
    #[error("a certificate of the broker cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// The authority of the mesh.
    #[error("the authority of the mesh")]
    Authority(#[from] slipway_security::AuthorityError),
}

impl InitError {
    /// Whether the same may work in a moment.
    fn is_transient(&self) -> bool {
        match self {
            // What is wrong with a request stays wrong; 429 and 5xx pass, and so does whatever is no answer at all.
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => status.code == 429 || status.code >= 500,
                _ => true,
            },
            Self::Unusable { .. } | Self::Key(_) | Self::Certificate(_) | Self::Authority(_) => false,
        }
    }
}

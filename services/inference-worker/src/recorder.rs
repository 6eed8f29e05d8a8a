//! Where results of queued requests go, once per request.

use async_trait::async_trait;
use prost::Message as _;
use slipway_bus::{Bus, QueueError, Recorded};
use slipway_kernel::{DeploymentId, RequestId};
use slipway_proto::slipway::inference::v1::InferenceResult;
use slipway_runtime::trace;

/// Where results go before their requests are acknowledged.
#[async_trait]
pub trait Recorder: Send + Sync {
    /// Stores the result durably. A result that is there already under the same request is fine.
    ///
    /// # Errors
    /// When it is not certain that the result is stored.
    async fn record(&self, result: &InferenceResult) -> Result<(), Unrecorded>;
}

/// Why a result is not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unrecorded {
    /// The store cannot be reached or gives no answer; the result may be stored or not.
    #[error("the result could not be recorded: {0}")]
    Unavailable(String),
    /// The result is larger than the store takes; trying again is no use.
    #[error("the result is too large to be recorded: {0}")]
    TooLarge(String),
}

/// Writes to JetStream.
#[derive(Debug, Clone)]
pub struct BusRecorder {
    bus: Bus,
    deployment: DeploymentId,
}

impl BusRecorder {
    /// A recorder for the results of one deployment.
    #[must_use]
    pub const fn new(bus: Bus, deployment: DeploymentId) -> Self {
        Self { bus, deployment }
    }
}

#[async_trait]
impl Recorder for BusRecorder {
    async fn record(&self, result: &InferenceResult) -> Result<(), Unrecorded> {
        let request_id: RequestId = result.request_id.parse().map_err(Unrecorded::Unavailable)?;
        let payload = result.encode_to_vec().into();
        let published = self
            .bus
            .results()
            .publish(&self.deployment, &request_id, payload, trace::current_traceparent().as_deref())
            .await;
        match published {
            // A result that was there before is the one that counts: this request was answered by an earlier try.
            Ok(Recorded::Stored | Recorded::Already) => Ok(()),
            Err(error @ QueueError::TooLarge { .. }) => Err(Unrecorded::TooLarge(error.to_string())),
            Err(error) => Err(Unrecorded::Unavailable(error.to_string())),
        }
    }
}

//! Results into the results stream, once per request.

use async_trait::async_trait;
use prost::Message as _;
use slipway_bus::{Bus, QueueError, Recorded};
use slipway_kernel::{DeploymentId, RequestId};
use slipway_proto::slipway::inference::v1::InferenceResult;
use slipway_runtime::trace;

use crate::inference::{Recorder, Unrecorded};

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

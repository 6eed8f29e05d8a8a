//! What workers are asked beside inferences: how a revision is served, and what was done with it.

use super::{
    Pool,
    retry::{self, Verdict},
    worker::Worker,
};
use crate::error::RequestError;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_kernel::{DeploymentId, RevisionId};
use slipway_oip::statistics;
use slipway_proto::inference::{
    ModelConfigRequest, ModelConfigResponse, ModelStatistics, ModelStatisticsRequest, ModelStatisticsResponse,
    grpc_inference_service_client::GrpcInferenceServiceClient,
};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status, transport::Channel};

/// Workers of a revision that are asked at once: an answer takes a fraction of a millisecond, so more would save nothing.
const AT_ONCE: usize = 16;

/// What all workers of a revision have done, together.
///
/// The workers are asked, rather than this replica telling what it sent them: only they know how long a request waited and how runs
/// were shared, they also serve other replicas and the queue, and so every replica tells the same. A worker that does not answer is
/// an error, for a sum without it would run backwards. What a worker did ends with it, as Triton's figures end with its process.
///
/// # Errors
/// [`RequestError::NoWorker`] if there is none or one does not answer, [`RequestError::DeadlineExceeded`], or what a worker says.
pub async fn statistics(
    pool: &Pool,
    deployment: &DeploymentId,
    revision: RevisionId,
    deadline: Instant,
) -> Result<ModelStatistics, RequestError> {
    let told: Vec<ModelStatisticsResponse> = stream::iter(pool.workers(deployment, revision))
        .map(|worker| {
            let request = ModelStatisticsRequest { name: deployment.name.to_string(), version: revision.to_string() };
            asked(worker, deadline, async move |mut client| client.model_statistics(request).await)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    statistics::sum(told.into_iter().flat_map(|told| told.model_stats)).ok_or(RequestError::NoWorker { revision })
}

/// How a revision is served: by any of its workers, for they were all started alike.
///
/// # Errors
/// As [`statistics`].
pub async fn configuration(
    pool: &Pool,
    deployment: &DeploymentId,
    revision: RevisionId,
    deadline: Instant,
) -> Result<ModelConfigResponse, RequestError> {
    let mut last = RequestError::NoWorker { revision };
    for worker in pool.workers(deployment, revision) {
        let request = ModelConfigRequest { name: deployment.name.to_string(), version: revision.to_string() };
        match asked(worker, deadline, async move |mut client| client.model_config(request).await).await {
            Ok(told) => return Ok(told),
            Err(error @ RequestError::DeadlineExceeded) => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn asked<T>(
    worker: Arc<Worker>,
    deadline: Instant,
    ask: impl AsyncFnOnce(GrpcInferenceServiceClient<Channel>) -> Result<Response<T>, Status>,
) -> Result<T, RequestError> {
    let told = timeout_at(deadline, ask(worker.client())).await.map_err(|_| RequestError::DeadlineExceeded)?;
    told.map(Response::into_inner).map_err(|status| match retry::verdict(&status) {
        Verdict::Final(error) | Verdict::ElseWhere(error) => error,
        Verdict::Gone(_) => RequestError::NoWorker { revision: worker.seat().revision },
    })
}

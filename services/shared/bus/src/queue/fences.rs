//! The fence around a revision that was taken back, as far as its queue and its recorded results go.
//!
//! A worker of such a revision may live on for a while, and knows nothing of the log. So its consumer is taken away: what it has in
//! hand it can no longer acknowledge, the request stays in the queue, and while the mover's own consumer is there (of a work queue no
//! two consumers may read the same) it can make none again. A mark among the results parts what was recorded before from what came
//! too late: before it a request was answered and is gone from the queue, after it its answer is another revision's affair.

use super::{MOVE_BATCH, QueueError, RequestQueue, Requests, Results};
use crate::{
    error::BusError,
    topology::{StreamName, fence, moving_consumer, request_consumer, result},
    wire,
};
use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::json;
use slipway_kernel::{DeploymentId, RequestId, RevisionId};
use slipway_proto::failure::is_cancellation;
use std::time::Duration;

/// A consumer of a work queue reads what another one reads.
const NOT_UNIQUE: u64 = 10_100;
/// Workers whose consumer is gone make it again, a hundred milliseconds later at the earliest; two of us may be at it too.
const TRIES: usize = 10;

impl Requests {
    /// Takes the queue away from a revision that was taken back, and marks the moment. Doing it again changes nothing.
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed.
    pub async fn fence(&self, id: &DeploymentId, revision: RevisionId) -> Result<(), BusError> {
        let mut tries = 0;
        loop {
            self.delete(&request_consumer(id, revision).0).await?;
            tries += 1;
            match self.open(moving_consumer(id, revision)).await {
                Ok(_) => break,
                Err(BusError::Refused { code: NOT_UNIQUE, .. }) if tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
        let mark = wire::publish(&self.bus, fence(id, revision), HeaderMap::new(), Bytes::new()).await;
        match mark {
            Err(error) if !wire::is_taken(&error) => Err(error),
            // The first mark is the one that counts.
            _ => Ok(()),
        }
    }

    /// Moves everything that waits for a fenced revision to another, what its workers had in hand too. What is answered for good is taken
    /// out instead; what was said of the rest after all is removed, so that the other's answer is recorded. To be called when the workers
    /// have ended. Returns how many were moved.
    ///
    /// # Errors
    /// When a queue does not answer or the other is full; what was not moved stays where it is.
    pub async fn move_fenced(&self, id: &DeploymentId, from: RevisionId, to: RevisionId) -> Result<u64, QueueError> {
        let queue = self.open(moving_consumer(id, from)).await?;
        let mark = self.bus.results().fenced_at(id, from).await?;
        let mut moved = 0;
        loop {
            let batch = queue.next(MOVE_BATCH, Duration::ZERO).await?;
            if batch.is_empty() {
                return Ok(moved);
            }
            let answered = batch.iter().map(|request| self.is_answered(id, &request.request_id, mark));
            let answered = futures::future::try_join_all(answered).await?;
            let mut open = Vec::with_capacity(batch.len());
            for (request, answered) in batch.into_iter().zip(answered) {
                if answered {
                    request.ack().await?;
                } else {
                    open.push(request);
                }
            }
            moved += self.pass_on(id, to, open).await?;
        }
    }

    /// Whether a request has an answer that counts: one from before the mark, whose acknowledgement did not reach the queue before its
    /// consumer went, or its sender's who took it back. One that does not count is removed.
    async fn is_answered(&self, id: &DeploymentId, request: &RequestId, mark: Option<u64>) -> Result<bool, BusError> {
        let subject = result(id, request);
        let Some(said) = wire::direct_last_of(&self.bus, StreamName::Results.as_str(), &subject).await? else {
            return Ok(false);
        };
        if mark.is_some_and(|mark| said.sequence < mark) || is_cancellation(&said.payload) {
            return Ok(true);
        }
        let what = format!("STREAM.PURGE.{}", StreamName::Results.as_str());
        wire::api(&self.bus, &what, &json!({ "filter": subject })).await?;
        Ok(false)
    }

    async fn open(
        &self,
        consumer: (String, async_nats::jetstream::consumer::pull::Config),
    ) -> Result<RequestQueue, BusError> {
        super::requests::open(&self.bus, consumer).await
    }
}

impl Results {
    /// Where among the results the mark of a fenced revision stands; none if it was not fenced here.
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed.
    pub async fn fenced_at(&self, id: &DeploymentId, revision: RevisionId) -> Result<Option<u64>, BusError> {
        let mark = wire::direct_last_of(&self.bus, StreamName::Results.as_str(), &fence(id, revision)).await?;
        Ok(mark.map(|mark| mark.sequence))
    }
}

//! Whether this worker, or its model, can be asked now, as any tool of gRPC asks it.

use std::sync::Arc;

use futures::StreamExt as _;
use slipway_oip::health::{self, Health, HealthCheckRequest, HealthCheckResponse, Readings, Subject};
use slipway_proto::failure::FailureCode;
use slipway_runtime::CancellationToken;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use crate::inference::{Inference, Phase};

/// The service.
#[derive(Clone, Debug)]
pub struct Readiness {
    inference: Arc<Inference>,
    closing: CancellationToken,
}

impl Readiness {
    /// The readiness of a model. From `closing` on nothing is watched.
    #[must_use]
    pub const fn new(inference: Arc<Inference>, closing: CancellationToken) -> Self {
        Self { inference, closing }
    }

    fn is_known(&self, service: &str) -> bool {
        match Subject::of(service) {
            Subject::Server => true,
            Subject::Model(name) => name == self.inference.name(),
        }
    }
}

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !self.is_known(&service) {
            let own = self.inference.name();
            let sentence = format!("there is no service `{service}` here; this worker serves `{own}`");
            return Err(slipway_oip::grpc::status(FailureCode::NotFound, sentence, None));
        }
        Ok(Response::new(health::response(Some(self.inference.phase() == Phase::Serving))))
    }

    type WatchStream = Readings;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Readings>, Status> {
        let known = self.is_known(&request.into_inner().service);
        let phases = WatchStream::new(self.inference.phases());
        let readings = phases.map(move |phase| known.then_some(phase == Phase::Serving));
        Ok(Response::new(health::readings(readings.take_until(self.closing.clone().cancelled_owned()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::fixtures;
    use slipway_oip::health::ServingStatus;
    use slipway_runtime::Clock;
    use std::time::Duration;
    use tonic::Code;

    fn asked(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.into() })
    }

    async fn next(readings: &mut Readings) -> Option<ServingStatus> {
        let next = tokio::time::timeout(Duration::from_secs(10), readings.next()).await.expect("it is told");
        next.map(|reading| reading.unwrap().status())
    }

    #[tokio::test]
    async fn the_server_and_its_model_are_ready_while_the_worker_serves_and_others_are_unknown() {
        let inference = Arc::new(fixtures::serving(Clock::system()));
        let readiness = Readiness::new(Arc::clone(&inference), CancellationToken::new());
        let known = ["", "digits", "inference.GRPCInferenceService"];
        for service in known {
            let answer = readiness.check(asked(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        }
        let unknown = readiness.check(asked("cats")).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
        inference.enter(Phase::Draining);
        for service in known {
            let answer = readiness.check(asked(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::NotServing, "{service}");
        }
    }

    #[tokio::test]
    async fn who_watches_is_told_of_each_change_and_of_the_end() {
        let inference = Arc::new(fixtures::serving(Clock::system()));
        let closing = CancellationToken::new();
        let readiness = Readiness::new(Arc::clone(&inference), closing.clone());
        let mut model = readiness.watch(asked("digits")).await.unwrap().into_inner();
        let mut unknown = readiness.watch(asked("cats")).await.unwrap().into_inner();
        let mut server = readiness.watch(asked("")).await.unwrap().into_inner();
        assert_eq!(next(&mut model).await, Some(ServingStatus::Serving));
        assert_eq!(next(&mut unknown).await, Some(ServingStatus::ServiceUnknown));
        inference.enter(Phase::Draining);
        assert_eq!(next(&mut model).await, Some(ServingStatus::NotServing));
        closing.cancel();
        // It had not looked yet, and learns the last only.
        assert_eq!(next(&mut server).await, Some(ServingStatus::NotServing));
        assert_eq!((next(&mut model).await, next(&mut server).await), (None, None));
    }
}

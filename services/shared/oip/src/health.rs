//! `grpc.health.v1`: whether the server, or a model by its name, can be asked now.

use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use slipway_proto::inference::grpc_inference_service_server::SERVICE_NAME as INFERENCE;
use tonic::Status;
pub use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer, SERVICE_NAME},
};

/// The readings of something that is watched.
pub type Readings = BoxStream<'static, Result<HealthCheckResponse, Status>>;

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The server, by no name or that of a service of it.
    Server,
    /// A model.
    Model(&'a str),
}

impl<'a> Subject<'a> {
    /// Of whom this is the name.
    #[must_use]
    pub fn of(service: &'a str) -> Self {
        // No model is called as a service is: its name has no capitals, and no more than one point.
        if service.is_empty() || service == INFERENCE || service == SERVICE_NAME {
            return Self::Server;
        }
        Self::Model(service)
    }
}

/// The answer about something that is ready, or not, or (`None`) unknown.
#[must_use]
pub fn response(ready: Option<bool>) -> HealthCheckResponse {
    let status = match ready {
        Some(true) => ServingStatus::Serving,
        Some(false) => ServingStatus::NotServing,
        None => ServingStatus::ServiceUnknown,
    };
    HealthCheckResponse { status: status.into() }
}

/// The first of these readings and then each that differs from the one before. When they end so does what is watched, which
/// is said before.
pub fn readings(readings: impl Stream<Item = Option<bool>> + Send + 'static) -> Readings {
    let ended = stream::once(async { Some(false) });
    let mut last = None;
    readings
        .chain(ended)
        .filter_map(move |ready| std::future::ready((last.replace(ready) != Some(ready)).then_some(ready)))
        .map(|ready| Ok(response(ready)))
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_the_server_are_the_server_and_all_else_is_a_model() {
        for service in ["", "inference.GRPCInferenceService", "grpc.health.v1.Health"] {
            assert_eq!(Subject::of(service), Subject::Server, "{service}");
        }
        for model in ["digits", "team.digits", "inference"] {
            assert_eq!(Subject::of(model), Subject::Model(model));
        }
    }

    #[tokio::test]
    async fn a_watch_tells_what_changed_and_that_it_ends() {
        let all = [None, None, Some(false), Some(true), Some(true), Some(false), Some(true)];
        let told: Vec<i32> =
            readings(stream::iter(all)).map(|reading| reading.unwrap().status).collect::<Vec<_>>().await;
        let expected = [
            ServingStatus::ServiceUnknown,
            ServingStatus::NotServing,
            ServingStatus::Serving,
            ServingStatus::NotServing,
            ServingStatus::Serving,
            ServingStatus::NotServing,
        ];
        assert_eq!(told, expected.map(i32::from));
    }
}

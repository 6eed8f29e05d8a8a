//! Open Inference Protocol v2 over gRPC, on the same port and by the same rules as HTTP.
//!
//! A model is named as in a path; one of another namespace as `<namespace>.<model>`, or by the metadata `slipway-namespace`.

use super::{
    address::Address,
    grpc_stream::{self, Answers},
    health::SERVER,
    infer, models,
    repository::{self, Scope},
    statistics,
    wire::Wire,
};
use crate::{auth::Shown, channels::metered::Held, error::RequestError, respond, stack::Ingress, trail::Trail};
use axum::extract::ConnectInfo;
use http::{HeaderMap, Uri};
use slipway_oip::{
    documents::Model,
    repository::{self as index, Asked},
};
use slipway_proto::inference::{
    ModelConfigRequest, ModelConfigResponse, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse,
    RepositoryIndexRequest, RepositoryIndexResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    grpc_inference_service_server::GrpcInferenceService,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tonic::{Extensions, Request, Response, Status, Streaming};

/// Metadata of the namespace of a model.
const NAMESPACE: &str = "slipway-namespace";

/// The service.
#[derive(Clone, Debug)]
pub struct Grpc(Arc<Ingress>);

/// Where a call came from, and what it shows.
pub(super) struct Caller {
    pub(super) headers: HeaderMap,
    peer: SocketAddr,
    pub(super) trail: Arc<Trail>,
    uri: Uri,
    /// The memory of the message, for as long as the call is worked on.
    _held: Option<Held>,
}

impl Grpc {
    /// The service of a door.
    #[must_use]
    pub const fn new(ingress: Arc<Ingress>) -> Self {
        Self(ingress)
    }
}

impl Caller {
    /// What the layers before left with the call.
    pub(super) fn of<T>(request: Request<T>) -> Result<(Self, T), Status> {
        let (metadata, extensions, message) = request.into_parts();
        let missing = || respond::status(&RequestError::Internal(anyhow::anyhow!("a layer is missing before gRPC")));
        let peer = peer(&extensions).ok_or_else(missing)?;
        let trail = extensions.get::<Arc<Trail>>().cloned().ok_or_else(missing)?;
        let held = extensions.get::<Held>().cloned();
        Ok((Self { headers: metadata.into_headers(), peer, trail, uri: Uri::default(), _held: held }, message))
    }

    pub(super) fn shown(&self) -> Shown<'_> {
        self.shown_by(&self.trail)
    }

    /// What it shows with a request of its own time.
    fn shown_by(&self, trail: &Trail) -> Shown<'_> {
        Shown { headers: &self.headers, uri: &self.uri, peer: self.peer.ip(), arrived: trail.arrived }
    }

    fn namespace(&self) -> Option<&str> {
        self.headers.get(NAMESPACE).and_then(|value| value.to_str().ok())
    }

    /// Answers one request.
    pub(super) async fn infer(
        &self,
        ingress: &Ingress,
        trail: &Trail,
        timeout: Option<Duration>,
        message: ModelInferRequest,
    ) -> Result<ModelInferResponse, RequestError> {
        let address = self.address(&message.model_name, &message.model_version)?;
        let wire = Wire::Message(Box::new(message));
        infer::message(ingress, trail, &address, self.shown_by(trail), timeout, wire).await
    }

    pub(super) fn address(&self, name: &str, version: &str) -> Result<Address, RequestError> {
        let (namespace, name) = match name.split_once('.') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (self.namespace(), name),
        };
        Address::of(namespace, name, Some(version).filter(|version| !version.is_empty()), &self.headers)
    }

    pub(super) fn refused(&self, error: &RequestError) -> Status {
        refused(&self.trail, error)
    }
}

/// The status of a refusal, which the figures know by its number in HTTP.
fn refused(trail: &Trail, error: &RequestError) -> Status {
    trail.ended(respond::verdict(error).status);
    if let Some(fault) = respond::Fault::of(error) {
        trail.fault(&fault);
    }
    respond::status(error)
}

fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

#[tonic::async_trait]
impl GrpcInferenceService for Grpc {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.0.health.is_ready() }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(SERVER.message()))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        let (caller, message) = Caller::of(request)?;
        let ready = async {
            let address = caller.address(&message.name, &message.version)?;
            let target = models::asked(&self.0, &caller.trail, &address, caller.shown()).await?;
            Ok(self.0.pool.count(&address.deployment, target.revision) > 0)
        };
        let ready = ready.await.map_err(|error| caller.refused(&error))?;
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let (caller, message) = Caller::of(request)?;
        let metadata = async {
            let address = caller.address(&message.name, &message.version)?;
            let target = models::asked(&self.0, &caller.trail, &address, caller.shown()).await?;
            let signature = target.signature.as_ref().map_err(|reason| RequestError::Unservable(reason.clone()))?;
            let (name, version) = (address.deployment.name.as_str(), target.revision.to_string());
            Ok(Model::new(name, version, &target.platform, signature).message())
        };
        metadata.await.map(Response::new).map_err(|error| caller.refused(&error))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let timeout = slipway_oip::grpc::timeout(request.metadata());
        let (caller, message) = Caller::of(request)?;
        caller.trail.is_inference();
        let answered = caller.infer(&self.0, &caller.trail, timeout, message);
        answered.await.map(Response::new).map_err(|error| caller.refused(&error))
    }

    type ModelStreamInferStream = Answers;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let ends = slipway_oip::grpc::timeout(request.metadata());
        let (caller, incoming) = Caller::of(request)?;
        let trail = Arc::clone(&caller.trail);
        let answers = grpc_stream::answers(Arc::clone(&self.0), caller, ends, incoming);
        answers.map(Response::new).map_err(|error| refused(&trail, &error))
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Result<Response<ModelConfigResponse>, Status> {
        let (caller, message) = Caller::of(request)?;
        let told = async {
            let address = caller.address(&message.name, &message.version)?;
            statistics::served(&self.0, &caller.trail, &address, caller.shown()).await
        };
        told.await.map(Response::new).map_err(|error| caller.refused(&error))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let (caller, message) = Caller::of(request)?;
        let told = async {
            if message.name.is_empty() {
                let allowed = "the name of a model: whose figures these are decides who may see them";
                return Err(RequestError::invalid("name", "nothing", allowed));
            }
            let address = caller.address(&message.name, &message.version)?;
            statistics::done(&self.0, &caller.trail, &address, caller.shown()).await
        };
        told.await.map(Response::new).map_err(|error| caller.refused(&error))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let (caller, message) = Caller::of(request)?;
        let scope = match caller.namespace() {
            None => Some(Scope::All),
            named => Scope::namespace(named),
        };
        let asked = Asked { ready: message.ready };
        let served = match scope {
            Some(scope) => repository::served(&self.0, &scope, caller.shown()).await,
            None => Ok(Vec::new()),
        };
        let message = served.map(|served| index::message(asked.of(served)));
        message.map(Response::new).map_err(|error| caller.refused(&error))
    }
}

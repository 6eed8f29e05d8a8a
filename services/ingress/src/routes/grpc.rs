//! Open Inference Protocol v2 over gRPC, on the same port and by the same rules as HTTP.
//!
//! A model is named as in a path; one of another namespace as `<namespace>.<model>`, or by the metadata `slipway-namespace`.

use super::{address::Address, health::SERVER, infer, models};
use crate::{auth::Shown, channels::metered::Held, error::RequestError, respond, stack::Ingress, trail::Trail};
use axum::extract::ConnectInfo;
use http::{HeaderMap, Uri};
use slipway_oip::documents::Model;
use slipway_proto::inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse,
    ServerReadyRequest, ServerReadyResponse, grpc_inference_service_server::GrpcInferenceService,
};
use std::{net::SocketAddr, sync::Arc};
use tonic::{Extensions, Request, Response, Status};

/// Metadata of the namespace of a model.
const NAMESPACE: &str = "slipway-namespace";

/// The service.
#[derive(Clone, Debug)]
pub struct Grpc(Arc<Ingress>);

/// Where a call came from, and what it shows.
struct Caller {
    headers: HeaderMap,
    peer: SocketAddr,
    trail: Arc<Trail>,
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
    fn of<T>(request: Request<T>) -> Result<(Self, T), Status> {
        let (metadata, extensions, message) = request.into_parts();
        let missing = || respond::status(&RequestError::Internal(anyhow::anyhow!("a layer is missing before gRPC")));
        let peer = peer(&extensions).ok_or_else(missing)?;
        let trail = extensions.get::<Arc<Trail>>().cloned().ok_or_else(missing)?;
        let held = extensions.get::<Held>().cloned();
        Ok((Self { headers: metadata.into_headers(), peer, trail, uri: Uri::default(), _held: held }, message))
    }

    fn shown(&self) -> Shown<'_> {
        Shown { headers: &self.headers, uri: &self.uri, peer: self.peer.ip(), arrived: self.trail.arrived }
    }

    fn address(&self, name: &str, version: &str) -> Result<Address, RequestError> {
        let namespace = self.headers.get(NAMESPACE).and_then(|value| value.to_str().ok());
        let (namespace, name) = match name.split_once('.') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (namespace, name),
        };
        Address::of(namespace, name, Some(version).filter(|version| !version.is_empty()), &self.headers)
    }

    /// The status of a refusal, which the figures know by its number in HTTP.
    fn refused(&self, error: &RequestError) -> Status {
        self.trail.ended(respond::verdict(error).status);
        if let Some(fault) = respond::Fault::of(error) {
            self.trail.fault(&fault);
        }
        respond::status(error)
    }
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
        let answered = async {
            let address = caller.address(&message.model_name, &message.model_version)?;
            infer::message(&self.0, &caller.trail, &address, caller.shown(), timeout, message).await
        };
        answered.await.map(Response::new).map_err(|error| caller.refused(&error))
    }
}

//! The layers a request goes through, outermost first, and what its handlers share.
//!
//! | layer | reason |
//! |---|---|
//! | `observe` | every request has a span, figures and identifying headers, also the refused one |
//! | its `catch_unwind` | a panic is the failure of one request |
//! | `refuse_ambiguous` | what two parsers could read differently goes no further |
//! | `metered` | gRPC only: who sends a message stands in the message, so its memory is counted before that is known; on a stream, message by message |
//! | `named` | gRPC only: what was no message is refused in our words, as the client's fault |
//! | the routes | one file per resource; the order inside an inference is that of `routes/infer.rs`, and nearly all inferences go there past the router, whose boxes cost more than a small request should |
//!
//! Below all of it, `channels/http.rs` bounds connections, heads, streams and stalls.

use crate::{
    admission::Admission,
    auth::Authenticator,
    capture::Capture,
    channels::{messages, metered},
    config::LimitsConfig,
    framing, limits,
    mailbox::Mailbox,
    observe,
    routes::{
        self, address::Address, grpc::Grpc, health, health_grpc::Readiness, infer, models, repository, requests,
        statistics, websocket,
    },
    table::Routing,
    telemetry::IngressMetrics,
    ticket::Tickets,
    trail::Trail,
    upstream::Pool,
};
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    http::Method,
    middleware,
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};
use futures::{StreamExt as _, future::BoxFuture};
use slipway_oip::{health::HealthServer, reflection};
use slipway_proto::inference::grpc_inference_service_server::{self, GrpcInferenceServiceServer};
use slipway_runtime::{CancellationToken, Clock, Health, websocket::WebSockets};
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tonic::{codec::CompressionEncoding, service::Routes};
use tower::{Service, util::MapRequestLayer};

/// What all handlers share.
pub struct Ingress {
    /// Where requests go.
    pub routing: Routing,
    /// The workers.
    pub pool: Pool,
    /// Who is let in.
    pub authenticator: Authenticator,
    /// How many at once.
    pub admission: Admission,
    /// The configured limits.
    pub limits: LimitsConfig,
    /// How long a request waits for a worker to appear.
    pub worker_wait: Duration,
    /// Requests that are answered later, and results that are recorded before their answers.
    pub mailbox: Arc<dyn Mailbox>,
    /// Ids of requests that are answered later.
    pub tickets: Tickets,
    /// Results that no answer waits for.
    pub capture: Capture,
    /// What is counted.
    pub metrics: IngressMetrics,
    /// The time.
    pub clock: Clock,
    /// Whether requests can be taken.
    pub health: Health,
    /// The WebSockets that are open.
    pub websockets: WebSockets,
    /// From then on streams take no request, and end with their last answer.
    pub closing: CancellationToken,
}

impl std::fmt::Debug for Ingress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingress").field("routing", &self.routing).field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// The layers, as a service. They are one future around the resources, in one box: as layers of a router each would clone all that is
/// below it for every request.
#[derive(Clone)]
pub struct Stack(Arc<Layers>);

struct Layers {
    ingress: Arc<Ingress>,
    inferences: GrpcInferenceServiceServer<Grpc>,
    /// Everything else.
    resources: Router,
}

impl Service<Request> for Stack {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let layers = Arc::clone(&self.0);
        Box::pin(async move { Ok(layers.answer(request).await) })
    }
}

impl Layers {
    async fn answer(&self, request: Request) -> Response {
        observe::observe(&self.ingress.metrics, request, async |request| match framing::refuse_ambiguous(&request) {
            Some(refused) => refused,
            None => self.route(request).await,
        })
        .await
    }

    async fn route(&self, request: Request) -> Response {
        let path = request.uri().path();
        if request.method() == Method::POST
            && let Some(address) = Address::of_inference(path, request.headers())
            && let Some(trail) = request.extensions().get::<Arc<Trail>>().cloned()
            && let Some(&ConnectInfo(peer)) = request.extensions().get()
        {
            return infer::addressed(&self.ingress, &trail, peer, address, request).await.into_response();
        }
        let memory = &self.ingress.admission.bodies;
        let request = match inference_call(request.uri().path()) {
            None => return answered(self.resources.clone().call(request).await),
            Some(STREAM) => messages::metered(request, memory),
            Some(_) => metered::metered(request, memory),
        };
        named(answered(self.inferences.clone().call(request).await).map(Body::new))
    }
}

fn answered<T>(done: Result<T, Infallible>) -> T {
    done.unwrap_or_else(|never| match never {})
}

/// The call of many messages.
const STREAM: &str = "ModelStreamInfer";

/// Which call of the protocol a path is.
fn inference_call(path: &str) -> Option<&str> {
    let call = path.strip_prefix('/')?.strip_prefix(grpc_inference_service_server::SERVICE_NAME)?.strip_prefix('/')?;
    Some(call).filter(|call| !call.is_empty() && !call.contains('/'))
}

/// The layers.
pub fn stack(ingress: Arc<Ingress>) -> Stack {
    let inferences = GrpcInferenceServiceServer::new(Grpc::new(Arc::clone(&ingress)))
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .send_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Deflate);
    let resources = resources().merge(tools(&ingress)).fallback(routes::unknown).with_state(Arc::clone(&ingress));
    Stack(Arc::new(Layers { ingress, inferences, resources }))
}

/// What tools of gRPC ask of any server.
fn tools(ingress: &Arc<Ingress>) -> Router<Arc<Ingress>> {
    // Who keeps asking does not hold a door that closes.
    let (closing, memory) = (ingress.closing.clone(), ingress.admission.bodies.clone());
    let bounded = MapRequestLayer::new(move |request: Request| {
        let closing = closing.clone().cancelled_owned();
        metered::metered(request, &memory).map(|body| Body::from_stream(body.into_data_stream().take_until(closing)))
    });
    Routes::new(HealthServer::new(Readiness::new(Arc::clone(ingress))))
        .add_service(reflection::v1())
        .add_service(reflection::v1alpha())
        .into_axum_router()
        .reset_fallback()
        .layer(bounded)
        .layer(middleware::map_response(async |response| named(response)))
        .with_state(())
}

fn named(mut response: Response) -> Response {
    slipway_oip::grpc::name_refusal(&mut response);
    response
}

type Resource = MethodRouter<Arc<Ingress>>;

fn resources() -> Router<Arc<Ingress>> {
    let read = |resource: Resource| resource.fallback(routes::only_get);
    let mut router = Router::new()
        .route("/v2", read(get(health::server)))
        .route("/v2/health/live", read(get(health::live)))
        .route("/v2/health/ready", read(get(health::ready)))
        .route(
            "/v2/requests/{place}",
            get(requests::poll).delete(requests::cancel).fallback(routes::only_get_or_delete),
        );
    for index in ["/v2/repository/index", "/v2/namespaces/{namespace}/repository/index"] {
        router = router.route(index, post(repository::index).fallback(routes::only_post));
    }
    for model in ["/v2/models/{model}", "/v2/namespaces/{namespace}/models/{model}"] {
        for version in ["", "/versions/{version}"] {
            let at = |resource: &str| format!("{model}{version}{resource}");
            router = router
                .route(&at(""), read(get(models::metadata)))
                .route(&at("/ready"), read(get(models::ready)))
                .route(&at("/config"), read(get(statistics::config)))
                .route(&at("/stats"), read(get(statistics::stats)))
                .route(&at("/stream"), read(get(websocket::open)))
                .route(&at("/infer"), post(infer::infer).fallback(routes::only_post));
        }
    }
    router
}

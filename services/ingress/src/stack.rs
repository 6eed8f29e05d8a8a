//! The layers a request goes through, outermost first, and what its handlers share.
//!
//! | layer | reason |
//! |---|---|
//! | `observe` | every request has a span, figures and identifying headers, also the refused one |
//! | `panicked` | a panic is the failure of one request |
//! | `refuse_ambiguous` | what two parsers could read differently goes no further |
//! | `metered` | gRPC only: who sends a message stands in the message, so its memory is counted before that is known; on a stream, message by message |
//! | `named` | gRPC only: what was no message is refused in our words, as the client's fault |
//! | the routes | one file per resource; the order inside an inference is that of `routes/infer.rs` |
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
        self, grpc::Grpc, health, health_grpc::Readiness, infer, models, repository, requests, statistics, websocket,
    },
    table::Routing,
    telemetry::IngressMetrics,
    ticket::Tickets,
    upstream::Pool,
};
use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware,
    response::Response,
    routing::{MethodRouter, get, post},
};
use futures::StreamExt as _;
use slipway_oip::{health::HealthServer, reflection};
use slipway_proto::inference::grpc_inference_service_server::{self, GrpcInferenceServiceServer};
use slipway_runtime::{CancellationToken, Clock, Health, websocket::WebSockets};
use std::{sync::Arc, time::Duration};
use tonic::{codec::CompressionEncoding, service::Routes};
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;

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

/// The layers.
pub fn stack(ingress: Arc<Ingress>) -> Router {
    let metrics = ingress.metrics.clone();
    let grpc = GrpcInferenceServiceServer::new(Grpc::new(Arc::clone(&ingress)))
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .send_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Deflate);
    let calls = |call: &str| format!("/{}/{call}", grpc_inference_service_server::SERVICE_NAME);
    let stream = Router::new()
        .route_service(&calls("ModelStreamInfer"), grpc.clone())
        .layer(middleware::from_fn_with_state(Arc::clone(&ingress), messages::metered));
    // Who keeps asking does not hold a door that closes.
    let ending = MapRequestLayer::new({
        let closing = ingress.closing.clone();
        move |request: Request| {
            let closing = closing.clone().cancelled_owned();
            request.map(|body| Body::from_stream(body.into_data_stream().take_until(closing)))
        }
    });
    let tools = Routes::new(HealthServer::new(Readiness::new(Arc::clone(&ingress))))
        .add_service(reflection::v1())
        .add_service(reflection::v1alpha())
        .into_axum_router()
        .reset_fallback();
    let grpc = Router::new()
        .route_service(&calls("{call}"), grpc)
        .merge(tools.layer(ending).with_state(()))
        .layer(middleware::from_fn_with_state(Arc::clone(&ingress), metered::metered))
        .merge(stream)
        .layer(middleware::map_response(named));
    resources()
        .merge(grpc)
        .fallback(routes::unknown)
        .with_state(ingress)
        // A layer added later is further out.
        .layer(middleware::from_fn(framing::refuse_ambiguous))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(middleware::from_fn_with_state(metrics, observe::observe))
}

async fn named(mut response: Response) -> Response {
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

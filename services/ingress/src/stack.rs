//! The layers a request goes through, outermost first, and what its handlers share.
//!
//! | layer | reason |
//! |---|---|
//! | `observe` | every request has a span, figures and identifying headers, also the refused one |
//! | `panicked` | a panic is the failure of one request |
//! | `refuse_ambiguous` | what two parsers could read differently goes no further |
//! | the routes | one file per resource; the order inside an inference is that of `routes/infer.rs` |
//!
//! Below all of it, `channels/http.rs` bounds connections, heads, streams and stalls.

use crate::{
    admission::Admission,
    auth::Authenticator,
    config::LimitsConfig,
    framing,
    mailbox::Mailbox,
    observe,
    routes::{self, health, infer, models, requests},
    table::Routing,
    telemetry::IngressMetrics,
    upstream::Pool,
};
use axum::{
    Router, middleware,
    routing::{MethodRouter, get, post},
};
use slipway_runtime::{Clock, Health};
use std::{sync::Arc, time::Duration};
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
    /// Requests that are answered later.
    pub mailbox: Arc<dyn Mailbox>,
    /// What is counted.
    pub metrics: IngressMetrics,
    /// The time.
    pub clock: Clock,
    /// Whether requests can be taken.
    pub health: Health,
}

impl std::fmt::Debug for Ingress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingress").field("routing", &self.routing).field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// The layers.
pub fn stack(ingress: Arc<Ingress>) -> Router {
    let metrics = ingress.metrics.clone();
    resources()
        .fallback(routes::unknown)
        .with_state(ingress)
        // A layer added later is further out.
        .layer(middleware::from_fn(framing::refuse_ambiguous))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(middleware::from_fn_with_state(metrics, observe::observe))
}

type Resource = MethodRouter<Arc<Ingress>>;

fn resources() -> Router<Arc<Ingress>> {
    let read = |resource: Resource| resource.fallback(routes::only_get);
    let mut router = Router::new()
        .route("/v2", read(get(health::server)))
        .route("/v2/health/live", read(get(health::live)))
        .route("/v2/health/ready", read(get(health::ready)))
        .route("/v2/requests/{place}", read(get(requests::poll)));
    for model in ["/v2/models/{model}", "/v2/namespaces/{namespace}/models/{model}"] {
        for version in ["", "/versions/{version}"] {
            let at = |resource: &str| format!("{model}{version}{resource}");
            router = router
                .route(&at(""), read(get(models::metadata)))
                .route(&at("/ready"), read(get(models::ready)))
                .route(&at("/infer"), post(infer::infer).fallback(routes::only_post));
        }
    }
    router
}

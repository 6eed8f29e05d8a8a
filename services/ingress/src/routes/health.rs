//! `/v2`, `/v2/health/live`, `/v2/health/ready`.

use crate::{respond, stack::Ingress};
use axum::{extract::State, response::Response};
use serde_json::json;
use slipway_oip::documents::{EXTENSIONS, Server};
use std::sync::Arc;

/// What this server says about itself.
pub const SERVER: Server = Server { name: "slipway", version: slipway_runtime::VERSION, extensions: &EXTENSIONS };

/// What this server is.
pub async fn server() -> Response {
    respond::json(200, &SERVER)
}

/// Whether the process lives.
pub async fn live() -> Response {
    respond::json(200, &json!({ "live": true }))
}

/// Whether requests can be taken.
pub async fn ready(State(ingress): State<Arc<Ingress>>) -> Response {
    let ready = ingress.health.is_ready();
    respond::json(if ready { 200 } else { 503 }, &json!({ "ready": ready }))
}

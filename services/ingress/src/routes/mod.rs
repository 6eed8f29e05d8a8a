//! The resources of the door, one file each.

pub mod address;
pub mod enter;
pub mod grpc;
mod grpc_stream;
pub mod head;
pub mod health;
pub mod health_grpc;
pub mod infer;
pub mod later;
pub mod models;
pub mod prepare;
pub mod repository;
pub mod requests;
pub mod statistics;
pub mod websocket;
pub mod wire;

use crate::error::RequestError;

/// Whatever is at no path.
pub async fn unknown() -> RequestError {
    RequestError::UnknownPath
}

/// A path that is only read.
pub async fn only_get() -> RequestError {
    RequestError::Method { allowed: "GET" }
}

/// A path that is read or deleted.
pub async fn only_get_or_delete() -> RequestError {
    RequestError::Method { allowed: "GET, DELETE" }
}

/// A path that is only posted to.
pub async fn only_post() -> RequestError {
    RequestError::Method { allowed: "POST" }
}

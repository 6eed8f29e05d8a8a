//! Open Inference Protocol v2, read and written: one model signature, one request, one answer, whichever wire they came by.
//!
//! Ingress and worker speak the same protocol to the same public clients; what they must agree on to the byte stands here.
//!
//! - [`signature`]: what a model takes and gives, and whether names, types, shapes and rows of a request are that. Asked
//!   before any element is read, so a wrong request costs little.
//! - [`request`], [`response`]: what all wires have in common: a checked request, an answer.
//! - [`json`]: both as a JSON document, with the binary tensor extension ([`binary`]) beside or instead of numbers in text.
//! - [`message`]: both as the protobuf of the gRPC protocol, raw or typed.
//! - [`encoding`]: a body that comes packed.
//! - [`events`]: an answer as server-sent events.
//! - [`http`], [`grpc`]: what a body of HTTP is made of; what goes beside the messages of gRPC.
//! - [`reply`]: an answer as a message of NATS.
//! - [`documents`]: what a server and a model say about themselves, in JSON.
//! - [`configuration`], [`repository`], [`statistics`]: how a model is served, what is served, what was done: extensions of Triton.
//! - [`stream`], [`talk`]: many requests on one stream of gRPC, on one WebSocket.
//! - [`health`], [`reflection`]: what tools of gRPC ask of any server.
//!
//! All of it is pure. Every refusal names the path, the value and what is allowed there; no input makes it panic, and no
//! input makes it take more memory than a small multiple of its own size.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod binary;
pub mod configuration;
pub mod documents;
pub mod encoding;
pub mod events;
pub mod grpc;
pub mod health;
pub mod http;
pub mod json;
pub mod message;
pub mod reflection;
pub mod reply;
pub mod repository;
pub mod request;
pub mod response;
pub mod signature;
pub mod statistics;
pub mod stream;
pub mod talk;

pub use request::{Parameters, Priority, Request, Wanted};
pub use response::Response;
pub use signature::{ForeignType, Rules, Signature, TensorSpec};

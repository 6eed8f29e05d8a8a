//! Open Inference Protocol v2 over HTTP: JSON to the protobuf that workers understand, and back.
//!
//! - [`envelope`]: the document without its numbers, in one pass that copies no tensor data.
//! - [`signature`]: whether names, types and shapes are those of the model. Asked before any number is read.
//! - [`data`]: the text of one tensor's data to its raw bytes.
//! - [`request`]: the three together.
//! - [`response`]: an answer as JSON.
//!
//! All of it is pure. Every refusal names the path, the value and what is allowed there.

pub mod data;
pub mod envelope;
mod half;
pub mod request;
pub mod response;
pub mod signature;

pub use request::{Decoded, decode};
pub use response::encode;
pub use signature::Signature;

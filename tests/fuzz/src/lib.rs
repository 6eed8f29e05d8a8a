//! What must hold for every input from outside, as functions that take any bytes and panic when it does not hold.
//!
//! - [`json`]: a request as a document.
//! - [`body`]: a body of HTTP: a document, tensors behind it, or one tensor and nothing else.
//! - [`message`]: a request as a message of the gRPC protocol.
//! - [`packed`]: a body that comes packed.
//! - [`document`]: a deployment's document.
//! - [`mapping`]: a message of Slipway or CloudEvents, between protobuf and JSON.
//! - [`archive`]: a model of several files.
//!
//! Each is called by two: by libFuzzer, which looks for an input that breaks it (`make fuzz`), and by a plain test, which runs
//! every input that is kept in `corpus/` and `found/`. Only the parsers are called: no server, no file, no clock.
//!
//! What is wrong is told by a panic: that is what libFuzzer and the test harness both take for a finding.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

pub mod archive;
pub mod body;
pub mod document;
mod forms;
pub mod json;
pub mod mapping;
mod memory;
pub mod message;
mod models;
mod numbers;
pub mod packed;
mod refusals;

/// A target: the name of its folders, and what runs it.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 7] = [
    ("json", json::run),
    ("body", body::run),
    ("message", message::run),
    ("packed", packed::run),
    ("document", document::run),
    ("mapping", mapping::run),
    ("archive", archive::run),
];

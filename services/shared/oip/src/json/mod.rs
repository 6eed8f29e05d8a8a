//! Requests and answers as JSON documents.
//!
//! - [`envelope`]: a request without its numbers, in one pass that copies no tensor data.
//! - [`data`]: the text of one tensor's data to its raw bytes.
//! - [`request`]: the two together, held against the signature in between.
//! - [`response`]: an answer as a document.

pub mod data;
pub mod envelope;
mod floats;
mod half;
pub mod request;
pub mod response;

pub use envelope::Envelope;
pub use request::read;
pub use response::{EncodeError, Readable, Written, write};

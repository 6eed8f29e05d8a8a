//! A request as it came by its wire: a body of HTTP, or a message of gRPC. Read in two steps, because the id in it decides
//! which revision's signature it is held against.

use bytes::Bytes;
use prost::Message as _;
use slipway_kernel::{Digest, Refusals};
use slipway_oip::{
    Request, Rules, Signature,
    binary::{self, Parts},
    json::{self, Envelope},
    message,
};
use slipway_proto::inference::ModelInferRequest;

/// A request as it came.
#[derive(Clone, Debug)]
pub enum Wire {
    /// A body of HTTP.
    Body {
        /// As a whole.
        whole: Bytes,
        /// Its document, and what follows it.
        parts: Parts,
    },
    /// A message of gRPC.
    Message(Box<ModelInferRequest>),
}

/// A request whose id is known and whose tensors are not read.
pub enum Reading<'a> {
    /// A document, and the tensors behind it.
    Document(Envelope<'a>, Bytes),
    /// One tensor and nothing else.
    Tensor(Bytes),
    /// A message.
    Message(&'a ModelInferRequest),
}

impl Wire {
    /// Begins to read.
    ///
    /// # Errors
    /// What of the document does not fit the protocol.
    pub fn reading(&self) -> Result<Reading<'_>, Refusals> {
        Ok(match self {
            Self::Body { parts, .. } if parts.is_tensor => Reading::Tensor(parts.tensors.clone()),
            Self::Body { parts, .. } => Reading::Document(Envelope::read(&parts.document)?, parts.tensors.clone()),
            Self::Message(message) => Reading::Message(message),
        })
    }

    /// Bytes of all of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Body { whole, .. } => whole.len(),
            Self::Message(message) => message.encoded_len(),
        }
    }

    /// Bytes that are read character by character. Raw tensors are only looked at.
    #[must_use]
    pub const fn text_bytes(&self) -> usize {
        match self {
            Self::Body { parts, .. } => parts.document.len(),
            Self::Message(_) => 0,
        }
    }

    /// What tells this request from another under the same id.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::Body { whole, .. } => Digest::of(whole),
            Self::Message(message) => Digest::of(&message.encode_to_vec()),
        }
    }
}

impl Reading<'_> {
    /// The caller's name for the request.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Document(envelope, _) => envelope.id.as_deref(),
            Self::Tensor(_) => None,
            Self::Message(message) => Some(message.id.as_str()).filter(|id| !id.is_empty()),
        }
    }

    /// The request, held against a signature.
    ///
    /// # Errors
    /// What does not fit.
    pub fn finish(self, signature: &Signature) -> Result<Request, Refusals> {
        // The worker holds it to the rules of its deployment.
        let rules = Rules::SIGNATURE_ONLY;
        match self {
            Self::Document(envelope, tensors) => json::read(envelope, tensors, signature, rules),
            Self::Tensor(tensor) => binary::raw(tensor, signature, rules),
            Self::Message(message) => message::read(message, signature, rules),
        }
    }
}

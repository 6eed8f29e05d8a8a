//! An answer, whichever wire it goes by.

use slipway_proto::{
    inference::ModelInferResponse,
    oip::{MessageError, Tensor, response_tensors},
};

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Name of the model.
    pub model_name: String,
    /// Version that answered.
    pub model_version: String,
    /// The caller's name for the request; may be empty.
    pub id: String,
    /// The outputs, in the order in which they were wanted.
    pub outputs: Vec<Tensor>,
}

impl Response {
    /// The answer in a message.
    ///
    /// # Errors
    /// When its tensors are malformed.
    pub fn of(message: &ModelInferResponse) -> Result<Self, MessageError> {
        Ok(Self {
            model_name: message.model_name.clone(),
            model_version: message.model_version.clone(),
            id: message.id.clone(),
            outputs: response_tensors(message)?,
        })
    }
}

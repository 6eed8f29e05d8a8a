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
    /// Bytes of the outputs that are written as text, which takes time in proportion. `binary` says which are not, by their place.
    #[must_use]
    pub fn bytes_in_text(&self, binary: &[bool]) -> usize {
        let in_text = |place: &usize| !binary.get(*place).copied().unwrap_or(false);
        let outputs = self.outputs.iter().enumerate().filter(|(place, _)| in_text(place));
        outputs.map(|(_, tensor)| tensor.bytes().len()).sum()
    }

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

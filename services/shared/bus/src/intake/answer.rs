//! What the gate answers.

use crate::topology::fact;
use serde::{Deserialize, Serialize};
use slipway_kernel::{FactKey, Refusal, Refusals};

/// The answer to an intake message: the subject written, or a named error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntakeAnswer {
    /// Whether a fact came of it.
    pub accepted: bool,
    /// The subject of that fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The error's name, in kebab case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// One sentence for a person.
    #[serde(default)]
    pub message: String,
    /// Each refused value with what would have been accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
}

impl IntakeAnswer {
    /// A fact came of it.
    pub fn accepted(key: &FactKey, message: impl Into<String>) -> Self {
        Self { accepted: true, subject: Some(fact(key)), error: None, message: message.into(), refusals: Vec::new() }
    }

    /// It is refused.
    pub fn refused(error: &str, message: impl Into<String>) -> Self {
        Self {
            accepted: false,
            subject: None,
            error: Some(error.to_owned()),
            message: message.into(),
            refusals: Vec::new(),
        }
    }

    /// The same, with each refused value.
    #[must_use]
    pub fn with_refusals(mut self, refusals: Refusals) -> Self {
        self.refusals = refusals.0;
        self
    }

    /// Whether the answer is kept under source and id. Whoever has no right to ask must not be able to answer for somebody's id.
    pub(super) fn is_recorded(&self) -> bool {
        !matches!(self.error.as_deref(), Some("unauthenticated" | "permission-denied" | "id-reused"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_small_json_with_what_matters_first() {
        let key: FactKey = "default.digits.1.0.request.0".parse().unwrap();
        let accepted = serde_json::to_string(&IntakeAnswer::accepted(&key, "ok")).unwrap();
        assert_eq!(
            accepted,
            r#"{"accepted":true,"subject":"slipway.lifecycle.default.digits.1.0.request.0","message":"ok"}"#
        );
        let refused = IntakeAnswer::refused("unknown-field", "no");
        let read: IntakeAnswer = serde_json::from_slice(&serde_json::to_vec(&refused).unwrap()).unwrap();
        assert_eq!(read, refused);
        assert!(refused.is_recorded() && !IntakeAnswer::refused("unauthenticated", "").is_recorded());
    }
}

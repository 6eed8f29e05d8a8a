//! A refusal of input: where it stands, what was found there, and what would have been accepted.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One refused value. `path` is dotted (`spec.serving.batching.maxSize`), `value` is what was found, `allowed` is what would do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Dotted path of the refused value.
    pub path: String,
    /// The value as found, shortened to 120 characters.
    pub value: String,
    /// What is allowed there, in words.
    pub allowed: String,
}

impl Refusal {
    /// A refusal; `value` is cut to 120 characters so that an answer cannot be made large by its sender.
    pub fn new(path: impl Into<String>, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        let text = value.to_string();
        let value = match text.char_indices().nth(120) {
            Some((cut, _)) => format!("{}…", &text[..cut]),
            None => text,
        };
        Self { path: path.into(), value, allowed: allowed.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is not accepted; allowed: {}", self.path, self.value, self.allowed)
    }
}

/// All that was refused of one input, never empty when returned as an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals(pub Vec<Refusal>);

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, refusal) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            refusal.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusals {}

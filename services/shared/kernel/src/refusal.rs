//! A refusal of input: where it stands, what was found there, and what would have been accepted.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest path, in characters. Ours are a few dozen; longer ones hold names that the sender made up.
const MAX_PATH: usize = 256;
/// The most that is repeated of a value, in characters.
const MAX_VALUE: usize = 120;
/// The longest word on what is allowed, in characters: a list of some fifty names. A reader's own words may repeat its input.
const MAX_ALLOWED: usize = 1_024;

/// One refused value. `path` is dotted (`spec.serving.batching.maxSize`), `value` is what was found, `allowed` is what would do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Dotted path of the refused value, shortened to 256 characters.
    pub path: String,
    /// The value as found, shortened to 120 characters.
    pub value: String,
    /// What is allowed there, in words, shortened to 1,024 characters.
    pub allowed: String,
}

impl Refusal {
    /// A refusal. Each part is cut, because each may hold what the sender wrote, and an answer must not be made large by it.
    pub fn new(path: impl Into<String>, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self {
            path: cut(path.into(), MAX_PATH),
            value: cut(value.to_string(), MAX_VALUE),
            allowed: cut(allowed.into(), MAX_ALLOWED),
        }
    }
}

fn cut(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_refusal_is_as_long_as_its_sender_likes() {
        let long = "ä".repeat(100_000);
        let refusal = Refusal::new(long.as_str(), &long, long.as_str());
        let lengths = [&refusal.path, &refusal.value, &refusal.allowed].map(|part| part.chars().count());
        assert_eq!(lengths, [257, 121, 1_025]);
        let short = Refusal::new("a.b", 7, "8");
        assert_eq!(short.to_string(), "a.b: 7 is not accepted; allowed: 8");
    }
}

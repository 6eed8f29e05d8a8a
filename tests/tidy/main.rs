//! The rules that matter, as a test. Each rule is a function from the source tree to what breaks it; beside it stands a test that
//! plants a breach and sees it found, because a rule that cannot fail protects nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod code;
mod directions;
mod domain;
mod layout;
mod source;
mod tree;

use tree::Tree;

/// Fails with every breach at once.
fn hold(breaches: &[String]) {
    assert!(breaches.is_empty(), "{} breach(es):\n  {}", breaches.len(), breaches.join("\n  "));
}

/// The tree of this repository.
fn here() -> Tree {
    Tree::read()
}

//! What every refusal keeps to.

use slipway_kernel::{Refusal, Refusals};

/// The longest refusal, in characters: path, value and what is allowed are each cut, and some words stand between them.
const LONGEST: usize = 1_500;
/// The most refusals in one answer.
const MOST: usize = 16;

/// Panics unless a reader may say this: something, by a path, in bounds.
pub(crate) fn check(refusals: &Refusals) {
    let Refusals(refusals) = refusals;
    assert!(!refusals.is_empty(), "refused without a word");
    assert!(refusals.len() <= MOST, "{} refusals", refusals.len());
    refusals.iter().for_each(check_one);
}

/// The same of one.
pub(crate) fn check_one(refusal: &Refusal) {
    assert!(!refusal.path.is_empty(), "no path: {refusal}");
    assert!(!refusal.allowed.is_empty(), "nothing allowed: {refusal}");
    let length = refusal.to_string().chars().count();
    assert!(length <= LONGEST, "a refusal of {length} characters, at {}", refusal.path);
}

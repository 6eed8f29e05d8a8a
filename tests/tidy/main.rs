//! The rules that matter, as a test.

//! The operators on real files.

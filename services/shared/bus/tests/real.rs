//! The bus against a real broker. One binary, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod real {
    mod blobs;
    mod cluster;
    mod intake;
    mod leases;
    mod log;
    mod permissions;
    mod queue;
    mod react;
    mod registries;
    mod support;
    mod topology;
    mod view;
    mod waiting;
}

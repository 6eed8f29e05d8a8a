//! The controller on a real broker: the loop with the other services played by a double, the gate, two replicas, and
//! the local target with real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod gate;
mod local_target;
mod mesh;
mod others;
mod replicas;
mod rollout;
mod the_loop;

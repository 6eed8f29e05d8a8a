//! A load generator that does not flatter the server it measures.
//!
//! - **Open loop**: requests leave at the times the rate prescribes, whether or not earlier ones were answered, and a
//!   latency counts from the time the request *should* have left. A server that stalls is charged for everybody who had to
//!   wait (correction of coordinated omission). **Closed loop**: so many callers, each sending when answered, to find out how
//!   much goes through at most.
//! - **Bounded**: at most so many requests are under way; what could not be sent is counted as shed by the generator, never
//!   silently left out.
//! - **It measures itself**: how late the generator was is part of the result, and a run in which it was too late says that
//!   its figures cannot be trusted.
//! - **It stops at once** when told to, and says what it had under way.
//!
//! It runs on two threads of its own (a clock and a sender), so what is measured does not wait behind the measuring, nor the
//! other way round, even when both live in one process.
//!
//! The validator uses it as a library; `slipway-loadtest` is the same thing for a person.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

pub mod cli;
mod client;
mod drive;
mod error;
mod grpc;
pub mod inference;
mod pool;
mod record;
mod report;
mod run;
mod text;
mod ticks;
mod workload;

pub use client::{Client, Target};
pub use error::LoadError;
pub use grpc::frame as grpc_frame;
pub use report::{Backlog, FailureClass, Report, Second, Summary};
pub use run::{Limits, Shape, Stop, run};
pub use workload::{Judgement, Reply, Request, Same, Workload};

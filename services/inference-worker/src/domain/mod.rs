//! The worker's decisions, pure: no clock, no queue, no engine. Times are numbers that the caller read from its clock.

pub mod abort;
pub mod batching;
pub mod company;
pub mod device_memory;
pub mod lifetime;
pub mod pace;
pub mod useful_batch;

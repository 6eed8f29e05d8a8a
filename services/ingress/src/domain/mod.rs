//! What is decided for a request by its circumstances alone: no clock, no network, no dice of its own. What is due for a
//! deployment is the kernel's [`Step`](slipway_kernel::Step).

pub mod balance;

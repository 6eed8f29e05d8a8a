//! An end without a farewell.

/// The exit code: what shells and container runtimes say of a process that was killed by SIGKILL (128 + 9), so that whoever keeps workers
/// sees what it would see of one.
pub const KILLED: u8 = 137;

/// Ends the process now: no drain, no destructor, nothing that runs at an exit, of which engines bring some that wait for their threads.
///
/// Not by a signal to itself: the first process of a container is deaf to its own SIGKILL.
#[expect(unsafe_code, reason = "no safe crate of ours has this call, which takes a number and does not come back")]
pub fn at_once() -> ! {
    // SAFETY: the process ends; nothing of it is used afterwards.
    unsafe { libc::_exit(i32::from(KILLED)) }
}

//! Killing one worker: surely that one, and nothing that took its number since.

use crate::error::KillError;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use slipway_kernel::Timestamp;
use std::{fs, time::Duration};

/// Clock ticks a second in `/proc`: fixed at 100 in the Linux interface on every architecture we run on.
const TICKS_PER_SECOND: u64 = 100;
/// The start of a process is known to a tick, the start of the machine to a second.
const TOLERANCE: Duration = Duration::from_secs(2);

/// Kills process `pid` with SIGKILL if it began before `since`, when the worker registered under this number. The process is
/// held by a descriptor while it is looked at, so the number cannot change hands in between.
///
/// # Errors
/// Why it was not killed.
pub(crate) fn kill(pid: u32, since: Timestamp) -> Result<(), KillError> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(KillError::Gone { pid })?;
    let system = |error: rustix::io::Errno| match error {
        rustix::io::Errno::SRCH => KillError::Gone { pid },
        other => KillError::System { pid, source: other.into() },
    };
    let held = pidfd_open(raw, PidfdFlags::empty()).map_err(system)?;
    let began = began(pid).map_err(|source| KillError::System { pid, source })?.ok_or(KillError::Gone { pid })?;
    if began > since.after(TOLERANCE) {
        return Err(KillError::AnotherProcess { pid });
    }
    pidfd_send_signal(&held, Signal::KILL).map_err(system)
}

/// When the process began: the start of the machine plus field 22 of its `stat`.
fn began(pid: u32) -> std::io::Result<Option<Timestamp>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let machine = fs::read_to_string("/proc/stat")?;
    Ok(began_of(&stat, &machine))
}

fn began_of(stat: &str, machine: &str) -> Option<Timestamp> {
    let booted: u64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    Some(Timestamp(booted * 1_000 + ticks * 1_000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::unix::process::ExitStatusExt,
        process::Command,
        time::{SystemTime, UNIX_EPOCH},
    };

    fn now() -> Timestamp {
        Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
    }

    #[test]
    fn a_process_that_began_before_the_worker_registered_is_killed() {
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        kill(child.id(), now()).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn a_process_that_took_the_number_later_is_not() {
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        let long_ago = Timestamp(now().0 - 3_600_000);
        assert!(matches!(kill(child.id(), long_ago), Err(KillError::AnotherProcess { .. })));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(kill(child.id(), now()), Err(KillError::Gone { .. })));
    }

    #[test]
    fn the_start_is_read_after_the_name() {
        let stat = "42 (a b) c) S 1 1 1 0 -1 0 1 2 3 4 100 20 0 0 20 0 1 0 250 1 1";
        assert_eq!(began_of(stat, "cpu 1\nbtime 1000\n"), Some(Timestamp(1_002_500)));
    }
}

//! One process as the kernel knows it: found by its number and start time, never by its name. A number alone may belong
//! to somebody else by now.

use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use std::{fs, io};

/// A process that cannot be mistaken for another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its number.
    pub(super) pid: u32,
    /// When it started, in ticks since the machine did.
    pub(super) start_ticks: u64,
    /// Which start of the machine: numbers and ticks begin anew with it.
    pub(super) boot_id: String,
}

/// What the kernel says about a process that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    start_ticks: u64,
}

/// How a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs.
    Running {
        /// Memory it has resident, in bytes.
        resident_bytes: u64,
    },
    /// It ended, or never was, or its number is another's now.
    Gone,
}

/// The id of this start of the machine; empty where the kernel does not say, and then it is the same everywhere.
#[must_use]
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(&text)
}

/// The fields after the name, which stands in parentheses and may hold anything, parentheses too (proc(5)).
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    Some(Stat { state: fields.first()?.chars().next()?, start_ticks: fields.get(19)?.parse().ok()? })
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1_024)
}

impl Identity {
    /// The process with this number, as it is now.
    #[must_use]
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = stat(pid)?;
        Some(Self { pid, start_ticks: stat.start_ticks, boot_id: boot_id() })
    }

    /// How it stands.
    #[must_use]
    pub(super) fn life(&self) -> Life {
        let same = |stat: &Stat| stat.start_ticks == self.start_ticks && !matches!(stat.state, 'Z' | 'X');
        match stat(self.pid).filter(same) {
            // One that ends between the two readings has nothing resident.
            Some(_) if self.boot_id == boot_id() => {
                Life::Running { resident_bytes: resident_bytes(self.pid).unwrap_or_default() }
            }
            _ => Life::Gone,
        }
    }

    /// Whether it runs.
    #[must_use]
    pub(super) fn is_running(&self) -> bool {
        self.life() != Life::Gone
    }

    /// Sends a signal, to this process and to no other. One that is gone is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        // A handle on the process itself: between the check and the signal its number cannot become another's.
        match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            Ok(handle) if self.is_running() => accepted(rustix::process::pidfd_send_signal(handle, signal)),
            Ok(_) => Ok(()),
            // Kernels before 5.3 and sandboxes have no such handles; the check a moment ago must do.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                accepted(rustix::process::kill_process(pid, signal))
            }
            Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Bounds the files it may have open.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn limit_files(&self, most: u64) -> io::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let now = rustix::process::getrlimit(Resource::Nofile);
        // Never above what this process itself may give.
        let most = now.maximum.map_or(most, |ours| ours.min(most));
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::prlimit(pid, Resource::Nofile, limit).map(drop).map_err(io::Error::from)
    }
}

fn accepted(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_confuse() {
        let mut fields = vec!["S"; 1];
        fields.extend(["0"; 18]);
        fields.extend(["777", "0", "42", "0"]);
        let text = format!("12 (a) b (c)) {}", fields.join(" "));
        assert_eq!(parse(&text), Some(Stat { state: 'S', start_ticks: 777 }));
        assert_eq!(parse("12 (x"), None);
    }

    #[test]
    fn this_process_runs_and_one_that_started_at_another_time_does_not() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(matches!(own.life(), Life::Running { resident_bytes } if resident_bytes > 1 << 20));
        let other = Identity { start_ticks: own.start_ticks + 1, ..own.clone() };
        assert_eq!(other.life(), Life::Gone);
        let before = Identity { boot_id: "another".into(), ..own };
        assert_eq!(before.life(), Life::Gone);
    }

    #[test]
    fn a_signal_reaches_the_process_and_none_that_took_its_number() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        let impostor = Identity { start_ticks: identity.start_ticks + 1, ..identity.clone() };
        impostor.signal(Signal::KILL).unwrap();
        assert!(identity.is_running(), "the signal was for another process");
        identity.limit_files(64).unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", identity.pid)).unwrap_or_default();
        assert!(limits.lines().any(|line| line.starts_with("Max open files") && line.contains("64")), "{limits}");
        identity.signal(Signal::TERM).unwrap();
        child.wait().unwrap();
        assert_eq!(identity.life(), Life::Gone);
        identity.signal(Signal::KILL).unwrap();
    }
}

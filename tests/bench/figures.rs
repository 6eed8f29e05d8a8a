//! Samples and what is told of them.

use std::{fs, time::Duration};

/// Durations, sorted.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// The least sample that `percent` of all do not exceed; zero if there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub fn all(&self) -> &[Duration] {
        &self.0
    }
}

/// A duration as it stands in tables.
pub fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}

/// What a process has of the machine's memory now, in MiB; nothing if it is gone.
pub fn resident(pid: u32) -> Option<f64> {
    field(pid, "VmRSS:")
}

/// The most it ever had.
pub fn peak(pid: u32) -> Option<f64> {
    field(pid, "VmHWM:")
}

fn field(pid: u32, name: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib / 1_024.0)
}

//! What this machine has: cores, memory, disk, GPUs; and what could be reached from it.
//!
//! Everything is read anew for each choice: it takes a few milliseconds, and a container's limits change while it runs.

pub mod memory;
pub mod reach;

use slipway_kernel::MachineFacts;
use std::{num::NonZero, path::Path};

/// Looks at the machine. Blocking: reads `/proc`, control groups and the GPU driver.
#[must_use]
pub fn probe(data_dir: &Path) -> MachineFacts {
    let memory = memory::probe(&memory::Roots::default());
    let gpus = slipway_gpu::probe();
    MachineFacts {
        cores: cores(),
        memory_bytes: memory.total_bytes,
        memory_available_bytes: memory.available_bytes,
        disk_available_bytes: disk_available(data_dir).unwrap_or(0),
        gpus: gpus.found,
        gpu_note: gpus.note,
        // The worker knows, and is asked.
        engines: Vec::new(),
        engine_note: String::new(),
        architecture: std::env::consts::ARCH.to_owned(),
        operating_system: std::env::consts::OS.to_owned(),
    }
}

/// What there is to say of the GPUs: what the driver says, and where that shows one, why the worker's engines cannot use it.
#[must_use]
pub fn gpu_note(machine: &MachineFacts, worker: &str) -> String {
    match (machine.gpus.as_slice(), worker) {
        ([], _) | (_, "") => machine.gpu_note.clone(),
        (_, unusable) => format!("{}; {unusable}", machine.gpu_note),
    }
}

/// Cores that this process may use. The standard library counts processor affinity and the quota of the control group
/// (both versions), rounded down to whole cores.
fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

/// Bytes that may still be written below `folder`, or below the nearest folder above it that exists.
///
/// # Errors
/// When the file system cannot be asked.
pub fn disk_available(folder: &Path) -> std::io::Result<u64> {
    let absolute = std::path::absolute(folder)?;
    let existing = absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(existing)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_no_engine_can_use_is_noted_with_the_workers_reason() {
        let mut machine = MachineFacts { gpu_note: "no NVIDIA driver".to_owned(), ..MachineFacts::default() };
        assert_eq!(gpu_note(&machine, "no libcuda.so.1"), "no NVIDIA driver");
        machine.gpus.push(slipway_kernel::GpuFacts::default());
        machine.gpu_note = "NVIDIA driver 580.1".to_owned();
        assert_eq!(gpu_note(&machine, ""), "NVIDIA driver 580.1");
        assert_eq!(gpu_note(&machine, "tract-cuda: no cudart"), "NVIDIA driver 580.1; tract-cuda: no cudart");
    }

    #[test]
    fn the_machine_under_test_has_a_core_memory_and_disk() {
        let folder = tempfile::tempdir().unwrap();
        let machine = probe(&folder.path().join("not/made/yet"));
        assert!(machine.cores >= 1, "{machine:?}");
        assert!(machine.memory_bytes >= machine.memory_available_bytes && machine.memory_available_bytes > 0);
        assert!(machine.disk_available_bytes > 0);
        assert!(!machine.gpus.is_empty() || !machine.gpu_note.is_empty(), "no GPU and no word why");
    }
}

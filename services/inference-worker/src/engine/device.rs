//! The device that a model is to run on: what is wanted, what there is, and why not.
//!
//! Whoever looks for a GPU calls into a driver, and a bad driver may end the process that calls it. So a child of this program looks
//! ([`ask`]), tells what it saw and ends; the worker believes what is told, or takes the end of the child for the answer.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use slipway_kernel::GpuFacts;
use tokio::process::Command;
use tokio::time::timeout;

use crate::domain::device_memory::Room;

#[cfg(feature = "cuda")]
mod ask;

/// The flag that makes a worker look for a GPU, tell and end.
pub const FLAG: &str = "--gpu";

/// A driver that starts the GPUs of a large machine from cold takes seconds for each. What takes longer than a minute is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is quoted of a child's last words.
const QUOTED: usize = 300;

/// Which device is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceWanted {
    /// A GPU where there is one that takes the model, else the CPU.
    #[default]
    Auto,
    /// The CPU; nobody looks for a GPU.
    Cpu,
    /// A GPU or nothing.
    Cuda,
}

/// A GPU that CUDA gives to this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// What it is. The free memory is what was free beside the context that the child had there, as the worker will have one.
    #[serde(flatten)]
    pub facts: GpuFacts,
    /// The driver, in words.
    #[serde(default)]
    pub driver: String,
    /// Why tract cannot use it, if it cannot: its libraries and their headers are needed at run time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tract: Option<String>,
}

impl Device {
    /// Its memory.
    #[must_use]
    pub const fn room(&self) -> Room {
        Room { total: self.facts.memory_bytes, free: self.facts.memory_free_bytes }
    }
}

/// What a child tells: the device, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Told {
    /// There is one.
    Device(Device),
    /// There is none.
    None(String),
}

/// The GPU that CUDA counts first (`CUDA_VISIBLE_DEVICES` says which may be counted), or why there is none. Calls the driver: for a
/// process that may end by it.
#[must_use]
pub fn here() -> Told {
    #[cfg(feature = "cuda")]
    return ask::ask();
    #[cfg(not(feature = "cuda"))]
    Told::None("this program is built without CUDA; build it with the feature `cuda`".to_owned())
}

/// Looks for a GPU, unless the CPU is wanted.
///
/// # Errors
/// Why there is none, in words.
pub async fn find(wanted: DeviceWanted) -> Result<Device, String> {
    find_within(wanted, PATIENCE).await
}

/// The same for who has no async runtime, and waits no longer than that for the driver.
///
/// # Errors
/// As [`find`].
pub fn find_blocking(wanted: DeviceWanted, patience: Duration) -> Result<Device, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("nobody could be started to look for one ({error})"))?;
    runtime.block_on(find_within(wanted, patience))
}

async fn find_within(wanted: DeviceWanted, patience: Duration) -> Result<Device, String> {
    if wanted == DeviceWanted::Cpu {
        return Err("the CPU is configured".to_owned());
    }
    let program = std::env::current_exe().map_err(|error| format!("this program does not find itself ({error})"))?;
    tell(command(&program)?, patience).await
}

/// This program once more, to look for a GPU.
fn command(program: &Path) -> Result<Command, String> {
    let mut command = Command::new(program);
    match program.file_name().and_then(|name| name.to_str()) {
        Some("slipway-inference-worker") => {}
        Some("slipway") => {
            command.arg("inference-worker");
        }
        _ => return Err(format!("{} is no program that looks for one", program.display())),
    }
    command.arg(FLAG);
    Ok(command)
}

async fn tell(mut command: Command, patience: Duration) -> Result<Device, String> {
    let child = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match timeout(patience, child).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("nobody could be started to look for one ({error})")),
        Err(_) => return Err(format!("the driver did not answer within {} s", patience.as_secs())),
    };
    match serde_json::from_slice(&output.stdout) {
        Ok(Told::Device(device)) if output.status.success() => Ok(device),
        Ok(Told::None(reason)) => Err(reason),
        // As when the driver aborts: what it wrote to the standard error is all there is.
        _ => Err(format!("who asked the driver ended with {}{}", output.status, last_words(&output.stderr))),
    }
}

/// The end of what was written, in one line, without what a terminal would obey.
fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(QUOTED)..]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let clean: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    if clean.is_empty() { String::new() } else { format!(": {clean}") }
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;
    use crate::engine::tract::{TractEngine, fixtures as tract};
    use crate::engine::{Engine, LoadOptions, Tolerance, compare, samples};

    /// Whether the machine under test has a driver: what shows how its absence is told does not hold there.
    pub(crate) fn has_driver() -> bool {
        Path::new("/proc/driver/nvidia/version").exists()
    }

    /// Each model of the fixtures, in batches of several sizes, gives what tract gives on the CPU.
    pub(crate) fn agrees_with_the_cpu(engine: &dyn Engine) {
        for proto in [tract::scale(), tract::classifier(), tract::mixing(), tract::fixed(), tract::sequences()] {
            let artifact = tract::bytes(&proto);
            let options = LoadOptions::default();
            let (here, there) =
                (engine.load(&artifact, &options).unwrap(), TractEngine.load(&artifact, &options).unwrap());
            let signature = here.signature();
            for rows in [1, 3, 8, 32] {
                let inputs = samples::inputs(signature, rows, 32, 7).unwrap();
                let (found, expected) = (here.run(&[&inputs]).unwrap(), there.run(&[&inputs]).unwrap());
                for (expected, found) in expected.iter().zip(&found) {
                    compare::tensors(expected, found, Tolerance::GPU).unwrap();
                }
            }
        }
    }

    /// A device that nobody has, with so much free memory.
    pub(crate) fn made_up(free: u64) -> Device {
        let facts = GpuFacts {
            name: "NVIDIA L4".to_owned(),
            memory_bytes: 24 << 30,
            memory_free_bytes: free,
            compute_capability: "8.9".to_owned(),
            ..GpuFacts::default()
        };
        Device { facts, driver: "NVIDIA driver 580.1, CUDA 13.0".to_owned(), tract: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told_by(script: &str) -> Result<Device, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        tell(command, Duration::from_secs(20)).await
    }

    #[tokio::test]
    async fn what_the_child_saw_is_believed() {
        let device = fixtures::made_up(20 << 30);
        let json = serde_json::to_string(&Told::Device(device.clone())).unwrap();
        assert_eq!(told_by(&format!("echo '{json}'")).await, Ok(device.clone()));
        assert_eq!(device.room(), Room { total: 24 << 30, free: 20 << 30 });
        let json = serde_json::to_string(&Told::None("no driver".to_owned())).unwrap();
        assert_eq!(told_by(&format!("echo '{json}'")).await, Err("no driver".to_owned()));
        // Who fell after it spoke may have fallen over the device.
        let json = serde_json::to_string(&Told::Device(device)).unwrap();
        assert!(told_by(&format!("echo '{json}'; kill -ABRT $$")).await.is_err());
    }

    #[tokio::test]
    async fn a_driver_that_ends_its_caller_ends_the_child_only() {
        let error = told_by("echo 'terminate called' >&2; kill -ABRT $$").await.unwrap_err();
        assert!(error.contains("signal: 6") && error.ends_with(": terminate called"), "{error}");
        let error = told_by("exit 0").await.unwrap_err();
        assert!(error.contains("exit status: 0"), "{error}");
    }

    #[tokio::test]
    async fn a_driver_that_hangs_is_waited_for_no_longer_than_that() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec tail -f /dev/null"]);
        let error = tell(command, Duration::from_millis(50)).await.unwrap_err();
        assert!(error.contains("did not answer"), "{error}");
    }

    #[tokio::test]
    async fn nobody_looks_where_the_cpu_is_wanted_and_a_stranger_is_not_started() {
        assert_eq!(find(DeviceWanted::Cpu).await, Err("the CPU is configured".to_owned()));
        // This is the program of a test.
        let error = find(DeviceWanted::Cuda).await.unwrap_err();
        assert!(error.contains("is no program that looks for one"), "{error}");
    }

    #[test]
    fn the_command_line_and_the_worker_are_asked_each_in_its_way() {
        let arguments = |program: &str| {
            let command = command(Path::new(program)).unwrap();
            command.as_std().get_args().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(arguments("/usr/bin/slipway-inference-worker"), ["--gpu"]);
        assert_eq!(arguments("/usr/bin/slipway"), ["inference-worker", "--gpu"]);
    }
}

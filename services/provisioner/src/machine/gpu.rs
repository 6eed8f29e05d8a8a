//! GPUs, through NVIDIA's management library where there is one.
//!
//! The library is opened at run time; a machine without a driver is the common case and no error. Foreign code is called
//! here, so a panic of its wrapper is caught and said.

use nvml_wrapper::{Nvml, cuda_driver_version_major, cuda_driver_version_minor, error::NvmlError};
use slipway_kernel::GpuFacts;
use std::panic::catch_unwind;

/// GPUs of one machine are not more than this; a driver that says so is not believed.
const MOST: u32 = 64;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpus {
    /// The GPUs that answered.
    pub found: Vec<GpuFacts>,
    /// Driver and CUDA version, or why there is none.
    pub note: String,
}

/// Looks. Blocking: loads the driver's library.
#[must_use]
pub fn probe() -> Gpus {
    let outcome = catch_unwind(|| Nvml::init().and_then(|nvml| look(&nvml)));
    match outcome {
        Ok(Ok(gpus)) => gpus,
        Ok(Err(error)) => Gpus { found: Vec::new(), note: note(&error) },
        Err(_) => Gpus {
            found: Vec::new(),
            note: "NVIDIA's management library failed while it was asked; GPUs are not used".to_owned(),
        },
    }
}

fn look(nvml: &Nvml) -> Result<Gpus, NvmlError> {
    let driver = nvml.sys_driver_version()?;
    let cuda = nvml.sys_cuda_driver_version().map_or_else(
        |error| format!("no CUDA driver ({error})"),
        |version| format!("CUDA {}.{}", cuda_driver_version_major(version), cuda_driver_version_minor(version)),
    );
    let mut gpus = Gpus { found: Vec::new(), note: format!("NVIDIA driver {driver}, {cuda}") };
    let count = nvml.device_count()?;
    if count == 0 {
        gpus.note.push_str(", no device");
    }
    for index in 0..count.min(MOST) {
        match describe(nvml, index) {
            Ok(gpu) => gpus.found.push(gpu),
            // A device that does not answer is of no use, and no reason not to use the others.
            Err(error) => gpus.note.push_str(&format!(", device {index}: {error}")),
        }
    }
    Ok(gpus)
}

fn describe(nvml: &Nvml, index: u32) -> Result<GpuFacts, NvmlError> {
    let device = nvml.device_by_index(index)?;
    let capability =
        device.cuda_compute_capability().map_or_else(|_| String::new(), |c| format!("{}.{}", c.major, c.minor));
    Ok(GpuFacts { name: device.name()?, memory_bytes: device.memory_info()?.total, compute_capability: capability })
}

/// Why there are no GPUs, in the words of a person who wonders about it.
fn note(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            "no NVIDIA driver: its library libnvidia-ml.so.1 is not installed".to_owned()
        }
        NvmlError::DriverNotLoaded => "the NVIDIA driver is installed and not loaded".to_owned(),
        NvmlError::NoPermission => "the NVIDIA driver may not be asked by this user".to_owned(),
        other => format!("the NVIDIA driver does not answer: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_says_so_and_does_not_fail() {
        let gpus = probe();
        assert!(!gpus.note.is_empty());
        assert!(!gpus.found.is_empty() || gpus.note.contains("NVIDIA"), "{}", gpus.note);
    }

    #[test]
    fn the_reason_is_in_plain_words() {
        assert_eq!(
            note(&NvmlError::LibraryNotFound),
            "no NVIDIA driver: its library libnvidia-ml.so.1 is not installed"
        );
        assert!(note(&NvmlError::GpuLost).starts_with("the NVIDIA driver does not answer"));
    }
}

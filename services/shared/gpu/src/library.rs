//! NVIDIA's library itself.

use std::ffi::OsStr;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor};
use slipway_kernel::GpuFacts;

use crate::{Management, guarded};

/// The library, open.
#[derive(Debug)]
pub struct Library(Nvml);

/// Opens the driver's library. Blocking.
///
/// # Errors
/// Why there is none, in the words of a person who wonders about it.
pub fn open() -> Result<Library, String> {
    guarded(|| Nvml::init().map(Library).map_err(|error| note(&error)))
}

impl Library {
    /// Opens a library of another name.
    ///
    /// # Errors
    /// As [`open`].
    pub fn at(path: &OsStr) -> Result<Self, String> {
        guarded(|| Nvml::builder().lib_path(path).init().map(Self).map_err(|error| note(&error)))
    }
}

impl Management for Library {
    fn driver(&self) -> Result<String, String> {
        let driver = self.0.sys_driver_version().map_err(|error| note(&error))?;
        let cuda = self.0.sys_cuda_driver_version().map_or_else(
            |error| format!("no CUDA driver ({error})"),
            |version| format!("CUDA {}.{}", cuda_driver_version_major(version), cuda_driver_version_minor(version)),
        );
        Ok(format!("NVIDIA driver {driver}, {cuda}"))
    }

    fn count(&self) -> Result<u32, String> {
        self.0.device_count().map_err(|error| note(&error))
    }

    fn device(&self, index: u32) -> Result<GpuFacts, String> {
        guarded(|| {
            self.0.device_by_index(index).and_then(|device| describe(&device)).map_err(|error| error.to_string())
        })
    }

    fn device_of(&self, uuid: &str) -> Result<GpuFacts, String> {
        guarded(|| self.0.device_by_uuid(uuid).and_then(|device| describe(&device)).map_err(|error| error.to_string()))
    }
}

fn describe(device: &Device<'_>) -> Result<GpuFacts, NvmlError> {
    let memory = device.memory_info()?;
    let capability =
        device.cuda_compute_capability().map_or_else(|_| String::new(), |c| format!("{}.{}", c.major, c.minor));
    Ok(GpuFacts {
        name: device.name()?,
        uuid: device.uuid().unwrap_or_default(),
        memory_bytes: memory.total,
        memory_free_bytes: memory.free,
        compute_capability: capability,
        mig: partitioned(device),
    })
}

/// `NVML_DEVICE_MIG_ENABLE`.
const CUT: u32 = 1;

/// Whether it is a part of a GPU, or one that is cut into parts. Devices that cannot be cut do not know the question.
fn partitioned(device: &Device<'_>) -> bool {
    device.mig_is_mig_device_handle().unwrap_or(false) || device.mig_mode().is_ok_and(|mode| mode.current == CUT)
}

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
    fn the_reason_is_in_plain_words() {
        assert_eq!(
            note(&NvmlError::LibraryNotFound),
            "no NVIDIA driver: its library libnvidia-ml.so.1 is not installed"
        );
        assert!(note(&NvmlError::GpuLost).starts_with("the NVIDIA driver does not answer"));
    }

    #[test]
    fn a_library_that_is_none_or_another_is_an_error_and_no_end_of_the_process() {
        let gone = Library::at(OsStr::new("/nowhere/libnvidia-ml.so.1")).unwrap_err();
        assert!(gone.contains("is not installed"), "{gone}");
        // The C library loads, and knows nothing of GPUs.
        assert!(Library::at(OsStr::new("libc.so.6")).is_err());
    }
}

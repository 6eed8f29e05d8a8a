//! GPUs, as NVIDIA's management library (NVML) tells them: what they are called, how much memory they have and how much of it is free.
//!
//! The library is opened at run time; a machine without a driver is the common case and no error. Foreign code is called here, so a
//! panic of its wrapper is caught and said.
//!
//! It never computes on a GPU, and never decides which one is used. What is done with what the library says is behind
//! [`Management`], so that it is tested against devices that nobody has.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod library;

use std::panic::{AssertUnwindSafe, catch_unwind};

use slipway_kernel::GpuFacts;

pub use library::{Library, open};

/// GPUs of one machine are not more than this; a driver that says so is not believed.
const MOST: u32 = 64;

/// What can be asked about the GPUs of a machine. The errors are words for people.
pub trait Management {
    /// Version of the driver and of CUDA, in words.
    ///
    /// # Errors
    /// When the driver does not say.
    fn driver(&self) -> Result<String, String>;

    /// How many GPUs there are.
    ///
    /// # Errors
    /// When the driver does not say.
    fn count(&self) -> Result<u32, String>;

    /// The GPU of this index, counted from 0 in the order of the bus. That is not the order in which CUDA counts.
    ///
    /// # Errors
    /// When it does not answer.
    fn device(&self, index: u32) -> Result<GpuFacts, String>;

    /// The GPU, or the part of one, that has this identity (`GPU-…`, `MIG-…`).
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    fn device_of(&self, uuid: &str) -> Result<GpuFacts, String>;
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpus {
    /// The GPUs that answered.
    pub found: Vec<GpuFacts>,
    /// Driver and CUDA version, or why there is none.
    pub note: String,
}

/// Looks at this machine. Blocking: loads the driver's library.
#[must_use]
pub fn probe() -> Gpus {
    match open() {
        Ok(library) => look(&library),
        Err(note) => Gpus { found: Vec::new(), note },
    }
}

/// What the management tells.
#[must_use]
pub fn look(management: &dyn Management) -> Gpus {
    guarded(|| {
        let mut gpus = Gpus { found: Vec::new(), note: management.driver()? };
        let count = management.count()?;
        if count == 0 {
            gpus.note.push_str(", no device");
        }
        for index in 0..count.min(MOST) {
            match management.device(index) {
                Ok(gpu) => gpus.found.push(gpu),
                // A device that does not answer is of no use, and no reason not to use the others.
                Err(error) => gpus.note.push_str(&format!(", device {index}: {error}")),
            }
        }
        Ok(gpus)
    })
    .unwrap_or_else(|note| Gpus { found: Vec::new(), note })
}

/// Calls foreign code; its panic is an error.
fn guarded<T>(ask: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // Unwind safety: nothing of what the code left half-done is looked at afterwards.
    catch_unwind(AssertUnwindSafe(ask))
        .unwrap_or_else(|_| Err("NVIDIA's management library failed while it was asked; GPUs are not used".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Devices that nobody has.
    struct MadeUp(Vec<Result<GpuFacts, String>>);

    impl Management for MadeUp {
        fn driver(&self) -> Result<String, String> {
            Ok("NVIDIA driver 580.1, CUDA 13.0".to_owned())
        }
        fn count(&self) -> Result<u32, String> {
            Ok(u32::try_from(self.0.len()).unwrap())
        }
        fn device(&self, index: u32) -> Result<GpuFacts, String> {
            self.0[index as usize].clone()
        }
        fn device_of(&self, _uuid: &str) -> Result<GpuFacts, String> {
            panic!("the wrapper failed")
        }
    }

    fn gpu(name: &str) -> GpuFacts {
        GpuFacts { name: name.to_owned(), memory_bytes: 24 << 30, ..GpuFacts::default() }
    }

    #[test]
    fn a_device_that_does_not_answer_is_noted_and_the_others_are_found() {
        let gpus = look(&MadeUp(vec![Ok(gpu("L4")), Err("fallen off the bus".to_owned()), Ok(gpu("A10"))]));
        let names: Vec<&str> = gpus.found.iter().map(|gpu| gpu.name.as_str()).collect();
        assert_eq!(names, ["L4", "A10"]);
        assert_eq!(gpus.note, "NVIDIA driver 580.1, CUDA 13.0, device 1: fallen off the bus");
        assert_eq!(look(&MadeUp(Vec::new())).note, "NVIDIA driver 580.1, CUDA 13.0, no device");
    }

    #[test]
    fn no_more_devices_are_believed_than_a_machine_can_have() {
        let gpus = look(&MadeUp(vec![Ok(gpu("H100")); 100]));
        assert_eq!(gpus.found.len(), MOST as usize);
    }

    #[test]
    fn a_panic_of_the_foreign_code_is_words() {
        let error = guarded(|| MadeUp(Vec::new()).device_of("GPU-1")).unwrap_err();
        assert!(error.contains("failed while it was asked"), "{error}");
    }

    #[test]
    fn a_machine_without_a_driver_says_so_and_does_not_fail() {
        let gpus = probe();
        assert!(!gpus.note.is_empty());
        assert!(!gpus.found.is_empty() || gpus.note.contains("NVIDIA"), "{}", gpus.note);
    }
}

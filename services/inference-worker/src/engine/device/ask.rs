//! Asking the driver. Every call may panic (cudarc does, where a library or a symbol is missing) or end the process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cudarc::driver::{CudaContext, DriverError};
use slipway_gpu::Management;
use slipway_kernel::GpuFacts;
use tract_cuda::utils::ensure_cuda_runtime_dependencies;

use super::{Device, Told};
use crate::engine::panic_text;

pub(super) fn ask() -> Told {
    // tract asks without a panic, in good words, and asks for more than the driver: where it is content, all is there.
    let tract =
        guarded(|| ensure_cuda_runtime_dependencies("tract").map_err(|error| words(&error.root_cause().to_string())));
    match guarded(|| facts().map_err(|error| format!("the driver fails: {error}"))) {
        Ok(facts) => {
            let management = slipway_gpu::open();
            let (named, driver) = match &management {
                Ok(library) => (named(library, &facts.uuid), library.driver().unwrap_or_else(|error| error)),
                Err(note) => (None, note.clone()),
            };
            let facts = match named {
                Some(named) => GpuFacts { uuid: named.uuid, mig: named.mig, ..facts },
                None => GpuFacts { uuid: format!("GPU-{}", facts.uuid), ..facts },
            };
            Told::Device(Device { facts, driver, tract: tract.err() })
        }
        Err(error) => Told::None(tract.err().unwrap_or(error)),
    }
}

/// What CUDA says of its first device. NVML counts devices in another order and does not heed `CUDA_VISIBLE_DEVICES`.
fn facts() -> Result<GpuFacts, DriverError> {
    let context = CudaContext::new(0)?;
    let (free, total) = context.mem_get_info()?;
    let (major, minor) = context.compute_capability()?;
    Ok(GpuFacts {
        name: context.name()?,
        memory_bytes: total as u64,
        memory_free_bytes: free as u64,
        compute_capability: format!("{major}.{minor}"),
        uuid: identity(context.uuid()?.bytes.map(|byte| byte.to_ne_bytes()[0])),
        mig: false,
    })
}

/// What NVML says of the same device: CUDA does not tell a part of a GPU from a whole one.
fn named(library: &impl Management, uuid: &str) -> Option<GpuFacts> {
    ["GPU", "MIG"].into_iter().find_map(|kind| library.device_of(&format!("{kind}-{uuid}")).ok())
}

/// As NVML writes it behind the kind.
fn identity(bytes: [u8; 16]) -> String {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| text.get(part).unwrap_or_default());
    format!("{a}-{b}-{c}-{d}-{e}")
}

fn guarded<T>(ask: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // Unwind safety: nothing of what the driver left half-done is used afterwards.
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|payload| Err(words(&panic_text(payload.as_ref()))))
}

/// In one line.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_written_as_the_management_library_writes_it() {
        let bytes = std::array::from_fn(|index| u8::try_from(index * 17).unwrap());
        assert_eq!(identity(bytes), "00112233-4455-6677-8899-aabbccddeeff");
    }
}

//! ONNX Runtime on a GPU, where its library was built for that.
//!
//! The library of `make tools` was not: that of the package `onnxruntime-gpu` is, and wants CUDA and cuDNN beside it.

use ort::environment::Environment;
use ort::ep::{CUDA, ExecutionProvider as _};

use super::model::{OnnxRuntimeModel, Processor};
use super::{OnnxRuntime, outline};
use crate::engine::{Engine, EngineError, LoadOptions, Model, guarded};

/// ONNX models on ONNX Runtime, on a GPU.
#[derive(Debug, Clone)]
pub struct OnnxRuntimeCuda {
    environment: Environment,
}

impl OnnxRuntimeCuda {
    /// Its name, in metrics and `explain`.
    pub const NAME: &str = "onnxruntime-cuda";

    /// The engine for the GPU that CUDA counts first.
    ///
    /// # Errors
    /// [`EngineError::NoGpu`] when the library was built without CUDA.
    pub fn open(engine: &OnnxRuntime) -> Result<Self, EngineError> {
        guarded("looking for a provider", || match CUDA::is_available() {
            Ok(true) => Ok(Self { environment: engine.environment.clone() }),
            Ok(false) => Err(EngineError::NoGpu(
                "this library of ONNX Runtime was built without CUDA; that of the package onnxruntime-gpu has it \
                 (worker.onnxruntime_library)"
                    .to_owned(),
            )),
            Err(error) => Err(EngineError::NoGpu(error.to_string())),
        })
    }
}

impl Engine for OnnxRuntimeCuda {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn load(&self, artifact: &[u8], options: &LoadOptions) -> Result<Box<dyn Model>, EngineError> {
        guarded("loading the model on the GPU", || {
            outline::check(artifact)?;
            // Each session has an arena of its own.
            let arena = options.device_bytes.map(|bytes| bytes / options.threads.pool.max(1) as u64);
            let processor = Processor::Gpu { arena: arena.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)) };
            let model = OnnxRuntimeModel::build(&self.environment, artifact, options, processor)?;
            Ok(Box::new(model) as Box<dyn Model>)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::fixtures::{agrees_with_the_cpu, has_driver};
    use crate::engine::tract::fixtures;

    #[test]
    fn a_library_without_cuda_says_which_one_has_it() {
        let library = OnnxRuntime::open(None).unwrap();
        // That of `make tools` has none; one that the environment names may.
        if CUDA::is_available().unwrap() {
            return;
        }
        let error = OnnxRuntimeCuda::open(&library).unwrap_err();
        assert!(error.to_string().contains("onnxruntime-gpu"), "{error}");
    }

    /// What the library says when it is asked all the same; a session on the CPU would be the silent fallback.
    #[test]
    fn a_session_that_cannot_be_on_the_gpu_is_an_error() {
        if has_driver() {
            return;
        }
        let engine = OnnxRuntimeCuda { environment: OnnxRuntime::open(None).unwrap().environment };
        let error = engine.load(&fixtures::bytes(&fixtures::scale()), &LoadOptions::default()).unwrap_err();
        assert!(matches!(error, EngineError::NoGpu(_)), "{error}");
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn the_gpu_gives_the_answers_of_the_cpu() {
        agrees_with_the_cpu(&OnnxRuntimeCuda::open(&OnnxRuntime::open(None).unwrap()).unwrap());
    }
}

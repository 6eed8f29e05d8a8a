//! ONNX Runtime, where its library is: faster than tract, and it knows every operator.
//!
//! The library is loaded at run time, so that the worker is built, shipped and started without it. A library that is missing,
//! broken or too old is an error with words, found before the first call into it.
//!
//! Load reads the outline of the file (no data), refuses what is kept in other files, makes a session and tries it out on
//! made-up rows; then it makes an instance for every thread of the pool.

mod cuda;
mod declared;
mod library;
mod model;
mod outline;
mod placement;
mod tensors;
#[cfg(test)]
mod tests;

use std::path::Path;

use ort::environment::Environment;

use self::model::{OnnxRuntimeModel, Processor};
use super::{Engine, EngineError, LoadOptions, Model, guarded};

pub use cuda::OnnxRuntimeCuda;
pub use library::LIBRARY;

/// Its name, in configuration, metrics and `explain`.
pub const NAME: &str = "onnxruntime";

/// ONNX models on ONNX Runtime.
#[derive(Debug, Clone)]
pub struct OnnxRuntime {
    environment: Environment,
}

impl OnnxRuntime {
    /// Finds and loads the library: the configured one, else that of `ORT_DYLIB_PATH`, else one beside the program, else the
    /// one that `make tools` puts into `.tools/onnxruntime`. Blocking.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`], with what was tried and how to get the library.
    pub fn open(configured: Option<&Path>) -> Result<Self, EngineError> {
        guarded("loading ONNX Runtime", || library::open(configured)).map(|environment| Self { environment }).map_err(
            |error| match error {
                EngineError::Panicked { message, .. } => EngineError::Unavailable(message),
                other => other,
            },
        )
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, artifact: &[u8], options: &LoadOptions) -> Result<Box<dyn Model>, EngineError> {
        guarded("loading the model", || {
            outline::check(artifact)?;
            let model = OnnxRuntimeModel::build(&self.environment, artifact, options, Processor::Cpu)?;
            Ok(Box::new(model) as Box<dyn Model>)
        })
    }
}

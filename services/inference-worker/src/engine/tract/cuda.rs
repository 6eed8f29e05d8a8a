//! tract on a GPU: the same reading, census and planning, and a plan whose operators are CUDA kernels.
//!
//! What tract-cuda does and does not: it uses the device that CUDA counts first and no other, so a process has one GPU, and
//! `CUDA_VISIBLE_DEVICES` says which. It keeps a stream, a cuBLAS and a cuDNN handle for each OS thread, so runs belong on the fixed
//! threads of the pool. Its kernels are compiled at the first load and kept below `XDG_CACHE_HOME`; that takes a minute, and readiness
//! waits for it. An operator that it lacks stays on the CPU, with copies around it. A panic is an error of the load or the run, as
//! everywhere; what ends the process was tried out in a child ([`crate::engine::device`]).

use std::fmt;
use std::sync::Arc;

use tract_onnx::prelude::{InferenceModel, InferenceModelExt as _, TractResult, TypedModel, TypedRunnableModel};
use tract_onnx::tract_hir::internal::{format_err, runtime_for_name};

use super::{admit, model, plan, read};
use crate::engine::device::Device;
use crate::engine::{Engine, EngineError, LoadOptions, Model, guarded};

/// ONNX models on tract, on a GPU.
#[derive(Debug, Clone, Copy)]
pub(super) struct TractCuda;

impl TractCuda {
    /// The engine for this device.
    ///
    /// # Errors
    /// [`EngineError::NoGpu`] when the libraries that tract needs beside the driver are not there.
    pub(super) fn open(device: &Device) -> Result<Self, EngineError> {
        match &device.tract {
            None => Ok(Self),
            Some(missing) => Err(EngineError::NoGpu(missing.clone())),
        }
    }
}

impl Engine for TractCuda {
    fn name(&self) -> &'static str {
        super::CUDA
    }

    fn load(&self, artifact: &[u8], options: &LoadOptions) -> Result<Box<dyn Model>, EngineError> {
        guarded("loading the model on the GPU", || {
            let proto = read(artifact)?;
            let signature = admit(&proto)?;
            let model = model::TractModel::build(&proto, &signature, options, plan::Processor::Gpu)?;
            Ok(Box::new(model) as Box<dyn Model>)
        })
    }
}

/// Puts a graph on the GPU.
pub(super) fn runnable(model: InferenceModel) -> TractResult<Arc<TypedRunnableModel>> {
    let model = model.into_typed()?.into_decluttered()?;
    let runtime = runtime_for_name("cuda")?.ok_or_else(|| format_err!("tract was built without CUDA"))?;
    let runnable = runtime.prepare(model)?;
    let plan = runnable.typed_plan().ok_or_else(|| format_err!("tract gives no plan for the GPU"))?;
    let placement = Placement::of(plan.model());
    if placement.on_gpu == 0 {
        return Err(format_err!("none of its {} operators is computed there", placement.all));
    }
    Ok(Arc::clone(plan))
}

/// Where the operators of a plan are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Placement {
    /// On the GPU.
    on_gpu: usize,
    /// Wherever.
    all: usize,
}

impl Placement {
    pub(super) fn of(model: &TypedModel) -> Self {
        Self::of_names(model.nodes.iter().map(|node| node.op().name()))
    }

    /// tract names what it puts on a device after that.
    fn of_names(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let begins = |name: &str, beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
        names.into_iter().fold(Self::default(), |placement, name| match name.as_ref() {
            // Nothing is computed by inputs, weights and copies.
            name if begins(name, &["Source", "Const", "DeviceSync"]) => placement,
            name => {
                Self { on_gpu: placement.on_gpu + usize::from(begins(name, &["Cuda", "Gpu"])), all: placement.all + 1 }
            }
        })
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} operators on the GPU", self.on_gpu, self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::fixtures::{agrees_with_the_cpu, has_driver, made_up};
    use crate::engine::tract::fixtures;

    #[test]
    fn operators_are_counted_where_they_are_computed() {
        let names = ["Source", "DeviceSyncToDevice", "CudaGgmlGemm", "GpuSlice", "Const", "TopK", "DeviceSyncToHost"];
        let placement = Placement::of_names(names);
        assert_eq!(placement, Placement { on_gpu: 2, all: 3 });
        assert_eq!(placement.to_string(), "2 of 3 operators on the GPU");
    }

    #[test]
    fn an_engine_without_its_libraries_says_which() {
        let device = Device { tract: Some("cudnn could not be opened".to_owned()), ..made_up(1 << 30) };
        let error = TractCuda::open(&device).unwrap_err();
        assert_eq!(error, EngineError::NoGpu("cudnn could not be opened".to_owned()));
        assert_eq!(TractCuda::open(&made_up(1 << 30)).unwrap().name(), crate::engine::tract::CUDA);
    }

    #[test]
    fn without_a_driver_a_load_is_an_error_with_the_reason() {
        if has_driver() {
            return;
        }
        let error = TractCuda.load(&fixtures::bytes(&fixtures::scale()), &LoadOptions::default()).unwrap_err();
        assert!(error.to_string().contains("CUDA driver"), "{error}");
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn the_gpu_gives_the_answers_of_the_cpu() {
        agrees_with_the_cpu(&TractCuda);
    }
}

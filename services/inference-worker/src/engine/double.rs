//! Engines and models that do as a test says.

use std::fmt;

use slipway_proto::oip::{DataType, Tensor};

use super::{Batching, Engine, EngineError, LoadOptions, Model, stack_rows};
use crate::signature::{Signature, TensorSpec};

type Run = Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>, EngineError> + Send + Sync>;
type Load = Box<dyn Fn() -> Result<Double, EngineError> + Send + Sync>;

/// One FP32 input `x`, one FP32 output `y`.
pub(crate) struct Double {
    signature: Signature,
    run: Run,
    waits: bool,
}

impl Double {
    pub(crate) fn of(
        shape: &[i64],
        run: impl Fn(&[Tensor]) -> Result<Vec<Tensor>, EngineError> + Send + Sync + 'static,
    ) -> Self {
        let spec = |name: &str| TensorSpec { name: name.into(), data_type: DataType::Fp32, shape: shape.to_vec() };
        Self { signature: Signature::new(vec![spec("x")], vec![spec("y")]), run: Box::new(run), waits: false }
    }

    /// The same as if another process computed it.
    pub(crate) fn that_waits(self) -> Self {
        Self { waits: true, ..self }
    }
}

impl fmt::Debug for Double {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Double").finish_non_exhaustive()
    }
}

impl Model for Double {
    fn platform(&self) -> &'static str {
        "double"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn batching(&self) -> &Batching {
        &Batching::Rows
    }
    fn plan(&self) -> String {
        String::new()
    }
    fn waits(&self) -> bool {
        self.waits
    }
    fn run(&self, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, EngineError> {
        let parts: Vec<&Tensor> = requests.iter().map(|inputs| &inputs[0]).collect();
        (self.run)(&[stack_rows(&parts)?])
    }
}

pub(crate) struct DoubleEngine {
    name: &'static str,
    load: Load,
}

impl DoubleEngine {
    pub(crate) fn new(
        name: &'static str,
        load: impl Fn() -> Result<Double, EngineError> + Send + Sync + 'static,
    ) -> Self {
        Self { name, load: Box::new(load) }
    }
}

impl Engine for DoubleEngine {
    fn name(&self) -> &'static str {
        self.name
    }
    fn load(&self, _artifact: &[u8], _options: &LoadOptions) -> Result<Box<dyn Model>, EngineError> {
        (self.load)().map(|model| Box::new(model) as Box<dyn Model>)
    }
}

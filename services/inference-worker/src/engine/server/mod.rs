//! A model server beside the worker that computes in the place of its own engines: Triton, which is given the model, or any other that has
//! it already. It is asked over the Open Inference Protocol.
//!
//! What a deployment promises (batches, deadlines, the queue, results kept once, figures, identity) is the worker's, whatever computes: so
//! the mesh knows one kind of worker.

mod line;
mod settings;
#[cfg(test)]
mod tests;
mod triton;

pub use settings::{ServerConfig, ServerKind};

use slipway_kernel::ModelFormat;
use slipway_proto::inference::model_metadata_response::TensorMetadata;
use slipway_proto::oip::{Tensor, raw_request, response_tensors};

use self::line::Line;
use super::device::DeviceWanted;
use super::{Batching, Engine, EngineError, LoadOptions, Marks, Model, copies, probe, stack_rows};
use crate::signature::{Signature, TensorSpec};

/// The server that is configured, as an engine.
#[derive(Debug, Clone)]
pub struct ServerEngine {
    config: ServerConfig,
    format: ModelFormat,
    device: DeviceWanted,
}

impl ServerEngine {
    /// The server that is configured; `None` where the worker computes itself.
    #[must_use]
    pub fn of(config: &ServerConfig, format: ModelFormat, device: DeviceWanted) -> Option<Self> {
        (config.kind != ServerKind::None).then(|| Self { config: config.clone(), format, device })
    }
}

impl Engine for ServerEngine {
    fn name(&self) -> &'static str {
        self.config.kind.name()
    }

    fn load(&self, artifact: &[u8], options: &LoadOptions) -> Result<Box<dyn Model>, EngineError> {
        let line = Line::open(&self.config)?;
        line.wait_until_it_lives()?;
        if self.config.kind == ServerKind::Triton {
            let layout = triton::Layout { name: &self.config.model, format: self.format, device: self.device, options };
            layout.write(&self.config.repository, artifact)?;
            line.have_it_loaded()?;
        }
        line.wait_until_it_has_the_model()?;
        line.check_batch(options.max_batch)?;
        let told = line.metadata()?;
        let signature = Signature::new(specs(told.inputs)?, specs(told.outputs)?);
        let name = self.name();
        let mut model = ServerModel { name, by: told.platform, line, signature, batching: Batching::Rows };
        model.batching = probe::at_likely_sizes(&model)?;
        Ok(Box::new(model))
    }
}

fn specs(told: Vec<TensorMetadata>) -> Result<Vec<TensorSpec>, EngineError> {
    told.into_iter().map(spec).collect()
}

fn spec(told: TensorMetadata) -> Result<TensorSpec, EngineError> {
    let data_type = told.datatype.parse().map_err(|_| EngineError::UnsupportedType {
        tensor: told.name.clone(),
        reason: format!("the model server calls it `{}`", told.datatype),
    })?;
    Ok(TensorSpec { name: told.name, data_type, shape: told.shape })
}

/// A model that the server has.
#[derive(Debug)]
struct ServerModel {
    name: &'static str,
    /// What the server computes it with, in its own words.
    by: String,
    line: Line,
    signature: Signature,
    batching: Batching,
}

impl ServerModel {
    /// One input of all requests as one tensor. That of a single request is sent as it came.
    fn joined(&self, requests: &[&[Tensor]], input: usize) -> Result<Tensor, EngineError> {
        let missing = || EngineError::Run(format!("`{}` is missing from a request", self.signature.inputs[input].name));
        let parts: Vec<&Tensor> =
            requests.iter().map(|inputs| inputs.get(input).ok_or_else(missing)).collect::<Result<_, _>>()?;
        match parts.as_slice() {
            [alone] => Ok(Tensor::clone(alone)),
            several => {
                let joined = stack_rows(several)?;
                copies::into_engine(joined.bytes().len());
                Ok(joined)
            }
        }
    }

    /// The outputs in the order of the signature.
    fn in_order(&self, mut found: Vec<Tensor>) -> Result<Vec<Tensor>, EngineError> {
        let output = |spec: &TensorSpec| {
            let place = found.iter().position(|tensor| tensor.name() == spec.name);
            let tensor = place.map(|place| found.swap_remove(place));
            let tensor = tensor.ok_or_else(|| EngineError::Output(format!("`{}` is missing", spec.name)))?;
            if tensor.data_type() != spec.data_type {
                let (found, declared) = (tensor.data_type(), spec.data_type);
                return Err(EngineError::Output(format!("`{}` is {found} where {declared} is declared", spec.name)));
            }
            Ok(tensor)
        };
        self.signature.outputs.iter().map(output).collect()
    }
}

impl Model for ServerModel {
    fn platform(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn batching(&self) -> &Batching {
        &self.batching
    }

    fn plan(&self) -> String {
        let by = if self.by.is_empty() { "something that it does not name" } else { &self.by };
        format!("computed by {by} in the model server at {}", self.line.address())
    }

    fn waits(&self) -> bool {
        true
    }

    fn run(&self, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, EngineError> {
        self.run_marked(requests, &mut Marks::default())
    }

    fn run_marked(&self, requests: &[&[Tensor]], marks: &mut Marks) -> Result<Vec<Tensor>, EngineError> {
        let inputs = (0..self.signature.inputs.len()).map(|input| self.joined(requests, input));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        marks.filled();
        let answer = self.line.infer(raw_request(self.line.model(), "", inputs))?;
        marks.computed();
        self.in_order(response_tensors(&answer).map_err(|error| EngineError::Output(error.to_string()))?)
    }
}

//! A model server beside the worker that computes in the place of its own engines: Triton, or any other that has the model or is given its
//! file. It is asked over the Open Inference Protocol.
//!
//! What a deployment promises (batches, deadlines, the queue, results kept once, figures, identity) is the worker's, whatever computes: so
//! the mesh knows one kind of worker.

mod line;
mod open_inference;
mod protocol;
mod settings;
mod tensorflow;
#[cfg(test)]
mod tests;
mod triton;

pub use settings::{ServerConfig, ServerKind};

use std::path::Path;
use std::{fs, io};

use slipway_kernel::{ModelFormat, bundle};
use slipway_proto::oip::Tensor;

use self::line::Line;
use self::open_inference::OpenInference;
use self::protocol::Protocol;
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
        let protocol = self.config.kind.protocol();
        // Before it is asked anything: it may not answer until it has the file.
        match (self.config.kind, &self.config.file) {
            (ServerKind::OpenInference, Some(file)) => hand_over(artifact, file)?,
            (ServerKind::TensorflowServing, _) => {
                tensorflow::lay(&self.config.repository, &self.config.model, artifact)?;
            }
            _ => {}
        }
        line.wait(|| protocol.lives(&line))?;
        if self.config.kind == ServerKind::Triton {
            let layout = triton::Layout {
                name: &self.config.model,
                format: self.format,
                device: self.device,
                options,
                inputs: &self.config.inputs,
                outputs: &self.config.outputs,
            };
            layout.write(&self.config.repository, artifact)?;
            OpenInference::have_it_loaded(&line)?;
        }
        line.wait(|| protocol.has_model(&line))?;
        check_batch(&line, protocol.most_rows(&line), options.max_batch)?;
        let told = protocol.told(&line)?;
        let signature = Signature::new(told.inputs, told.outputs);
        hold_to_what_is_said(&self.config, &signature)?;
        let name = self.name();
        let mut model = ServerModel { name, by: told.by, line, protocol, signature, batching: Batching::Rows };
        model.batching = probe::at_likely_sizes(&model)?;
        Ok(Box::new(model))
    }
}

/// The server must take what the worker sends: runs of up to so many rows.
fn check_batch(line: &Line, most: Option<usize>, rows: usize) -> Result<(), EngineError> {
    let Some(most) = most.filter(|most| *most < rows) else { return Ok(()) };
    let reason =
        format!("it takes {most} rows at once where worker.max_batch is {rows}; configure the same, or none (0) there");
    Err(EngineError::ServerRefuses { address: line.address(), reason })
}

/// What the server tells of the model is what everybody before it was told of it, where they were.
fn hold_to_what_is_said(config: &ServerConfig, told: &Signature) -> Result<(), EngineError> {
    for (does, said, told) in [("takes", &config.inputs, &told.inputs), ("gives", &config.outputs, &told.outputs)] {
        let is_told = |said: &slipway_kernel::TensorSpec| told.iter().any(|told| is_same(said, told));
        if said.is_empty() || (said.len() == told.len() && said.iter().all(is_told)) {
            continue;
        }
        let shown = |name: &str, kind: &str, shape: &dyn std::fmt::Debug| format!("`{name}` {kind} {shape:?}");
        let said: Vec<String> = said.iter().map(|one| shown(&one.name, &one.datatype, &one.shape)).collect();
        let told: Vec<String> =
            told.iter().map(|one| shown(&one.name, &one.data_type.to_string(), &one.shape)).collect();
        let reason = format!(
            "it {does} {}, and spec.model.signature says {}; correct one of them",
            told.join(", "),
            said.join(", ")
        );
        return Err(EngineError::ServerRefuses { address: config.address, reason });
    }
    Ok(())
}

/// Whether both are of one name and type, and no size of one excludes that of the other.
fn is_same(said: &slipway_kernel::TensorSpec, told: &TensorSpec) -> bool {
    let fits = |(said, told): (&i32, &i64)| *said == -1 || *told == -1 || i64::from(*said) == *told;
    said.name == told.name
        && said.datatype == told.data_type.to_string()
        && said.shape.len() == told.shape.len()
        && said.shape.iter().zip(&told.shape).all(fits)
}

/// Puts the file in its place, whole or not at all.
fn hand_over(artifact: &[u8], file: &Path) -> Result<(), EngineError> {
    let unwritable = |error: io::Error| EngineError::Repository { path: file.to_owned(), reason: error.to_string() };
    let beside = file.with_extension("part");
    fs::write(&beside, artifact).and_then(|()| fs::rename(&beside, file)).map_err(unwritable)
}

/// Puts a model into a folder that is there: its one file under `name`, or all files of an archive, each where it was.
fn unpack(artifact: &[u8], folder: &Path, name: &str) -> io::Result<()> {
    if !bundle::begins(artifact) {
        return fs::write(folder.join(name), artifact);
    }
    let part = |offset: u64, size: usize| {
        let start = usize::try_from(offset).ok()?;
        artifact.get(start..start.checked_add(size)?)
    };
    let files = bundle::read(artifact.len() as u64, |offset, buffer| {
        buffer.copy_from_slice(part(offset, buffer.len()).ok_or("read beyond the end")?);
        Ok(())
    });
    for file in files.map_err(io::Error::other)? {
        let content = usize::try_from(file.size).ok().and_then(|size| part(file.offset, size));
        let place = folder.join(&file.name);
        fs::create_dir_all(place.parent().unwrap_or(folder))?;
        fs::write(place, content.ok_or_else(|| io::Error::other("read beyond the end"))?)?;
    }
    Ok(())
}

/// Removes a folder, if it is there.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A model that the server has.
#[derive(Debug)]
struct ServerModel {
    name: &'static str,
    /// What the server computes it with, in its own words.
    by: String,
    line: Line,
    protocol: Box<dyn Protocol>,
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
        let found = self.protocol.infer(&self.line, inputs)?;
        marks.computed();
        self.in_order(found)
    }
}

//! Which server, and how it is reached.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use slipway_kernel::{ModelFormat, Refusal, Span, TensorSpec};

use super::open_inference::OpenInference;
use super::protocol::Protocol;
use super::tensorflow::TensorflowServing;
use super::triton;

/// A model server that computes in the place of the worker's own engines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerConfig {
    /// Which: `none`, `triton`, `tensorflow-serving`, or `open-inference`, any other server of the protocol.
    pub kind: ServerKind,
    /// Where it answers over gRPC. On this machine or in this pod: between the two there is neither a password nor encryption.
    pub address: SocketAddr,
    /// Name of the model there.
    pub model: String,
    /// The folder of models that Triton or TensorFlow Serving reads and the worker writes.
    pub repository: PathBuf,
    /// Where the worker puts the model's file for a server that is not Triton; unset: the server has it already.
    pub file: Option<PathBuf>,
    /// What the model is said to take, where its file does not tell. The server is told it, if it has to be, and has to say the same.
    pub inputs: Vec<TensorSpec>,
    /// What it is said to give.
    pub outputs: Vec<TensorSpec>,
    /// How long it may take until it answers and has the model. 10 min: an image of ten gigabytes is on its way for that long.
    pub start_timeout: Span,
    /// How long one run may take. 60 s: beyond the patience of whoever asks, short of a thread that is lost for good.
    pub run_timeout: Span,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            kind: ServerKind::None,
            // Triton's own port.
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8001)),
            model: "model".to_owned(),
            repository: PathBuf::from("/models"),
            file: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            start_timeout: Span::seconds(600),
            run_timeout: Span::seconds(60),
        }
    }
}

/// Which model server computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerKind {
    /// None: the worker does.
    #[default]
    None,
    /// NVIDIA Triton Inference Server, started with `--model-control-mode=explicit`.
    Triton,
    /// Any server that speaks the Open Inference Protocol: it has the model already, or is given the file.
    OpenInference,
    /// TensorFlow Serving, started with `--model_base_path` in the folder that the worker writes.
    TensorflowServing,
}

impl ServerKind {
    /// Its name as an engine.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Triton => "triton",
            Self::OpenInference => "open-inference",
            Self::TensorflowServing => "tensorflow-serving",
        }
    }

    /// What it speaks.
    pub(super) fn protocol(self) -> Box<dyn Protocol> {
        match self {
            Self::TensorflowServing => Box::<TensorflowServing>::default(),
            Self::None | Self::Triton | Self::OpenInference => Box::new(OpenInference),
        }
    }

    /// Whether it is given models of this format, or has them already.
    #[must_use]
    pub fn takes(self, format: ModelFormat) -> bool {
        match self {
            Self::None => format == ModelFormat::Onnx,
            Self::Triton => triton::backend(format).is_some(),
            Self::OpenInference => true,
            Self::TensorflowServing => format == ModelFormat::SavedModel,
        }
    }
}

impl ServerConfig {
    /// Holds it to its bounds.
    pub(crate) fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if self.kind == ServerKind::None {
            return refusals;
        }
        let mut require = |path: &str, value: String, good: bool, allowed: &str| {
            if !good {
                refusals.push(Refusal::new(path, value, allowed));
            }
        };
        let near = self.address.ip().is_loopback() && self.address.port() > 0;
        require(
            "worker.server.address",
            self.address.to_string(),
            near,
            "an address of this machine with a port, such as 127.0.0.1:8001",
        );
        require(
            "worker.server.model",
            self.model.clone(),
            is_name(&self.model),
            "1 to 100 letters, digits, '-', '_' and '.', a letter or digit first",
        );
        let hour = Span::seconds(3_600);
        for (path, span) in
            [("worker.server.start_timeout", self.start_timeout), ("worker.server.run_timeout", self.run_timeout)]
        {
            require(path, span.to_string(), span > Span::default() && span <= hour, "more than 0, up to 1h");
        }
        refusals
    }
}

/// It becomes the name of a folder.
fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

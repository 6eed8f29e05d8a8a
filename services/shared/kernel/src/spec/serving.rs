//! `spec.model`, `serving`, `resources`, `scale`, `inputs` and `access`.

use crate::{
    blob::Digest,
    model::{ModelFormat, TensorSpec},
    quantity::{ByteSize, CpuMillis, Rate},
    time::Span,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Where it lies: `file:///absolute/path`, `https://host/path`, `nats-object://bucket/name`, or `blob://<sha256>` in the mesh's own store.
    pub uri: String,
    /// SHA-256 of the artifact, 64 hexadecimal digits. If given, any other content is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub sha256: Option<Digest>,
    /// The format if it must be a certain one; else it is detected from the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ModelFormat>,
    /// What it takes and gives, where its file does not say so. What the file says has to agree, unless a container is around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<ModelSignature>,
}

/// What a model takes and gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelSignature {
    /// The inputs.
    pub inputs: Vec<TensorSpec>,
    /// The outputs.
    pub outputs: Vec<TensorSpec>,
}

/// How it is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Serving {
    /// A platform, or `auto` to let Slipway choose.
    pub platform: Platform,
    /// The container of one's own that computes, with `platform: container`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Protocols the platform must offer.
    pub protocols: Vec<Protocol>,
    /// Where dynamic batching starts.
    pub batching: Batching,
    /// Answers that are kept for equal requests. None are, unless this is given: only who deploys a model knows that its answer to a request
    /// is always the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// A second worker for requests that the first is slow to answer. None, unless this is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedging: Option<Hedging>,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            platform: Platform::Auto,
            container: None,
            protocols: vec![Protocol::Http],
            batching: Batching::default(),
            cache: None,
            hedging: None,
        }
    }
}

/// A container that computes in the place of the worker's own engines, beside each worker. It answers over the Open Inference Protocol; what it
/// is given and has to hold to is its contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its image by its digest: `<image>@sha256:…`.
    pub image: String,
}

/// Answers that each replica of the ingress keeps: to a request with equal inputs, wanted outputs and parameters, of the same revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Cache {
    /// How much memory they may take, 1Mi to 1Gi. The least recently used make room.
    pub max_bytes: ByteSize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { max_bytes: ByteSize::mebibytes(64) }
    }
}

/// A request that has waited too long for its worker is also sent to another one; the first answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hedging {
    /// After how long, 1ms to 1m. The latency that one request in twenty exceeds is a good start: a shorter time is work done twice.
    pub after: Span,
}

/// What serves the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// Slipway chooses.
    #[default]
    Auto,
    /// Slipway's own worker.
    Slipway,
    /// NVIDIA Triton Inference Server.
    Triton,
    /// TensorFlow Serving.
    TensorflowServing,
    /// TorchServe.
    Torchserve,
    /// vLLM.
    Vllm,
    /// A container of one's own.
    Container,
}

/// A protocol of inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Open Inference Protocol v2 over HTTP.
    Http,
    /// Open Inference Protocol v2 over gRPC.
    Grpc,
}

/// Dynamic batching: where the first plan starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Batching {
    /// The most rows run at once, 1 to 256.
    pub max_size: u32,
    /// How long the first row waits for others at most, up to 1s.
    pub max_delay: Span,
    /// Whether a batch waits only while company is expected sooner than what it saves, and is only so large that `slo.latencyP99` holds;
    /// both by what was measured of the model and the traffic. Else each waits `maxDelay` for `maxSize` rows.
    pub adaptive: bool,
}

impl Default for Batching {
    fn default() -> Self {
        Self { max_size: 8, max_delay: Span::millis(2), adaptive: true }
    }
}

/// What one worker gets; where the first plan starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Processor time.
    pub cpu: CpuMillis,
    /// Memory limit.
    pub memory: ByteSize,
    /// GPU memory; 0 = none.
    pub gpu_memory: ByteSize,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu: CpuMillis(1_000), memory: ByteSize::mebibytes(512), gpu_memory: ByteSize(0) }
    }
}

/// How many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scale {
    /// The fewest, 1 to 1000; where the first plan starts.
    pub min: u32,
    /// The most, `min` to 1000; no revision passes it.
    pub max: u32,
    /// What is scaled by.
    pub signal: ScaleSignal,
    /// The value of the signal one worker should have.
    pub target: u32,
}

impl Default for Scale {
    fn default() -> Self {
        Self { min: 1, max: 4, signal: ScaleSignal::Concurrency, target: 8 }
    }
}

/// What is scaled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleSignal {
    /// Requests waiting.
    QueueDepth,
    /// Requests under way.
    Concurrency,
    /// Processor use in percent.
    Cpu,
}

/// A door for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// Open Inference Protocol v2 over HTTP, gRPC and WebSockets. It is open whether it is listed or not, since a revision is proved
    /// through it; what stands here are its bounds.
    Http(HttpInput),
    /// The same protocol over NATS: requests that are left in a queue, and requests that wait for their answer. Closed unless listed.
    Nats(NatsInput),
}

impl Input {
    /// Its name in a document.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Nats(_) => "nats",
        }
    }
}

/// The largest body that a document may allow: what a request holds in memory several times on its way.
pub const MAX_BODY_BYTES: usize = 64 << 20;

/// The HTTP door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpInput {
    /// The largest body, up to 64Mi.
    pub max_body: ByteSize,
    /// How long a request may take when its sender sets no deadline, up to 5m.
    pub timeout: Span,
}

impl Default for HttpInput {
    fn default() -> Self {
        Self { max_body: ByteSize::mebibytes(4), timeout: Span::seconds(10) }
    }
}

/// The door over NATS. The bounds of a request are those of the HTTP door, as far as one message of the broker allows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NatsInput {}

impl super::Spec {
    /// The bounds of the HTTP door, which is open whatever is listed.
    #[must_use]
    pub fn http(&self) -> HttpInput {
        let listed = self.inputs.iter().find_map(|input| match input {
            Input::Http(http) => Some(*http),
            Input::Nats(_) => None,
        });
        listed.unwrap_or_default()
    }

    /// Whether requests may come over NATS.
    #[must_use]
    pub fn is_open_over_nats(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input, Input::Nats(_)))
    }
}

pub(super) fn default_inputs() -> Vec<Input> {
    vec![Input::Http(HttpInput::default())]
}

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Access {
    /// Whether callers without credential are served.
    pub anonymous: bool,
    /// Whether API keys are issued and accepted.
    pub api_keys: bool,
    /// Accept tokens of this issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
    /// The most requests one caller may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Rate>,
    /// Networks requests may come from (CIDR); empty = any.
    pub allow_from: Vec<String>,
}

impl Default for Access {
    fn default() -> Self {
        Self { anonymous: false, api_keys: true, jwt: None, rate_limit: None, allow_from: Vec::new() }
    }
}

/// Tokens that are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jwt {
    /// `iss` must be this.
    pub issuer: String,
    /// `aud` must hold this.
    pub audience: String,
    /// The keys: `https://…` of a JWK set, or `file:///…` of a JWK set or a PEM public key.
    pub jwks: String,
}

//! Which provider computed which operator, as ONNX Runtime's own profile of a few runs tells it. It is the one account of that which
//! the library gives to whoever does not read its log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ort::environment::Environment;
use ort::session::Session;
use serde::Deserialize;
use tempfile::TempDir;

use super::model::{Processor, configured, refusal};
use crate::engine::EngineError;

/// The provider of GPUs.
const CUDA: &str = "CUDAExecutionProvider";

/// Operators by provider.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Placement(BTreeMap<String, usize>);

/// One line of a profile. An operator is a `Node`, and its run is called after it with this ending.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    args: Arguments,
}

#[derive(Deserialize, Default)]
struct Arguments {
    #[serde(default)]
    provider: String,
}

const RUN: &str = "_kernel_time";

impl Placement {
    /// Reads a profile.
    fn read(profile: &[u8]) -> Result<Self, serde_json::Error> {
        let events: Vec<Event> = serde_json::from_slice(profile)?;
        let runs = events.into_iter().filter(|event| event.cat == "Node" && event.name.ends_with(RUN));
        let operators: BTreeSet<(String, String)> = runs.map(|event| (event.args.provider, event.name)).collect();
        let mut placement = Self::default();
        for (provider, _) in operators {
            *placement.0.entry(provider).or_default() += 1;
        }
        Ok(placement)
    }

    /// How many are on the GPU.
    pub(super) fn on_gpu(&self) -> usize {
        self.0.get(CUDA).copied().unwrap_or(0)
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: usize = self.0.values().sum();
        write!(formatter, "{} of {all} operators on the GPU", self.on_gpu())
    }
}

/// A profile that is being written, in a folder of its own that goes with it.
pub(super) struct Profile(TempDir);

impl Profile {
    pub(super) fn new() -> Result<Self, EngineError> {
        tempfile::Builder::new()
            .prefix("slipway-profile-")
            .tempdir()
            .map(Self)
            .map_err(|error| EngineError::Run(format!("no folder for a profile of the first runs: {error}")))
    }

    /// A session whose runs are written down until [`Self::end`].
    pub(super) fn session(
        &self,
        environment: &Environment,
        artifact: &[u8],
        intra_op: usize,
        processor: Processor,
    ) -> Result<Session, EngineError> {
        configured(environment, intra_op, processor)?
            .with_profiling(self.0.path().join("runs"))
            .map_err(|error| EngineError::Unplannable(vec![error.to_string()]))?
            .commit_from_memory(artifact)
            .map_err(|error| refusal(&error))
    }

    /// Ends the profile of the session and reads it.
    pub(super) fn end(self, session: &mut Session) -> Result<Placement, EngineError> {
        let failed = |error: &dyn fmt::Display| {
            EngineError::Run(format!("ONNX Runtime does not tell where its operators ran: {error}"))
        };
        let file = session.end_profiling().map_err(|error| failed(&error))?;
        let profile = std::fs::read(file).map_err(|error| failed(&error))?;
        Placement::read(&profile).map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::onnxruntime::OnnxRuntime;
    use crate::engine::onnxruntime::declared;
    use crate::engine::onnxruntime::model::OnnxRuntimeModel;
    use crate::engine::tract::fixtures;
    use crate::engine::{EngineError, LoadOptions, samples};

    #[test]
    fn operators_are_counted_once_however_often_they_ran() {
        let event = |name: &str, provider: &str| serde_json::json!({"cat": "Node", "name": format!("{name}{RUN}"), "args": {"provider": provider, "op_name": "x"}});
        let profile = serde_json::json!([
            {"cat": "Session", "name": "model_run", "ph": "X"},
            event("a", CUDA), event("b", CUDA), event("shape", "CPUExecutionProvider"), event("a", CUDA),
            {"cat": "Node", "name": "a_fence_before", "args": {"op_name": "x"}},
        ]);
        let placement = Placement::read(profile.to_string().as_bytes()).unwrap();
        assert_eq!((placement.on_gpu(), placement.to_string().as_str()), (2, "2 of 3 operators on the GPU"));
        assert!(Placement::read(b"[{").is_err());
    }

    /// The library's own profile, of the one provider that every library has.
    #[test]
    fn a_session_tells_where_its_operators_ran_and_leaves_no_file() {
        let environment = OnnxRuntime::open(None).unwrap().environment;
        let profile = Profile::new().unwrap();
        let folder = profile.0.path().to_path_buf();
        let artifact = fixtures::bytes(&fixtures::classifier());
        let mut session = profile.session(&environment, &artifact, 1, Processor::Cpu).unwrap();
        let signature = declared::signature(&session).unwrap();
        let inputs = samples::inputs(&signature, 1, 32, 1).unwrap();
        let values = inputs[0].as_f32().unwrap();
        let view = ort::value::TensorRef::from_array_view((inputs[0].shape(), values.as_slice())).unwrap();
        session.run(ort::inputs![view]).unwrap();
        let placement = profile.end(&mut session).unwrap();
        assert!(placement.0["CPUExecutionProvider"] >= 1, "{placement:?}");
        assert_eq!(placement.on_gpu(), 0);
        assert!(!folder.exists());
    }

    /// As a provider does that silently takes nothing.
    #[test]
    fn a_model_that_stayed_on_the_cpu_is_refused() {
        let environment = OnnxRuntime::open(None).unwrap().environment;
        let artifact = fixtures::bytes(&fixtures::scale());
        let error = OnnxRuntimeModel::tried_out(
            &environment,
            &artifact,
            &LoadOptions::default(),
            Processor::Cpu,
            Some(Profile::new().unwrap()),
        )
        .unwrap_err();
        assert_eq!(
            error,
            EngineError::NoGpu("ONNX Runtime put every operator on the CPU (0 of 1 operators on the GPU)".to_owned())
        );
    }
}

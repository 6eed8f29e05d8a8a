//! Which engine serves a model, on which device, and the gate before it.
//!
//! A GPU comes first where there is one that takes the model ([`gpu`]). Among the engines, ONNX Runtime is the faster one and knows
//! every operator, so it comes first where its library is; tract is always there. The engine that will serve has to prove itself on
//! this very model and on the device that will serve: on the golden vectors where there are some, else against another engine or the
//! CPU. tract is known to compute some graphs wrongly without an error, and the numbers of a GPU are its own.

mod gpu;
mod proof;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::proof::{COMPARED_ROWS, admitted, same_answers};
use super::device::{Device, DeviceWanted};
use super::golden::Golden;
use super::onnxruntime::OnnxRuntime;
use super::tract::TractEngine;
use super::{Engine, EngineError, LoadOptions, Model, Threads, Tolerance, guarded};

pub use gpu::{GpuEngine, OnGpu};

/// Which engine is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// ONNX Runtime where its library is and takes the model, else tract.
    #[default]
    Auto,
    /// ONNX Runtime or nothing.
    Onnxruntime,
    /// tract or nothing.
    Tract,
}

/// What is wanted of the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// Which engine.
    pub engine: Wanted,
    /// Which device.
    pub device: DeviceWanted,
}

/// The engines of this process.
#[derive(Clone)]
pub struct Engines {
    /// ONNX Runtime, or why it is not there.
    pub onnxruntime: Result<Arc<dyn Engine>, EngineError>,
    /// The one that always is.
    pub tract: Arc<dyn Engine>,
    /// The GPU with its engines, or why there is none.
    pub gpu: Result<OnGpu, String>,
    /// The model server that computes in the place of all of them, if one is configured.
    pub server: Option<Arc<dyn Engine>>,
}

impl Engines {
    /// A model server, and no other is asked.
    #[must_use]
    pub fn of_server(server: Arc<dyn Engine>) -> Self {
        let elsewhere = "the model server computes";
        Self {
            onnxruntime: Err(EngineError::Unavailable(elsewhere.to_owned())),
            tract: Arc::new(TractEngine),
            gpu: Err(elsewhere.to_owned()),
            server: Some(server),
        }
    }

    /// Loads ONNX Runtime's library where there is one. The device is what was found ([`super::device::find`]), or why none was.
    #[must_use]
    pub fn found(library: Option<&Path>, device: Result<Device, String>) -> Self {
        let onnxruntime = OnnxRuntime::open(library);
        let gpu = device.map(|device| OnGpu::of(device, &onnxruntime));
        let onnxruntime = onnxruntime.map(|engine| Arc::new(engine) as Arc<dyn Engine>);
        Self { onnxruntime, tract: Arc::new(TractEngine), gpu, server: None }
    }

    /// Their names, the one that is tried first first, why ONNX Runtime is not among them, and why no GPU serves: for programs.
    #[must_use]
    pub fn told(&self) -> serde_json::Value {
        let on_gpu = self.gpu.iter().flat_map(OnGpu::usable);
        let onnxruntime = self.onnxruntime.iter().map(|engine| engine.name());
        let names: Vec<&str> = on_gpu.chain(onnxruntime).chain([self.tract.name()]).collect();
        let mut told = serde_json::json!({ "engines": names });
        if let Err(missing) = &self.onnxruntime {
            told["note"] = missing.to_string().into();
        }
        match &self.gpu {
            Ok(gpu) => {
                told["gpu"] = gpu.to_string().into();
                if let Some(missing) = gpu.missing() {
                    told["gpuNote"] = missing.into();
                }
            }
            Err(reason) => told["gpuNote"] = reason.clone().into(),
        }
        told
    }
}

/// A model, and the engine and the device that it is on.
#[derive(Debug)]
pub struct Chosen {
    /// The model, proved as far as there was something to prove it on.
    pub model: Box<dyn Model>,
    /// The engine's name.
    pub engine: &'static str,
    /// Why this one, and how it was proved.
    pub reason: String,
    /// The GPU; `None` on the CPU.
    pub gpu: Option<Device>,
    /// Why that device.
    pub device_reason: String,
    /// The threads that it was loaded for: those of the options, or fewer where a GPU has no room for so many instances.
    pub threads: Threads,
}

/// Loads the model on the engine and the device that are to serve it.
///
/// # Errors
/// [`EngineError::Unavailable`] or [`EngineError::NoGpu`] when what is demanded is not there, the refusal of the engine that is
/// demanded, or [`EngineError::AllRefuse`].
pub fn choose(
    wish: Wish,
    engines: &Engines,
    artifact: &[u8],
    options: &LoadOptions,
    golden: Option<&Golden>,
) -> Result<Chosen, EngineError> {
    if let Some(server) = &engines.server {
        return on_server(server.as_ref(), wish.device, artifact, options, golden);
    }
    let on_cpu = |why: String| {
        let chosen = on_cpu(wish.engine, engines, artifact, options, golden)?;
        Ok(Chosen { device_reason: why, ..chosen })
    };
    let gpu = match (wish.device, &engines.gpu) {
        (DeviceWanted::Cpu, _) => return on_cpu("it is what is configured".to_owned()),
        (DeviceWanted::Cuda, Err(reason)) => return Err(EngineError::NoGpu(reason.clone())),
        (DeviceWanted::Auto, Err(reason)) => return on_cpu(format!("no GPU can be used: {reason}")),
        (DeviceWanted::Auto | DeviceWanted::Cuda, Ok(gpu)) => gpu,
    };
    match gpu::choose(wish.engine, gpu, engines, artifact, options, golden) {
        Err(refusals) if wish.device == DeviceWanted::Auto => {
            let refused = EngineError::AllRefuse(refusals.clone());
            on_cpu(format!("{gpu} does not serve it: {refused}"))
                .map_err(|error| EngineError::AllRefuse(all(refusals, error)))
        }
        chosen => chosen.map_err(EngineError::AllRefuse),
    }
}

/// A model server computes how it is told to, and where. Its numbers may be a GPU's unless the CPU is demanded.
fn on_server(
    server: &dyn Engine,
    device: DeviceWanted,
    artifact: &[u8],
    options: &LoadOptions,
    golden: Option<&Golden>,
) -> Result<Chosen, EngineError> {
    let tolerance = if device == DeviceWanted::Cpu { Tolerance::default() } else { Tolerance::GPU };
    let chosen = admitted(server, artifact, options, golden, tolerance)?;
    let reason = match golden {
        Some(_) => "it is what is configured",
        None => "it is what is configured; without golden vectors nothing proves its answers",
    };
    Ok(Chosen { device_reason: "the model server decides".to_owned(), ..chosen.because(reason) })
}

/// The refusals of the GPU, and those of the CPU.
fn all(mut refusals: Vec<(&'static str, EngineError)>, error: EngineError) -> Vec<(&'static str, EngineError)> {
    match error {
        EngineError::AllRefuse(others) => refusals.extend(others),
        other => refusals.push(("cpu", other)),
    }
    refusals
}

fn on_cpu(
    wanted: Wanted,
    engines: &Engines,
    artifact: &[u8],
    options: &LoadOptions,
    golden: Option<&Golden>,
) -> Result<Chosen, EngineError> {
    let on = |engine: &dyn Engine| admitted(engine, artifact, options, golden, Tolerance::default());
    let onnxruntime = engines.onnxruntime.as_ref().map(AsRef::as_ref);
    match (wanted, onnxruntime) {
        (Wanted::Onnxruntime, Err(missing)) => Err(missing.clone()),
        (Wanted::Onnxruntime, Ok(engine)) => Ok(on(engine)?.because("it is what is configured")),
        (Wanted::Tract, oracle) => {
            let chosen = on(engines.tract.as_ref())?.because("it is what is configured");
            compared(chosen, oracle.ok(), artifact, options, golden)
        }
        (Wanted::Auto, Err(missing)) => Ok(on(engines.tract.as_ref())?.because(&format!("{missing}"))),
        (Wanted::Auto, Ok(engine)) => match on(engine) {
            Ok(chosen) => Ok(chosen.because("its library is there")),
            Err(refusal) => {
                tracing::warn!(engine = engine.name(), error = %refusal, "an engine refuses the model; the next one is tried");
                let name = engine.name();
                match on(engines.tract.as_ref()) {
                    Ok(chosen) => Ok(chosen.because(&format!("{name} refuses the model ({refusal})"))),
                    Err(second) => {
                        let tract = engines.tract.name();
                        tracing::warn!(engine = tract, error = %second, "this engine refuses the model too");
                        Err(EngineError::AllRefuse(vec![(name, refusal), (tract, second)]))
                    }
                }
            }
        },
    }
}

impl Chosen {
    fn because(mut self, reason: &str) -> Self {
        self.reason = if self.reason.is_empty() { reason.to_owned() } else { format!("{reason}; {}", self.reason) };
        self
    }
}

/// Without golden vectors, the oracle's answers stand in for them.
fn compared(
    chosen: Chosen,
    oracle: Option<&dyn Engine>,
    artifact: &[u8],
    options: &LoadOptions,
    golden: Option<&Golden>,
) -> Result<Chosen, EngineError> {
    let (Some(oracle), None) = (oracle, golden) else {
        return Ok(chosen);
    };
    let reference = match oracle.load(artifact, options) {
        Ok(reference) => reference,
        Err(error) => {
            tracing::warn!(engine = oracle.name(), %error, "there is nothing to compare the model's answers with");
            return Ok(chosen);
        }
    };
    let runs = guarded("being compared", || {
        same_answers(reference.as_ref(), oracle.name(), chosen.model.as_ref(), &COMPARED_ROWS, Tolerance::default())
    })?;
    if runs == 0 {
        tracing::warn!("no made-up input suits the model, so its answers could not be compared");
    }
    let how = format!("{runs} made-up inputs give what {} gives", oracle.name());
    Ok(Chosen { reason: format!("{}; {how}", chosen.reason), ..chosen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::double::{Double, DoubleEngine};
    use slipway_proto::oip::Tensor;

    pub(super) fn doubling(times: f32) -> Arc<dyn Engine> {
        Arc::new(DoubleEngine::new(if times == 2.0 { "right" } else { "wrong" }, move || {
            Ok(Double::of(&[-1, 2], move |inputs: &[Tensor]| {
                let values: Vec<f32> = inputs[0].as_f32().unwrap().iter().map(|value| value * times).collect();
                Ok(vec![Tensor::from_f32("y", inputs[0].shape().to_vec(), &values).unwrap()])
            }))
        }))
    }

    pub(super) fn refusing(name: &'static str) -> Arc<dyn Engine> {
        Arc::new(DoubleEngine::new(name, || Err(EngineError::MissingOperators(vec!["Loop".to_owned()]))))
    }

    pub(super) fn absent() -> Result<Arc<dyn Engine>, EngineError> {
        Err(EngineError::Unavailable("there is no library; `make tools` gets it".to_owned()))
    }

    fn pick(
        wanted: Wanted,
        onnxruntime: Result<Arc<dyn Engine>, EngineError>,
        tract: Arc<dyn Engine>,
        golden: Option<&Golden>,
    ) -> Result<(&'static str, String), EngineError> {
        let engines = Engines { onnxruntime, tract, gpu: Err("no driver".to_owned()), server: None };
        let wish = Wish { engine: wanted, device: DeviceWanted::Auto };
        choose(wish, &engines, b"", &LoadOptions::default(), golden).map(|chosen| (chosen.engine, chosen.reason))
    }

    pub(super) fn golden(times: f32) -> Golden {
        let line = format!(
            r#"{{"request":{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}}]}},"response":{{"outputs":[{{"name":"y","datatype":"FP32","shape":[1,2],"data":[{},{}]}}]}}}}"#,
            times,
            2.0 * times
        );
        Golden::read(line.as_bytes()).unwrap()
    }

    #[test]
    fn the_engines_are_told_with_the_reason_why_one_is_not_there() {
        let gpu = Err("no driver".to_owned());
        let both = Engines { onnxruntime: Ok(refusing("onnxruntime")), tract: refusing("tract"), gpu, server: None };
        assert_eq!(both.told().to_string(), r#"{"engines":["onnxruntime","tract"],"gpuNote":"no driver"}"#);
        let one = Engines { onnxruntime: absent(), ..both };
        let told = one.told();
        assert_eq!(told["engines"], serde_json::json!(["tract"]));
        assert!(told["note"].as_str().unwrap().contains("make tools"), "{told}");
    }

    #[test]
    fn what_is_demanded_and_not_there_is_an_error_that_says_how_to_get_it() {
        let error = pick(Wanted::Onnxruntime, absent(), doubling(2.0), None).unwrap_err();
        assert!(error.to_string().contains("make tools"), "{error}");
    }

    #[test]
    fn onnxruntime_comes_first_and_tract_where_it_is_not_there_or_refuses() {
        let (engine, reason) = pick(Wanted::Auto, Ok(doubling(2.0)), doubling(3.0), None).unwrap();
        assert_eq!((engine, reason.as_str()), ("right", "its library is there"));
        let (engine, reason) = pick(Wanted::Auto, absent(), doubling(2.0), None).unwrap();
        assert_eq!(engine, "right");
        assert!(reason.contains("there is no library"), "{reason}");
        let (engine, reason) = pick(Wanted::Auto, Ok(refusing("picky")), doubling(2.0), None).unwrap();
        assert_eq!(
            (engine, reason.as_str()),
            ("right", "picky refuses the model (the engine lacks the operators: Loop)")
        );
    }

    #[test]
    fn when_all_refuse_each_reason_is_told() {
        let error = pick(Wanted::Auto, Ok(refusing("one")), refusing("other"), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no engine takes the model: one: the engine lacks the operators: Loop; other: the engine lacks the operators: \
             Loop"
        );
    }

    #[test]
    fn where_a_model_server_computes_no_engine_is_asked_and_golden_vectors_are_tried_on_it() {
        let wish = Wish { engine: Wanted::Tract, device: DeviceWanted::Cuda };
        let on = |times, golden: Option<&Golden>| {
            choose(wish, &Engines::of_server(doubling(times)), b"", &LoadOptions::default(), golden)
        };
        let chosen = on(3.0, None).unwrap();
        assert_eq!((chosen.engine, chosen.device_reason.as_str()), ("wrong", "the model server decides"));
        assert!(chosen.reason.ends_with("nothing proves its answers"), "{}", chosen.reason);
        assert_eq!(on(2.0, Some(&golden(2.0))).unwrap().reason, "it is what is configured; 1 golden vectors are right");
        assert!(matches!(on(3.0, Some(&golden(2.0))), Err(EngineError::Differs { .. })));
    }

    #[test]
    fn golden_vectors_are_tried_on_the_engine_that_will_serve() {
        let (engine, reason) = pick(Wanted::Auto, Ok(doubling(2.0)), doubling(3.0), Some(&golden(2.0))).unwrap();
        assert_eq!((engine, reason.as_str()), ("right", "its library is there; 1 golden vectors are right"));
        // The first engine is wrong, so the second serves.
        let (engine, reason) = pick(Wanted::Auto, Ok(doubling(3.0)), doubling(2.0), Some(&golden(2.0))).unwrap();
        assert_eq!(engine, "right");
        assert!(reason.contains("`y` element 0: 3 where 2 is expected"), "{reason}");
        let error = pick(Wanted::Tract, absent(), doubling(3.0), Some(&golden(2.0))).unwrap_err();
        assert!(matches!(error, EngineError::Differs { .. }), "{error}");
    }

    #[test]
    fn without_golden_vectors_tract_must_agree_with_onnxruntime() {
        let (_, reason) = pick(Wanted::Tract, Ok(doubling(2.0)), doubling(2.0), None).unwrap();
        assert_eq!(reason, "it is what is configured; 6 made-up inputs give what right gives");
        let error = pick(Wanted::Tract, Ok(doubling(2.0)), doubling(3.0), None).unwrap_err();
        let EngineError::Differs { from, difference } = error else { panic!("{error}") };
        assert_eq!(from, "right on made-up inputs");
        assert_eq!((difference.tensor.as_str(), difference.element), ("y", Some(0)));
        // Who cannot load the model is no oracle, and golden vectors are a better one.
        assert!(pick(Wanted::Tract, Ok(refusing("picky")), doubling(3.0), None).is_ok());
        assert!(pick(Wanted::Tract, Ok(doubling(2.0)), doubling(3.0), Some(&golden(3.0))).is_ok());
    }
}

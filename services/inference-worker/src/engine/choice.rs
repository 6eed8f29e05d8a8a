//! Which engine serves a model, and the gate before it.
//!
//! ONNX Runtime is the faster one and knows every operator, so it comes first where its library is; tract is always there. The
//! engine that will serve has to prove itself on this very model: on the golden vectors where there are some, else, as tract is
//! known to compute some graphs wrongly without an error, against ONNX Runtime where that is there.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::golden::Golden;
use super::onnxruntime::OnnxRuntime;
use super::tract::TractEngine;
use super::{Engine, EngineError, LoadOptions, Model, Tolerance, compare, guarded, probe, samples};

/// Rows of made-up inputs on which two engines are compared: one, and a few that no engine pads the same.
const COMPARED_ROWS: [usize; 2] = [1, 3];

/// Different inputs of each size.
const COMPARED_VARIANTS: u32 = 3;

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

/// The engines of this process.
#[derive(Clone)]
pub struct Engines {
    /// ONNX Runtime, or why it is not there.
    pub onnxruntime: Result<Arc<dyn Engine>, EngineError>,
    /// The one that always is.
    pub tract: Arc<dyn Engine>,
}

impl Engines {
    /// Loads ONNX Runtime's library where there is one.
    #[must_use]
    pub fn found(library: Option<&Path>) -> Self {
        let onnxruntime = OnnxRuntime::open(library).map(|engine| Arc::new(engine) as Arc<dyn Engine>);
        Self { onnxruntime, tract: Arc::new(TractEngine) }
    }

    /// Their names, the one that is tried first first, and why ONNX Runtime is not among them: for programs.
    #[must_use]
    pub fn told(&self) -> serde_json::Value {
        let tract = self.tract.name();
        match &self.onnxruntime {
            Ok(engine) => serde_json::json!({ "engines": [engine.name(), tract] }),
            Err(missing) => serde_json::json!({ "engines": [tract], "note": missing.to_string() }),
        }
    }
}

/// A model, and the engine that it is on.
#[derive(Debug)]
pub struct Chosen {
    /// The model, proved as far as there was something to prove it on.
    pub model: Box<dyn Model>,
    /// The engine's name.
    pub engine: &'static str,
    /// Why this one, and how it was proved.
    pub reason: String,
}

/// Loads the model on the engine that is to serve it.
///
/// # Errors
/// [`EngineError::Unavailable`] when the one that is demanded is not there, the refusal of the one that is demanded, or
/// [`EngineError::AllRefuse`].
pub fn choose(
    wanted: Wanted,
    engines: &Engines,
    artifact: &[u8],
    options: &LoadOptions,
    golden: Option<&Golden>,
) -> Result<Chosen, EngineError> {
    let on = |engine: &dyn Engine| admitted(engine, artifact, options, golden);
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

/// Loads on this engine and tries the golden vectors.
fn admitted(
    engine: &dyn Engine,
    artifact: &[u8],
    options: &LoadOptions,
    golden: Option<&Golden>,
) -> Result<Chosen, EngineError> {
    let model = engine.load(artifact, options)?;
    let mut reason = String::new();
    if let Some(golden) = golden {
        guarded("running the golden vectors", || golden.check(model.as_ref()))?;
        reason = format!("{} golden vectors are right", golden.len());
    }
    Ok(Chosen { model, engine: engine.name(), reason })
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
    let runs = guarded("being compared", || same_answers(reference.as_ref(), oracle.name(), chosen.model.as_ref()))?;
    let how = format!("{runs} made-up inputs give what {} gives", oracle.name());
    Ok(Chosen { reason: format!("{}; {how}", chosen.reason), ..chosen })
}

/// Runs both on the same made-up inputs; says on how many they agreed.
///
/// # Errors
/// [`EngineError::Differs`], and the engine's own where it cannot run what the oracle can.
fn same_answers(oracle: &dyn Model, name: &str, model: &dyn Model) -> Result<usize, EngineError> {
    let signature = model.signature();
    let rows: &[usize] = if signature.batched { &COMPARED_ROWS } else { &COMPARED_ROWS[..1] };
    for &free in probe::free_sizes(signature) {
        let mut agreed = 0;
        for &rows in rows {
            for variant in 1..=COMPARED_VARIANTS {
                let inputs = samples::inputs(signature, rows, free, variant)?;
                // What the oracle does not take proves nothing about the other.
                let Ok(expected) = oracle.run(&[&inputs]) else { continue };
                let found = model.run(&[&inputs])?;
                for (expected, found) in expected.iter().zip(&found) {
                    compare::tensors(expected, found, Tolerance::default()).map_err(|difference| {
                        EngineError::Differs {
                            from: format!("{name} on made-up inputs"),
                            difference: Box::new(difference),
                        }
                    })?;
                }
                agreed += 1;
            }
        }
        if agreed > 0 {
            return Ok(agreed);
        }
    }
    tracing::warn!("no made-up input suits the model, so its answers could not be compared");
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::double::{Double, DoubleEngine};
    use slipway_proto::oip::Tensor;

    fn doubling(times: f32) -> Arc<dyn Engine> {
        Arc::new(DoubleEngine::new(if times == 2.0 { "right" } else { "wrong" }, move || {
            Ok(Double::of(&[-1, 2], move |inputs: &[Tensor]| {
                let values: Vec<f32> = inputs[0].as_f32().unwrap().iter().map(|value| value * times).collect();
                Ok(vec![Tensor::from_f32("y", inputs[0].shape().to_vec(), &values).unwrap()])
            }))
        }))
    }

    fn refusing(name: &'static str) -> Arc<dyn Engine> {
        Arc::new(DoubleEngine::new(name, || Err(EngineError::MissingOperators(vec!["Loop".to_owned()]))))
    }

    fn absent() -> Result<Arc<dyn Engine>, EngineError> {
        Err(EngineError::Unavailable("there is no library; `make tools` gets it".to_owned()))
    }

    fn pick(
        wanted: Wanted,
        onnxruntime: Result<Arc<dyn Engine>, EngineError>,
        tract: Arc<dyn Engine>,
        golden: Option<&Golden>,
    ) -> Result<(&'static str, String), EngineError> {
        let engines = Engines { onnxruntime, tract };
        choose(wanted, &engines, b"", &LoadOptions::default(), golden).map(|chosen| (chosen.engine, chosen.reason))
    }

    fn golden(times: f32) -> Golden {
        let line = format!(
            r#"{{"request":{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}}]}},"response":{{"outputs":[{{"name":"y","datatype":"FP32","shape":[1,2],"data":[{},{}]}}]}}}}"#,
            times,
            2.0 * times
        );
        Golden::read(line.as_bytes()).unwrap()
    }

    #[test]
    fn the_engines_are_told_with_the_reason_why_one_is_not_there() {
        let both = Engines { onnxruntime: Ok(refusing("onnxruntime")), tract: refusing("tract") };
        assert_eq!(both.told().to_string(), r#"{"engines":["onnxruntime","tract"]}"#);
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

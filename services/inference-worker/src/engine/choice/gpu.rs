//! The engines of the GPU, in their order, and what each has to show before it serves.
//!
//! It fits: the weights, and what a run of the largest batch holds, against the memory that is free, before anything is loaded. It is
//! right: on the golden vectors, else on made-up inputs where an engine of the CPU computes the same, the largest batch among them.

use std::fmt;
use std::sync::Arc;

use slipway_kernel::ByteSize;

use super::proof::{COMPARED_ROWS, admitted, same_answers};
use super::{Chosen, Engines, Wanted};
use crate::domain::device_memory::Need;
use crate::engine::device::Device;
use crate::engine::golden::Golden;
use crate::engine::onnxruntime::{OnnxRuntime, OnnxRuntimeCuda};
use crate::engine::{Engine, EngineError, Holding, LoadOptions, Model, Planning, Threads, Tolerance, guarded, tract};

/// Reads off a model's file what it needs for a batch of so many rows, held like this.
type NeedOf = fn(&[u8], usize, Holding) -> Result<Need, EngineError>;

/// A GPU, and the engines that may compute on it.
#[derive(Clone)]
pub struct OnGpu {
    /// Which.
    pub device: Device,
    /// The one that is tried first first.
    pub engines: Vec<GpuEngine>,
    /// How the memory of a model is found.
    pub need: NeedOf,
}

/// An engine of the GPU.
#[derive(Clone)]
pub struct GpuEngine {
    /// Its name, also where it is not there.
    pub name: &'static str,
    /// Which wish it is.
    pub kind: Wanted,
    /// How it holds a model.
    pub holding: Holding,
    /// The engine, or why it is not there.
    pub engine: Result<Arc<dyn Engine>, EngineError>,
}

impl OnGpu {
    /// The engines that this program has for the device: ONNX Runtime, each of whose sessions takes every size and has weights of
    /// its own; then tract, whose threads share a plan: one for every size, else one for each.
    pub(super) fn of(device: Device, onnxruntime: &Result<OnnxRuntime, EngineError>) -> Self {
        let first = onnxruntime.as_ref().map_err(Clone::clone).and_then(OnnxRuntimeCuda::open);
        let first = GpuEngine {
            name: OnnxRuntimeCuda::NAME,
            kind: Wanted::Onnxruntime,
            holding: Holding { shared_weights: false, planning: Planning::Symbolic },
            engine: first.map(|engine| Arc::new(engine) as Arc<dyn Engine>),
        };
        let second = tract::on_gpu(&device);
        let tract = |planning: Planning| GpuEngine {
            name: tract::CUDA,
            kind: Wanted::Tract,
            holding: Holding { shared_weights: true, planning },
            engine: second.clone(),
        };
        let engines = vec![first, tract(Planning::Symbolic), tract(Planning::Buckets)];
        Self { device, engines, need: tract::need }
    }

    /// Names of the engines that are there.
    pub(super) fn usable(&self) -> Vec<&'static str> {
        let there = self.engines.iter().filter(|engine| engine.engine.is_ok());
        let mut names: Vec<&'static str> = there.map(|engine| engine.name).collect();
        // An engine stands there once for each way of planning.
        names.dedup();
        names
    }

    /// Why engines are not there, if one is not.
    pub(super) fn missing(&self) -> Option<String> {
        let missing = self.engines.iter().filter_map(|engine| Some((engine.name, engine.engine.as_ref().err()?)));
        let mut reasons: Vec<String> = missing.map(|(name, error)| format!("{name}: {error}")).collect();
        reasons.dedup();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

impl fmt::Display for OnGpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.device.facts;
        let memory = ByteSize(facts.memory_bytes >> 20 << 20);
        write!(formatter, "{} ({memory}, compute capability {})", facts.name, facts.compute_capability)
    }
}

/// Loads the model on the first engine of the GPU that takes it.
///
/// # Errors
/// The refusals, each with the engine's name.
pub(super) fn choose(
    wanted: Wanted,
    gpu: &OnGpu,
    engines: &Engines,
    artifact: &[u8],
    options: &LoadOptions,
    golden: Option<&Golden>,
) -> Result<Chosen, Vec<(&'static str, EngineError)>> {
    let mut refusals: Vec<(&'static str, EngineError)> = Vec::new();
    for engine in gpu.engines.iter().filter(|engine| wanted == Wanted::Auto || wanted == engine.kind) {
        match attempt(engine, gpu, engines, artifact, options, golden) {
            Ok(chosen) => {
                let before = match wanted {
                    Wanted::Auto => refusals.iter().map(|(name, refusal)| format!("{name}: {refusal}")).collect(),
                    _ => vec!["it is what is configured".to_owned()],
                };
                let reason = before.into_iter().chain([chosen.reason]).collect::<Vec<_>>().join("; ");
                let device_reason = format!("{gpu} takes the model");
                return Ok(Chosen { reason, device_reason, gpu: Some(gpu.device.clone()), ..chosen });
            }
            Err(refusal) => {
                tracing::warn!(engine = engine.name, error = %refusal, "an engine of the GPU does not take the model");
                refusals.push((engine.name, refusal));
                // What does not depend on the planning is said once.
                refusals.dedup();
            }
        }
    }
    Err(refusals)
}

/// One engine: there, room for it, loaded, right.
fn attempt(
    engine: &GpuEngine,
    gpu: &OnGpu,
    engines: &Engines,
    artifact: &[u8],
    options: &LoadOptions,
    golden: Option<&Golden>,
) -> Result<Chosen, EngineError> {
    let there = engine.engine.as_ref().map_err(Clone::clone)?;
    let (need, counted) = match (gpu.need)(artifact, options.max_batch, engine.holding) {
        Ok(need) => (need, format!("weights {}, a batch {}", mebibytes(need.weights), mebibytes(need.activations))),
        // Only what the file weighs is known; what a run holds shows at the first run of the largest batch.
        Err(error) => {
            let need = Need {
                weights: artifact.len() as u64,
                activations: 0,
                rows: options.max_batch,
                shared_weights: engine.holding.shared_weights,
            };
            (need, format!("weights {}, a batch unknown ({error})", mebibytes(need.weights)))
        }
    };
    let (room, asked) = (gpu.device.room(), options.threads.pool);
    let pool = need.fit(room, asked).map_err(EngineError::DoesNotFit)?;
    if pool < asked {
        tracing::warn!(instances = pool, asked, "the GPU has room for fewer instances than are configured");
    }
    let options = LoadOptions {
        threads: Threads { pool, ..options.threads },
        device_bytes: Some(room.usable()),
        planning: engine.holding.planning,
        ..*options
    };
    let chosen = admitted(there.as_ref(), artifact, &options, golden, Tolerance::GPU)?;
    let proof = match golden {
        // The chosen one says so itself.
        Some(_) => chosen.reason.clone(),
        None => beside_the_cpu(chosen.model.as_ref(), engines, artifact, &options)?,
    };
    let instances = if pool < asked { format!(", {pool} of {asked} instances fit") } else { String::new() };
    Ok(Chosen { reason: format!("{proof}; {counted}{instances}"), ..chosen })
}

/// The answers of the CPU stand in for golden vectors: there is always an engine that gives some.
fn beside_the_cpu(
    model: &dyn Model,
    engines: &Engines,
    artifact: &[u8],
    options: &LoadOptions,
) -> Result<String, EngineError> {
    let alone = LoadOptions {
        threads: Threads { pool: 1, ..options.threads },
        planning: Planning::Measured,
        device_bytes: None,
        ..*options
    };
    let oracles = engines.onnxruntime.iter().chain([&engines.tract]);
    let mut refusals = Vec::new();
    for oracle in oracles {
        let reference = match oracle.load(artifact, &alone) {
            Ok(reference) => reference,
            Err(error) => {
                refusals.push((oracle.name(), error));
                continue;
            }
        };
        let [one, few] = COMPARED_ROWS;
        let rows = [one, few, options.max_batch];
        let runs = guarded("being compared", || {
            same_answers(reference.as_ref(), oracle.name(), model, &rows, Tolerance::GPU)
        })?;
        return match runs {
            0 => Err(EngineError::Unproved("no made-up input suits the model".to_owned())),
            runs => Ok(format!("{runs} made-up inputs give what {} gives on the CPU", oracle.name())),
        };
    }
    Err(EngineError::Unproved(EngineError::AllRefuse(refusals).to_string()))
}

fn mebibytes(bytes: u64) -> ByteSize {
    ByteSize(bytes.div_ceil(1 << 20) << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::choice::tests::{absent, doubling, golden, refusing};
    use crate::engine::choice::{Wish, choose as choose_any};
    use crate::engine::device::DeviceWanted;
    use crate::engine::device::fixtures::made_up;

    const GIB: u64 = 1 << 30;

    type Made = Result<Arc<dyn Engine>, EngineError>;

    fn engine(name: &'static str, kind: Wanted, shared_weights: bool, engine: Made) -> GpuEngine {
        GpuEngine { name, kind, holding: Holding { shared_weights, planning: Planning::Symbolic }, engine }
    }

    /// A model of 2 GiB, a batch of which holds 1 GiB.
    fn need(_artifact: &[u8], rows: usize, holding: Holding) -> Result<Need, EngineError> {
        Ok(Need { weights: 2 * GIB, activations: GIB, rows, shared_weights: holding.shared_weights })
    }

    /// A device with so much free memory, and its two engines.
    fn gpu(free: u64, first: Made, second: Made) -> OnGpu {
        let engines =
            vec![engine("first", Wanted::Onnxruntime, false, first), engine("second", Wanted::Tract, true, second)];
        OnGpu { device: made_up(free), engines, need }
    }

    fn pick(
        wish: Wish,
        gpu: Result<OnGpu, String>,
        golden: Option<&Golden>,
        instances: usize,
    ) -> Result<Chosen, EngineError> {
        let engines = Engines { onnxruntime: absent(), tract: doubling(2.0), gpu, server: None };
        let options = LoadOptions { threads: Threads { pool: instances, intra_op: 1 }, ..LoadOptions::default() };
        choose_any(wish, &engines, b"", &options, golden)
    }

    const AUTO: Wish = Wish { engine: Wanted::Auto, device: DeviceWanted::Auto };
    const CUDA: Wish = Wish { engine: Wanted::Auto, device: DeviceWanted::Cuda };

    #[test]
    fn onnx_runtime_comes_first_on_the_gpu_and_then_tract_with_each_refusal_told() {
        let chosen = pick(AUTO, Ok(gpu(20 * GIB, Ok(doubling(2.0)), Ok(doubling(2.0)))), None, 1).unwrap();
        assert_eq!(chosen.device_reason, "NVIDIA L4 (24Gi, compute capability 8.9) takes the model");
        assert_eq!(chosen.reason, "9 made-up inputs give what right gives on the CPU; weights 2Gi, a batch 1Gi");
        assert_eq!(chosen.gpu, Some(made_up(20 * GIB)));
        let first = Err(EngineError::NoGpu("built without CUDA".to_owned()));
        let chosen = pick(AUTO, Ok(gpu(20 * GIB, first, Ok(doubling(2.0)))), None, 1).unwrap();
        assert!(
            chosen.reason.starts_with("first: no GPU can be used: built without CUDA; 9 made-up"),
            "{}",
            chosen.reason
        );
    }

    #[test]
    fn the_engines_of_the_gpu_are_told_once_with_the_reason_why_one_is_not_there() {
        let mut gpu = gpu(GIB, absent(), Ok(doubling(2.0)));
        gpu.engines.push(engine("second", Wanted::Tract, true, Ok(doubling(2.0))));
        let engines = Engines { onnxruntime: absent(), tract: refusing("tract"), gpu: Ok(gpu), server: None };
        let told = engines.told();
        assert_eq!(told["engines"], serde_json::json!(["second", "tract"]));
        assert_eq!(told["gpu"], "NVIDIA L4 (24Gi, compute capability 8.9)");
        assert!(told["gpuNote"].as_str().unwrap().starts_with("first: ONNX Runtime is not there"), "{told}");
    }

    #[test]
    fn auto_falls_back_to_the_cpu_and_says_so_and_cuda_does_not() {
        let chosen = pick(AUTO, Err("no driver".to_owned()), None, 1).unwrap();
        assert_eq!((chosen.gpu, chosen.device_reason.as_str()), (None, "no GPU can be used: no driver"));
        let error = pick(CUDA, Err("no driver".to_owned()), None, 1).unwrap_err();
        assert_eq!(error, EngineError::NoGpu("no driver".to_owned()));

        let refused = || gpu(20 * GIB, Ok(refusing("one")), Ok(doubling(3.0)));
        let chosen = pick(AUTO, Ok(refused()), None, 1).unwrap();
        assert_eq!(chosen.gpu, None);
        let why = &chosen.device_reason;
        assert!(why.contains("first: the engine lacks the operators: Loop"), "{why}");
        assert!(why.contains("second: the outputs are wrong, by right on made-up inputs: `y` element 0"), "{why}");
        let EngineError::AllRefuse(refusals) = pick(CUDA, Ok(refused()), None, 1).unwrap_err() else { panic!() };
        assert_eq!(refusals.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["first", "second"]);
    }

    #[test]
    fn the_cpu_is_not_left_where_it_is_wanted() {
        let wish = Wish { device: DeviceWanted::Cpu, ..AUTO };
        let chosen = pick(wish, Ok(gpu(20 * GIB, Ok(doubling(2.0)), Ok(doubling(2.0)))), None, 1).unwrap();
        assert_eq!((chosen.gpu, chosen.device_reason.as_str()), (None, "it is what is configured"));
    }

    #[test]
    fn the_engine_that_is_wanted_is_wanted_on_the_gpu_too() {
        let both = gpu(20 * GIB, Ok(refusing("one")), Ok(doubling(2.0)));
        let wish = Wish { engine: Wanted::Onnxruntime, ..CUDA };
        assert!(
            matches!(pick(wish, Ok(both.clone()), None, 1), Err(EngineError::AllRefuse(refusals)) if refusals.len() == 1)
        );
        let wish = Wish { engine: Wanted::Tract, ..CUDA };
        let chosen = pick(wish, Ok(both), None, 1).unwrap();
        assert!(chosen.reason.starts_with("it is what is configured; 9 made-up inputs"), "{}", chosen.reason);
    }

    #[test]
    fn golden_vectors_are_tried_on_the_gpu_with_its_tolerance() {
        let right = |times: f32| gpu(20 * GIB, Ok(doubling(times)), Ok(doubling(times)));
        let chosen = pick(CUDA, Ok(right(2.0)), Some(&golden(2.0)), 1).unwrap();
        assert!(chosen.reason.starts_with("1 golden vectors are right;"), "{}", chosen.reason);
        // Wider than the CPU's, and no wider than a thousandth.
        assert!(pick(CUDA, Ok(right(2.0015)), Some(&golden(2.0)), 1).is_ok());
        assert!(pick(CUDA, Ok(right(2.01)), Some(&golden(2.0)), 1).is_err());
        assert!(pick(CUDA, Ok(right(2.01)), None, 1).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_loaded() {
        let load = || -> Made { panic!("nothing may be loaded") };
        let never = || -> Made {
            Ok(Arc::new(crate::engine::double::DoubleEngine::new("never", move || load().map(|_| unreachable!()))))
        };
        let error = pick(CUDA, Ok(gpu(3 * GIB, never(), never())), None, 1).unwrap_err();
        assert!(error.to_string().contains("first: the model does not fit on the GPU: it needs 3136Mi"), "{error}");
    }

    #[test]
    fn as_many_instances_are_made_as_fit_and_no_more() {
        // 10.8 GiB may be used: three sessions with their own weights, eight threads that share them.
        let free = 12 * GIB;
        let first = pick(CUDA, Ok(gpu(free, Ok(doubling(2.0)), absent())), None, 8).unwrap();
        assert_eq!(first.threads.pool, 3);
        assert!(first.reason.ends_with("; weights 2Gi, a batch 1Gi, 3 of 8 instances fit"), "{}", first.reason);
        let second = pick(CUDA, Ok(gpu(free, absent(), Ok(doubling(2.0)))), None, 8).unwrap();
        assert_eq!(second.threads.pool, 8);
    }

    #[test]
    fn what_nothing_can_prove_is_not_served_from_a_gpu() {
        let gpu = gpu(20 * GIB, Ok(doubling(2.0)), absent());
        let engines = Engines { onnxruntime: absent(), tract: refusing("tract"), gpu: Ok(gpu), server: None };
        let error = choose_any(CUDA, &engines, b"", &LoadOptions::default(), None).unwrap_err().to_string();
        assert!(error.contains("cannot be proved") && error.contains("worker.golden"), "{error}");
        assert!(choose_any(CUDA, &engines, b"", &LoadOptions::default(), Some(&golden(2.0))).is_ok());
    }

    #[test]
    fn a_model_that_cannot_be_sized_counts_with_what_its_file_weighs() {
        let unknown = |_: &[u8], _: usize, _: Holding| Err(EngineError::Unplannable(vec!["Loop".to_owned()]));
        let gpu = OnGpu { need: unknown, ..gpu(20 * GIB, Ok(doubling(2.0)), absent()) };
        let chosen = pick(CUDA, Ok(gpu), None, 1).unwrap();
        assert!(chosen.reason.contains("a batch unknown (the model cannot be planned: Loop)"), "{}", chosen.reason);
    }
}

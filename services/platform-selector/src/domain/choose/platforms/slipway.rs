//! Slipway's own worker: ONNX on the engines that it has, on the CPU or a GPU.

use super::{Question, Weighed, carried};
use crate::domain::choose::engines;
use slipway_kernel::{ByteSize, ModelFormat, spec::Gpu};

/// Weighs it.
#[must_use]
pub fn weigh(question: &Question<'_>) -> Weighed {
    let mut weighed = Weighed {
        fit: 1.0,
        effort: 1.0,
        features: 0.7,
        reasons: vec![
            "fit 1.00 × 0.50: ONNX is what it runs".to_owned(),
            "effort 1.00 × 0.30: part of this installation, the same on a laptop and in a cluster".to_owned(),
            "features 0.70 × 0.20: Open Inference Protocol, dynamic batching, queues".to_owned(),
        ],
        ..Weighed::default()
    };
    if let Some(advice) = conversion(question.model.format) {
        weighed.fit = 0.0;
        weighed.reasons[0] = format!("fit 0.00 × 0.50: {} is not what it runs", question.model.format);
        weighed.exclude("format", format!("it runs ONNX, and this is {}; {advice}", question.model.format));
        return weighed;
    }
    engines::weigh(question, &mut weighed);
    carried(question, &mut weighed);
    memory(question, &mut weighed);
    gpu(question, &mut weighed);
    weighed
}

/// What to do with a format that it does not run.
const fn conversion(format: ModelFormat) -> Option<&'static str> {
    match format {
        ModelFormat::Onnx => None,
        ModelFormat::SavedModel => Some("convert it with tf2onnx (python -m tf2onnx.convert --saved-model …)"),
        ModelFormat::Torchscript => Some("export the module it was made from with torch.onnx.export"),
        ModelFormat::Safetensors => {
            Some("these are weights without a graph: export the model they belong to with optimum-cli export onnx")
        }
        ModelFormat::Gguf => {
            Some("these are weights of a language model: export the one they were made of with optimum-cli export onnx")
        }
        ModelFormat::Other => {
            Some("nothing is known of it: it needs a container of its own (spec.serving.platform `container`)")
        }
        ModelFormat::TensorrtPlan => {
            Some("an engine plan fits one GPU and one TensorRT version: deploy the ONNX file it was built from")
        }
    }
}

/// The ending of the names of engines that compute on a GPU. A worker lists one only where it has seen a GPU that the engine can use.
const ON_GPU: &str = "-cuda";

fn gpu(question: &Question<'_>, weighed: &mut Weighed) {
    let machine = question.machine;
    let able = machine.engines.iter().any(|engine| engine.ends_with(ON_GPU));
    if question.spec.infrastructure.gpu == Gpu::Required && !able {
        let note = if machine.gpu_note.is_empty() { "its worker names no engine for one" } else { &machine.gpu_note };
        weighed.exclude(
            "gpu",
            format!("a GPU is required, and no engine of this target computes on one ({note}); set spec.infrastructure.gpu to `optional`"),
        );
    }
}

/// What a running worker needs beside its model: the program, its buffers and its connections (measured: about 40 MiB).
const WORKER_BASE_BYTES: u64 = 48 << 20;

/// The memory of a worker is where the first plan starts, and a revision may raise it: it excludes only where it must not be
/// raised, or cannot. A target whose memory is not known (0) bounds nothing.
fn memory(question: &Question<'_>, weighed: &mut Weighed) {
    let estimate = question.model.memory_estimate_bytes.saturating_add(WORKER_BASE_BYTES);
    let given = question.spec.resources.memory;
    if estimate <= given.0 {
        return;
    }
    // Rounded up, so that what is advised is enough.
    let estimate_text = ByteSize(estimate.div_ceil(1 << 20) << 20);
    let parameters = question.model.parameters;
    let there = question.machine.memory_bytes;
    let fixed = question.spec.fixed.iter().any(|path| path == "resources.memory");
    if fixed {
        weighed.exclude(
            "memory",
            format!("a worker with its {parameters} parameters is expected to need {estimate_text}, spec.resources.memory is fixed at {given}; raise it, or take it out of spec.fixed"),
        );
    } else if there > 0 && estimate > there {
        weighed.exclude(
            "memory",
            format!("a worker with its {parameters} parameters is expected to need {estimate_text}, and the target has {}; use a smaller model or a larger machine", ByteSize(there)),
        );
    } else {
        weighed.reasons.push(format!(
            "memory: a worker is expected to need {estimate_text}, more than spec.resources.memory ({given}) gives the first plan; a revision may raise it"
        ));
    }
}

//! How much memory a run holds: read off the graph, before anything is planned or loaded.

use tract_onnx::prelude::{InferenceModelExt, TractResult, TypedModel};
use tract_onnx::tract_core::model::order::{build_flush_list, eval_order};
use tract_onnx::tract_core::ops::konst::Const;

use super::model::MAX_PLANS;
use super::plan::{Processor, readings};
use super::{declared, read};
use crate::domain::device_memory::Need;
use crate::engine::{EngineError, Holding, Planning, probe};
use crate::signature::{Signature, TensorSpec};

/// The need of a batch of so many rows. Free dimensions besides the batch count with the size at which the model is tried out.
pub(super) fn need(artifact: &[u8], rows: usize, holding: Holding) -> Result<Need, EngineError> {
    let proto = read(artifact)?;
    let signature = declared::signature(&proto)?;
    let plans = plans(&signature, rows, holding.planning);
    // A plan for a size is one for the next power of two.
    let rows = if plans > 1 { rows.next_power_of_two() } else { rows };
    let shared_weights = holding.shared_weights;
    let (templates, mut errors) = readings(&proto, &signature, Processor::Cpu);
    for &free in probe::free_sizes(&signature) {
        let shapes = shapes(&signature, rows, free);
        for template in &templates {
            match template.shaped(&shapes).and_then(InferenceModelExt::into_typed).and_then(|model| sizes(&model)) {
                Ok((weights, activations)) => {
                    let weights = weights.saturating_mul(plans);
                    return Ok(Need { weights, activations, rows, shared_weights });
                }
                Err(error) => errors.push(format!("{error:#}")),
            }
        }
    }
    Err(EngineError::Unplannable(errors))
}

/// How many plans there come to be, each with weights of its own.
fn plans(signature: &Signature, rows: usize, planning: Planning) -> u64 {
    let fixed = |input: &TensorSpec| input.shape.iter().skip(usize::from(signature.batched)).all(|&size| size >= 0);
    match planning {
        Planning::Symbolic => 1,
        Planning::Buckets | Planning::Measured if !signature.inputs.iter().all(fixed) => MAX_PLANS as u64,
        Planning::Buckets | Planning::Measured if signature.batched => u64::from(rows.next_power_of_two().ilog2()) + 1,
        Planning::Buckets | Planning::Measured => 1,
    }
}

fn shapes(signature: &Signature, rows: usize, free: usize) -> Vec<Vec<usize>> {
    let size = |(axis, &size): (usize, &i64)| match usize::try_from(size) {
        Ok(size) => size,
        Err(_) if axis == 0 && signature.batched => rows,
        Err(_) => free,
    };
    signature.inputs.iter().map(|input: &TensorSpec| input.shape.iter().enumerate().map(size).collect()).collect()
}

/// Bytes of the weights, and the most bytes of other tensors that are alive at once. Each operator's outputs are new memory, and
/// live until the last operator that reads them has run.
fn sizes(model: &TypedModel) -> TractResult<(u64, u64)> {
    let order = eval_order(model)?;
    let bytes = |node: usize| {
        let outputs = &model.node(node).outputs;
        outputs.iter().try_fold(0_u64, |sum, output| {
            let bytes = u64::try_from(output.fact.mem_size().to_i64()?)?;
            TractResult::Ok(sum.saturating_add(bytes))
        })
    };
    let is_weight = |node: usize| model.node(node).op_is::<Const>();
    let flushed = build_flush_list(model, &order, model.output_outlets()?, |node| !node.op_is::<Const>());
    let (mut weights, mut live, mut most) = (0_u64, 0_u64, 0_u64);
    for (&node, done) in order.iter().zip(&flushed) {
        if is_weight(node) {
            weights = weights.saturating_add(bytes(node)?);
        } else {
            live = live.saturating_add(bytes(node)?);
            most = most.max(live);
        }
        for &node in done {
            live = live.saturating_sub(bytes(node)?);
        }
    }
    Ok((weights, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tract::fixtures;

    #[test]
    fn weights_are_counted_once_and_activations_grow_with_the_rows() {
        // x[N,4] times w[4]: the weights are 16 bytes, and a row holds its input and its output.
        let artifact = fixtures::bytes(&fixtures::scale());
        let shared = Holding { shared_weights: true, planning: Planning::Symbolic };
        let of = |rows: usize| need(&artifact, rows, shared).unwrap();
        let eight = of(8);
        assert_eq!((eight.weights, eight.rows, eight.shared_weights), (16, 8, true));
        assert_eq!(eight.activations, 8 * 2 * 16);
        assert_eq!(of(32).activations, 4 * eight.activations);
    }

    #[test]
    fn what_no_operator_reads_any_more_is_not_counted() {
        let chain = |length: usize| {
            let name = |at: usize| if at == length { "y".to_owned() } else { format!("t{at}") };
            let first = fixtures::node("Mul", &["x", "w"], &[name(0).as_str()]);
            let rest = (0..length).map(|at| fixtures::node("Sigmoid", &[name(at).as_str()], &[name(at + 1).as_str()]));
            let mut proto = fixtures::scale();
            proto.graph.as_mut().unwrap().node = std::iter::once(first).chain(rest).collect();
            let holding = Holding { shared_weights: true, planning: Planning::Symbolic };
            need(&fixtures::bytes(&proto), 8, holding).unwrap().activations
        };
        assert_eq!(chain(1), 8 * 2 * 16);
        assert_eq!(chain(9), chain(1));
    }

    #[test]
    fn each_plan_has_weights_of_its_own() {
        let buckets = Holding { shared_weights: true, planning: Planning::Buckets };
        let of = |proto, rows| need(&fixtures::bytes(proto), rows, buckets).unwrap();
        // For 1, 2, 4 and 8 rows, and the largest plan is run with all of its rows.
        let six = of(&fixtures::scale(), 6);
        assert_eq!((six.weights, six.rows, six.activations), (4 * 16, 8, 8 * 2 * 16));
        assert_eq!(plans(&declared::signature(&fixtures::fixed()).unwrap(), 8, Planning::Buckets), 1);
        assert_eq!(plans(&declared::signature(&fixtures::sequences()).unwrap(), 8, Planning::Buckets), 16);
    }

    #[test]
    fn a_graph_that_tract_cannot_size_is_an_error_that_says_why() {
        let mut proto = fixtures::scale();
        proto.graph.as_mut().unwrap().node[0].op_type = "Unheard".to_owned();
        let error = need(&fixtures::bytes(&proto), 8, Holding { shared_weights: false, planning: Planning::Symbolic })
            .unwrap_err();
        assert!(matches!(error, EngineError::Unplannable(_)), "{error}");
    }
}

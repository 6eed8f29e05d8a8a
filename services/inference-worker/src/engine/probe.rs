//! Trying a model out before it is believed.
//!
//! Whether rows may share a run is not written in a file: a first dimension may be free and yet be no batch, and a layer may
//! mix rows. Two different rows are run apart and together; only when the answers agree are requests batched.

use slipway_proto::oip::Tensor;

use super::{Batching, EngineError, Model, Tolerance, compare, samples, split_rows};
use crate::signature::Signature;

/// Sizes tried for free dimensions other than the batch (lengths, heights, widths), likeliest first.
const FREE_SIZES: [usize; 5] = [32, 1, 8, 64, 224];

/// The sizes of free dimensions at which a model is worth trying: one, where there are none.
pub(super) fn free_sizes(signature: &Signature) -> &'static [usize] {
    let skipped = usize::from(signature.batched);
    let any = signature.inputs.iter().any(|input| input.shape.iter().skip(skipped).any(|&size| size < 0));
    if any { &FREE_SIZES } else { &FREE_SIZES[..1] }
}

/// As [`batching`], with the first of the likely sizes that the model takes.
///
/// # Errors
/// [`EngineError::Unplannable`] with what each size led to, where it takes none.
pub(super) fn at_likely_sizes(model: &dyn Model) -> Result<Batching, EngineError> {
    let mut errors = Vec::new();
    for &free in free_sizes(model.signature()) {
        match batching(model, free) {
            Ok(batching) => return Ok(batching),
            Err(error) => errors.push(error.to_string()),
        }
    }
    Err(EngineError::Unplannable(errors))
}

/// Runs the model on made-up rows; says whether rows may share a run.
///
/// # Errors
/// Of the run of a single row: a model that cannot do that is not served.
pub(super) fn batching(model: &dyn Model, free: usize) -> Result<Batching, EngineError> {
    let signature = model.signature();
    let first = samples::inputs(signature, 1, free, 1)?;
    let first_out = model.run(&[&first])?;
    if !signature.batched {
        return Ok(Batching::Alone { reason: "the first dimension of the inputs is fixed".to_owned() });
    }
    let second = samples::inputs(signature, 1, free, 2)?;
    let second_out = model.run(&[&second])?;
    Ok(match together(model.run(&[&first, &second]), &first_out, &second_out) {
        Ok(()) => Batching::Rows,
        Err(reason) => Batching::Alone { reason },
    })
}

fn together(together: Result<Vec<Tensor>, EngineError>, first: &[Tensor], second: &[Tensor]) -> Result<(), String> {
    let together = together.map_err(|error| format!("two rows at once fail: {error}"))?;
    for (output, (first, second)) in together.iter().zip(first.iter().zip(second)) {
        if output.shape().first() != Some(&2) {
            return Err(format!("output `{}` does not have a row per input row", output.name()));
        }
        let rows = split_rows(output, &[1, 1]).map_err(|error| error.to_string())?;
        for (row, alone) in rows.iter().zip([first, second]) {
            if compare::tensors(alone, row, Tolerance::default()).is_err() {
                return Err(format!("output `{}` of a row depends on the rows beside it", output.name()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::double::Double;

    fn probed(shape: &[i64], run: fn(&[Tensor]) -> Result<Vec<Tensor>, EngineError>) -> Result<Batching, EngineError> {
        batching(&Double::of(shape, run), 1)
    }

    fn reason(batching: Batching) -> String {
        match batching {
            Batching::Rows => panic!("rows are batched"),
            Batching::Alone { reason } => reason,
        }
    }

    #[test]
    fn rows_that_do_not_influence_each_other_share_runs() {
        assert_eq!(probed(&[-1, 3], |inputs| Ok(inputs.to_vec())), Ok(Batching::Rows));
    }

    #[test]
    fn a_model_that_mixes_rows_is_found_out() {
        let mixing = probed(&[-1, 3], |inputs| {
            let mut values = inputs[0].as_f32().unwrap();
            let sum: f32 = values.iter().sum();
            values.iter_mut().for_each(|value| *value /= sum);
            Ok(vec![Tensor::from_f32("y", inputs[0].shape().to_vec(), &values).unwrap()])
        });
        assert_eq!(reason(mixing.unwrap()), "output `y` of a row depends on the rows beside it");
    }

    #[test]
    fn an_output_that_is_not_per_row_is_found_out() {
        let one = probed(&[-1, 3], |_| Ok(vec![Tensor::from_f32("y", vec![1], &[1.0]).unwrap()]));
        assert_eq!(reason(one.unwrap()), "output `y` does not have a row per input row");
    }

    #[test]
    fn a_model_that_takes_only_one_row_runs_alone() {
        let one = probed(&[-1, 3], |inputs| match inputs[0].shape()[0] {
            1 => Ok(inputs.to_vec()),
            _ => Err(EngineError::Run("one at a time".into())),
        });
        assert!(reason(one.unwrap()).contains("one at a time"));
    }

    #[test]
    fn a_model_with_a_fixed_first_dimension_runs_alone() {
        let fixed = probed(&[4, 3], |inputs| Ok(inputs.to_vec()));
        assert!(reason(fixed.unwrap()).contains("fixed"));
    }

    #[test]
    fn a_model_that_cannot_run_one_row_is_not_served() {
        assert!(probed(&[-1, 3], |_| Err(EngineError::Run("no".into()))).is_err());
    }
}

//! Trying a model out before it is believed.
//!
//! Whether rows may share a run is not written in a file: a first dimension may be free and yet be no batch, and a layer may
//! mix rows. Two different rows are run apart and together; only when the answers agree are requests batched.

use slipway_proto::oip::{DataType, Tensor};

use super::{Batching, EngineError, Model, samples, split_rows, stack_rows};

/// Answers of the same row, apart and in company, may differ by so much of their size: kernels for other sizes add in
/// another order.
const RELATIVE: f64 = 1e-3;
/// And by so much in any case, for values near zero.
const ABSOLUTE: f64 = 1e-4;

/// Runs the model on made-up rows; says whether rows may share a run.
///
/// # Errors
/// Of the run of a single row: a model that cannot do that is not served.
pub(super) fn batching(model: &dyn Model, free: usize) -> Result<Batching, EngineError> {
    let signature = model.signature();
    let first = samples::inputs(signature, 1, free, 1)?;
    let first_out = model.run(&first)?;
    if !signature.batched {
        return Ok(Batching::Alone { reason: "the first dimension of the inputs is fixed".to_owned() });
    }
    let second = samples::inputs(signature, 1, free, 2)?;
    let second_out = model.run(&second)?;
    let together =
        first.iter().zip(&second).map(|(first, second)| stack_rows(&[first, second])).collect::<Result<Vec<_>, _>>()?;
    Ok(match compare(model.run(&together), &first_out, &second_out) {
        Ok(()) => Batching::Rows,
        Err(reason) => Batching::Alone { reason },
    })
}

fn compare(together: Result<Vec<Tensor>, EngineError>, first: &[Tensor], second: &[Tensor]) -> Result<(), String> {
    let together = together.map_err(|error| format!("two rows at once fail: {error}"))?;
    for (output, (first, second)) in together.iter().zip(first.iter().zip(second)) {
        if output.shape().first() != Some(&2) {
            return Err(format!("output `{}` does not have a row per input row", output.name()));
        }
        let rows = split_rows(output, &[1, 1]).map_err(|error| error.to_string())?;
        for (row, alone) in rows.iter().zip([first, second]) {
            if !agree(row, alone) {
                return Err(format!("output `{}` of a row depends on the rows beside it", output.name()));
            }
        }
    }
    Ok(())
}

fn agree(one: &Tensor, other: &Tensor) -> bool {
    if one.shape() != other.shape() || one.data_type() != other.data_type() {
        return false;
    }
    match (floats(one), floats(other)) {
        (Some(one), Some(other)) => one.iter().zip(&other).all(|(a, b)| {
            (a - b).abs() <= ABSOLUTE + RELATIVE * a.abs().max(b.abs())
                // NaN and infinities must be the same on both sides.
                || a.to_bits() == b.to_bits()
                || (a.is_nan() && b.is_nan())
        }),
        _ => one.bytes() == other.bytes(),
    }
}

fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.data_type() {
        DataType::Fp32 => Some(tensor.as_f32()?.into_iter().map(f64::from).collect()),
        DataType::Fp64 => Some(tensor.contents().ok()?.fp64_contents),
        // Half precision is compared by its bits through single precision's exponent: ten bits of fraction are coarser
        // than the tolerance, so equal bits or not is answered after widening.
        DataType::Fp16 => {
            Some(tensor.bytes().as_chunks::<2>().0.iter().map(|half| widen(u16::from_le_bytes(*half))).collect())
        }
        _ => None,
    }
}

/// IEEE 754 half precision to double.
fn widen(half: u16) -> f64 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((half >> 10) & 0x1f);
    let fraction = f64::from(half & 0x3ff) / 1024.0;
    match exponent {
        0 => sign * fraction * 2_f64.powi(-14),
        0x1f if fraction == 0.0 => sign * f64::INFINITY,
        0x1f => f64::NAN,
        _ => sign * (1.0 + fraction) * 2_f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{Signature, TensorSpec};

    #[derive(Debug)]
    struct Double {
        signature: Signature,
        run: fn(&[Tensor]) -> Result<Vec<Tensor>, EngineError>,
    }

    impl Model for Double {
        fn platform(&self) -> &'static str {
            "double"
        }
        fn signature(&self) -> &Signature {
            &self.signature
        }
        fn batching(&self) -> &Batching {
            &Batching::Rows
        }
        fn plan(&self) -> String {
            String::new()
        }
        fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
            (self.run)(inputs)
        }
    }

    fn probed(shape: &[i64], run: fn(&[Tensor]) -> Result<Vec<Tensor>, EngineError>) -> Result<Batching, EngineError> {
        let signature = Signature::new(
            vec![TensorSpec { name: "x".into(), data_type: DataType::Fp32, shape: shape.to_vec() }],
            vec![],
        );
        batching(&Double { signature, run }, 1)
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

    #[test]
    fn half_precision_widens_to_the_same_number() {
        for (bits, value) in [
            (0x3c00_u16, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_953_125),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x7c00, f64::INFINITY),
        ] {
            assert!((widen(bits) - value).abs() < 1e-12 || widen(bits) == value, "{bits:x}");
        }
        assert!(widen(0x7e00).is_nan());
    }
}

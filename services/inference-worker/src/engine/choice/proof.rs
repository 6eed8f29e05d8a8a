//! The gate: an engine proves itself on the model before it serves it.

use crate::engine::golden::Golden;
use crate::engine::{Engine, EngineError, LoadOptions, Model, Tolerance, compare, guarded, probe, samples};

use super::Chosen;

/// Rows of made-up inputs on which two engines are compared: one, and a few that no engine pads the same.
pub(super) const COMPARED_ROWS: [usize; 2] = [1, 3];

/// Different inputs of each size.
const COMPARED_VARIANTS: u32 = 3;

/// Loads on this engine and tries the golden vectors, with this tolerance where they name none.
pub(super) fn admitted(
    engine: &dyn Engine,
    artifact: &[u8],
    options: &LoadOptions,
    golden: Option<&Golden>,
    tolerance: Tolerance,
) -> Result<Chosen, EngineError> {
    let model = engine.load(artifact, options)?;
    let mut reason = String::new();
    if let Some(golden) = golden {
        guarded("running the golden vectors", || golden.check(model.as_ref(), tolerance))?;
        reason = format!("{} golden vectors are right", golden.len());
    }
    let (gpu, device_reason) = (None, String::new());
    Ok(Chosen { model, engine: engine.name(), reason, gpu, device_reason, threads: options.threads })
}

/// Runs both on the same made-up inputs, in batches of so many rows; says on how many they agreed: on none where no such input suits
/// the model.
///
/// # Errors
/// [`EngineError::Differs`], and the engine's own where it cannot run what the oracle can.
pub(super) fn same_answers(
    oracle: &dyn Model,
    name: &str,
    model: &dyn Model,
    rows: &[usize],
    tolerance: Tolerance,
) -> Result<usize, EngineError> {
    let signature = model.signature();
    let rows = if signature.batched { rows } else { &rows[..1] };
    for &free in probe::free_sizes(signature) {
        let mut agreed = 0;
        for &rows in rows {
            for variant in 1..=COMPARED_VARIANTS {
                let inputs = samples::inputs(signature, rows, free, variant)?;
                // What the oracle does not take proves nothing about the other.
                let Ok(expected) = oracle.run(&[&inputs]) else { continue };
                let found = model.run(&[&inputs])?;
                for (expected, found) in expected.iter().zip(&found) {
                    compare::tensors(expected, found, tolerance).map_err(|difference| EngineError::Differs {
                        from: format!("{name} on made-up inputs"),
                        difference: Box::new(difference),
                    })?;
                }
                agreed += 1;
            }
        }
        if agreed > 0 {
            return Ok(agreed);
        }
    }
    Ok(0)
}

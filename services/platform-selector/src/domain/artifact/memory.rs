//! What one loaded copy of a model is expected to need, beside the process that loads it.
//!
//! `2 × weights + 16 × largest tensor of one row`, where free dimensions count as one.
//!
//! - 2 × weights: the engine keeps its own, packed copy while the file's is still there. Measured on the engine, without the
//!   6 MiB of the empty process: ResNet-50 (98 MiB of weights) 184 to 201 MiB, MiniLM (87 MiB) 139 MiB, a small perceptron
//!   9 MiB; the formula gives 204, 173 and next to nothing.
//! - 16 × largest tensor: inputs, outputs and what lies between them, for one row. Batches need more; how much is measured at
//!   deploy, on the engine that serves.
//!
//! It is an estimate to plan with, meant to be above the truth for models that matter. What is measured at deploy replaces it.

/// The estimate in bytes.
pub(super) fn estimate(weight_bytes: u64, largest_row_bytes: u64) -> u64 {
    weight_bytes.saturating_mul(2).saturating_add(largest_row_bytes.saturating_mul(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_above_what_was_measured_and_within_half_of_it() {
        // Weights in bytes, largest tensor of one row in bytes, measured in MiB.
        for (weights, row, measured) in [(102_228_128, 602_112, 201), (90_900_000, 1_536, 139)] {
            let estimate = estimate(weights, row) >> 20;
            assert!((measured..measured * 3 / 2).contains(&estimate), "{estimate} against {measured}");
        }
    }

    #[test]
    fn it_never_wraps_around() {
        assert_eq!(estimate(u64::MAX, u64::MAX), u64::MAX);
    }
}

//! What one loaded copy of a model is expected to need.
//!
//! `32 MiB + 2 × weights + 16 × largest tensor of one row`, where free dimensions count as one.
//!
//! - 32 MiB: the worker without a model (threads, TLS, gRPC, the broker's connection).
//! - 2 × weights: the engine keeps its own, packed copy while the file's is still there. Measured on the engine alone, with
//!   6 MiB taken by the empty process: ResNet-50 (98 MiB of weights) 190 to 207 MiB, MiniLM (87 MiB) 145 MiB, a small
//!   perceptron 15 MiB; the formula gives 238, 206 and 32.
//! - 16 × largest tensor: inputs, outputs and what lies between them, for one row. Batches need more; how much is measured at
//!   deploy, on the engine that serves.
//!
//! It is an estimate to plan with, meant to be above the truth. What is measured at deploy replaces it.

/// The worker without a model.
pub(super) const BASE_BYTES: u64 = 32 << 20;

/// The estimate in bytes.
pub(super) fn estimate(weight_bytes: u64, largest_row_bytes: u64) -> u64 {
    BASE_BYTES
        .saturating_add(weight_bytes.saturating_mul(2))
        .saturating_add(largest_row_bytes.saturating_mul(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_above_what_was_measured_and_within_half_of_it() {
        let mebibytes = |bytes: u64| bytes >> 20;
        // (weights in bytes, largest tensor of one row in bytes, measured MiB with the worker's base instead of the engine's)
        for (weights, row, measured) in [(102_228_128, 602_112, 207 + 26), (90_900_000, 1_536, 145 + 26)] {
            let estimate = mebibytes(estimate(weights, row));
            assert!((measured..measured * 3 / 2).contains(&estimate), "{estimate} against {measured}");
        }
    }

    #[test]
    fn it_never_wraps_around() {
        assert_eq!(estimate(u64::MAX, u64::MAX), u64::MAX);
    }
}

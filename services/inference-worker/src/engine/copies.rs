//! How many bytes of tensors are copied on the way into an engine and out of it.
//!
//! A tensor crosses the worker without being copied until the engine writes it into its own buffer, once; what comes out is
//! copied at most once, and each request gets a slice of it. The tally is there so that a test fails when that changes.

use std::cell::Cell;

/// Bytes copied by this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// From requests into buffers of the engine, padding included.
    pub inward: u64,
    /// From buffers of the engine into answers.
    pub outward: u64,
}

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally { inward: 0, outward: 0 }) };
}

/// What this thread has copied since it asked last.
pub fn take() -> Tally {
    TALLY.take()
}

pub(super) fn into_engine(bytes: usize) {
    add(|tally| tally.inward += bytes as u64);
}

pub(super) fn out_of_engine(bytes: usize) {
    add(|tally| tally.outward += bytes as u64);
}

fn add(change: impl FnOnce(&mut Tally)) {
    let mut tally = TALLY.get();
    change(&mut tally);
    TALLY.set(tally);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use slipway_proto::oip::{DataType, Tensor};

    use super::*;
    use crate::engine::onnxruntime::OnnxRuntime;
    use crate::engine::tract::{TractEngine, fixtures};
    use crate::engine::{Engine, LoadOptions, Planning, split_rows};

    const WIDTH: usize = 4;
    const ROW: u64 = WIDTH as u64 * 4;

    /// Rows as they come from the wire: somewhere in a larger buffer, at an address that fits no number.
    fn unaligned(rows: usize) -> [Tensor; 1] {
        let values = (0..rows * WIDTH).flat_map(|value| (value as f32).to_le_bytes());
        let message = Bytes::from_iter(std::iter::once(0xff).chain(values));
        let tensor = Tensor::new("x", DataType::Fp32, vec![rows, WIDTH], message.slice(1..)).unwrap();
        assert!(!tensor.bytes().as_ptr().cast::<f32>().is_aligned());
        [tensor]
    }

    fn copied_once(engine: &dyn Engine, planning: Planning, padded: impl Fn(usize) -> usize) {
        let options = LoadOptions { planning, ..LoadOptions::default() };
        let model = engine.load(&fixtures::bytes(&fixtures::scale()), &options).unwrap();
        for sizes in [&[1][..], &[3], &[1, 1], &[2, 1, 3], &[1; 8]] {
            let total: usize = sizes.iter().sum();
            let requests: Vec<_> = sizes.iter().map(|&rows| unaligned(rows)).collect();
            let inputs: Vec<&[Tensor]> = requests.iter().map(<[Tensor; 1]>::as_slice).collect();
            take();
            let outputs = model.run(&inputs).unwrap();
            let parts = split_rows(&outputs[0], sizes).unwrap();
            let tally = take();
            let name = engine.name();
            assert_eq!(tally.inward, ROW * padded(total) as u64, "{name}, {sizes:?}");
            assert!(tally.outward <= ROW * total as u64, "{name}, {sizes:?}: {tally:?}");
            // What each request gets is a piece of the one output, not a copy of it.
            let whole = outputs[0].bytes().as_ptr_range();
            for (part, request) in parts.iter().zip(&requests) {
                assert!(whole.contains(&part.bytes().as_ptr()), "{name}");
                let expected: Vec<f32> =
                    request[0].as_f32().unwrap().iter().enumerate().map(|(i, x)| x * (i % WIDTH + 1) as f32).collect();
                assert_eq!(part.as_f32().unwrap(), expected, "{name}");
            }
        }
    }

    #[test]
    fn tract_copies_each_input_once_and_no_output() {
        copied_once(&TractEngine, Planning::Symbolic, |rows| rows);
        copied_once(&TractEngine, Planning::Buckets, usize::next_power_of_two);
    }

    #[test]
    fn onnx_runtime_copies_each_input_once_and_each_output_once() {
        copied_once(&OnnxRuntime::open(None).unwrap(), Planning::Measured, |rows| rows);
    }
}

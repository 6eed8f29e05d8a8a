//! Golden rows as requests of the Open Inference Protocol (v2, JSON).

use super::read::{Row, RowTensor, is_batched};
use slipway_kernel::TensorSpec;
use std::fmt::Write;

/// Positions of rows that go into one request: at most `most`, neighbours of the same shape, one each for a model without a
/// batch dimension.
#[must_use]
pub fn batches(rows: &[Row], inputs: &[TensorSpec], most: usize) -> Vec<std::ops::Range<usize>> {
    let most = if is_batched(inputs) { most.max(1) } else { 1 };
    let mut batches: Vec<std::ops::Range<usize>> = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        match batches.last_mut() {
            Some(batch) if batch.len() < most && same_shape(&rows[batch.start], row) => batch.end = n + 1,
            _ => batches.push(n..n + 1),
        }
    }
    batches
}

fn same_shape(a: &Row, b: &Row) -> bool {
    a.inputs.iter().map(|tensor| &tensor.shape).eq(b.inputs.iter().map(|tensor| &tensor.shape))
}

/// The body of a request with these rows, which are of the same shape.
#[must_use]
pub fn body(rows: &[Row], inputs: &[TensorSpec]) -> String {
    let columns: Vec<Vec<&RowTensor>> =
        (0..inputs.len()).map(|n| rows.iter().filter_map(|row| row.inputs.get(n)).collect()).collect();
    write(inputs, &columns)
}

/// The body of a request with one row of zeros (empty texts, `false`), where there are no golden rows. Open sizes are 1.
#[must_use]
pub fn blank(inputs: &[TensorSpec]) -> String {
    let batched = is_batched(inputs);
    let tensors: Vec<RowTensor> = inputs
        .iter()
        .map(|spec| {
            let sizes = if batched { &spec.shape[1..] } else { &spec.shape[..] };
            let shape: Vec<usize> = sizes.iter().map(|size| usize::try_from(*size).unwrap_or(1)).collect();
            let zero = match spec.datatype.as_str() {
                "BYTES" => "\"\"",
                "BOOL" => "false",
                _ => "0",
            };
            RowTensor { elements: vec![zero; shape.iter().product()].join(","), shape }
        })
        .collect();
    let columns: Vec<Vec<&RowTensor>> = tensors.iter().map(|tensor| vec![tensor]).collect();
    write(inputs, &columns)
}

fn write(inputs: &[TensorSpec], columns: &[Vec<&RowTensor>]) -> String {
    let batched = is_batched(inputs);
    let mut body = String::from("{\"inputs\":[");
    for (n, (spec, column)) in inputs.iter().zip(columns).enumerate() {
        let mut shape: Vec<usize> = if batched { vec![column.len()] } else { Vec::new() };
        shape.extend(column.first().map(|tensor| tensor.shape.as_slice()).unwrap_or_default());
        let name = serde_json::Value::from(spec.name.as_str());
        let comma = if n == 0 { "" } else { "," };
        // Writing into a String cannot fail.
        let _ =
            write!(body, "{comma}{{\"name\":{name},\"datatype\":\"{}\",\"shape\":{shape:?},\"data\":[", spec.datatype);
        for (row, tensor) in column.iter().enumerate() {
            if row > 0 {
                body.push(',');
            }
            body.push_str(&tensor.elements);
        }
        body.push_str("]}");
    }
    body.push_str("]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn spec(shape: &[i32]) -> Vec<TensorSpec> {
        vec![TensorSpec { name: "X".into(), datatype: "FP32".into(), shape: shape.to_vec() }]
    }

    fn row(shape: &[usize], elements: &str) -> Row {
        Row { inputs: vec![RowTensor { shape: shape.to_vec(), elements: elements.into() }], expected: BTreeMap::new() }
    }

    #[test]
    fn rows_become_one_request() {
        let rows = [row(&[2], "1,2"), row(&[2], "3,4.5")];
        let body: Value = serde_json::from_str(&body(&rows, &spec(&[-1, 2]))).unwrap();
        let wanted =
            json!({ "inputs": [{ "name": "X", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4.5] }] });
        assert_eq!(body, wanted);
    }

    #[test]
    fn a_model_without_a_batch_gets_one_row_at_a_time() {
        let rows = [row(&[2], "1,2"), row(&[2], "3,4")];
        assert_eq!(batches(&rows, &spec(&[2]), 8), [0..1, 1..2]);
        let body: Value = serde_json::from_str(&body(&rows[..1], &spec(&[2]))).unwrap();
        assert_eq!(body["inputs"][0]["shape"], json!([2]));
    }

    #[test]
    fn rows_of_different_shape_never_share_a_request() {
        let rows = [row(&[2], "1,2"), row(&[2], "1,2"), row(&[3], "1,2,3"), row(&[2], "1,2"), row(&[2], "1,2")];
        assert_eq!(batches(&rows, &spec(&[-1, -1]), 8), [0..2, 2..3, 3..5]);
        assert_eq!(batches(&rows[..2], &spec(&[-1, -1]), 1), [0..1, 1..2]);
    }

    #[test]
    fn a_blank_row_fits_the_signature() {
        let inputs = vec![
            TensorSpec { name: "X".into(), datatype: "INT64".into(), shape: vec![-1, 2, -1] },
            TensorSpec { name: "T".into(), datatype: "BYTES".into(), shape: vec![-1] },
        ];
        let body: Value = serde_json::from_str(&blank(&inputs)).unwrap();
        assert_eq!(body["inputs"][0]["shape"], json!([1, 2, 1]));
        assert_eq!(body["inputs"][0]["data"], json!([0, 0]));
        assert_eq!(body["inputs"][1], json!({ "name": "T", "datatype": "BYTES", "shape": [1], "data": [""] }));
    }
}

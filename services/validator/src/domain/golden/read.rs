//! Reading golden rows against the model's signature.

use serde::Deserialize;
use serde_json::Value;
use slipway_kernel::TensorSpec;
use std::collections::BTreeMap;

/// One row of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowTensor {
    /// Its shape without the batch dimension (with it, for a model that has none).
    pub shape: Vec<usize>,
    /// Its elements as they stand in a JSON array, without the brackets. Text, because they are only ever sent again.
    pub elements: String,
}

/// One golden row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Tensors in the order of the signature.
    pub inputs: Vec<RowTensor>,
    /// Flat values by output.
    pub expected: BTreeMap<String, Vec<Value>>,
}

/// Why the golden file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoldenError {
    /// It holds no row.
    #[error("the golden file holds no row")]
    Empty,
    /// It is no text.
    #[error("the golden file is not UTF-8")]
    NotText,
    /// A line is no row.
    #[error("line {line} of the golden file is no row: {reason}")]
    Line {
        /// Line, from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// A row does not fit the model.
    #[error("line {line} of the golden file does not fit the model: {reason}")]
    Misfit {
        /// Line, from 1.
        line: usize,
        /// Why.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    inputs: BTreeMap<String, Value>,
    expected: BTreeMap<String, Value>,
}

/// Whether the first dimension of every input is free: the batch.
#[must_use]
pub(super) fn is_batched(inputs: &[TensorSpec]) -> bool {
    !inputs.is_empty() && inputs.iter().all(|input| input.shape.first().is_some_and(|size| *size < 0))
}

/// Reads at most `most` rows, spread evenly over the file; every line is checked to be a row.
///
/// # Errors
/// The first line that is no row or does not fit.
pub fn read(file: &[u8], inputs: &[TensorSpec], most: usize) -> Result<Vec<Row>, GoldenError> {
    let text = std::str::from_utf8(file).map_err(|_| GoldenError::NotText)?;
    let lines: Vec<(usize, &str)> =
        text.lines().enumerate().map(|(n, line)| (n + 1, line)).filter(|(_, line)| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return Err(GoldenError::Empty);
    }
    let kept = lines.len().min(most.max(1));
    let chosen = (0..kept).map(|n| lines[n * lines.len() / kept]);
    chosen.map(|(number, line)| row(number, line, inputs)).collect()
}

fn row(line: usize, text: &str, inputs: &[TensorSpec]) -> Result<Row, GoldenError> {
    let mut parsed: Line =
        serde_json::from_str(text).map_err(|error| GoldenError::Line { line, reason: error.to_string() })?;
    let misfit = |reason: String| GoldenError::Misfit { line, reason };
    let batched = is_batched(inputs);
    let tensors = inputs
        .iter()
        .map(|spec| {
            let value =
                parsed.inputs.remove(&spec.name).ok_or_else(|| misfit(format!("input `{}` is missing", spec.name)))?;
            tensor(spec, &value, batched).map_err(misfit)
        })
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(name) = parsed.inputs.keys().next() {
        return Err(misfit(format!("the model has no input `{name}`")));
    }
    if parsed.expected.is_empty() {
        return Err(misfit("nothing is expected".to_owned()));
    }
    let expected = parsed.expected.iter().map(|(name, value)| (name.clone(), flat(value))).collect();
    Ok(Row { inputs: tensors, expected })
}

fn tensor(spec: &TensorSpec, value: &Value, batched: bool) -> Result<RowTensor, String> {
    let wanted = if batched { &spec.shape[1..] } else { &spec.shape[..] };
    let elements = flat(value);
    let fixed: Option<Vec<usize>> = wanted.iter().map(|size| usize::try_from(*size).ok()).collect();
    // Where the model leaves a size open, the nesting of the row says what it is.
    let shape = fixed.unwrap_or_else(|| nesting(value));
    let count: usize = shape.iter().product();
    if count != elements.len() || shape.len() != wanted.len() {
        return Err(format!("input `{}` has {} elements where the model takes {wanted:?}", spec.name, elements.len()));
    }
    if let Some(odd) = elements.iter().find(|element| !fits(&spec.datatype, element)) {
        return Err(format!("input `{}` is {} and holds {odd}", spec.name, spec.datatype));
    }
    let text: Vec<String> = elements.iter().map(Value::to_string).collect();
    Ok(RowTensor { shape, elements: text.join(",") })
}

fn fits(datatype: &str, element: &Value) -> bool {
    match datatype {
        "BYTES" => element.is_string(),
        "BOOL" => element.is_boolean(),
        _ => element.is_number(),
    }
}

fn nesting(value: &Value) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut inner = value;
    while let Value::Array(items) = inner {
        sizes.push(items.len());
        let Some(first) = items.first() else { break };
        inner = first;
    }
    sizes
}

/// The elements of nested arrays, in order; of a single value, that value.
pub(super) fn flat(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        single => vec![single.clone()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(shape: &[i32]) -> Vec<TensorSpec> {
        vec![TensorSpec { name: "X".into(), datatype: "FP32".into(), shape: shape.to_vec() }]
    }

    #[test]
    fn rows_are_read_flat_or_nested() {
        let file = br#"{"inputs":{"X":[1,2.5,0,4]},"expected":{"label":3,"p":[0.1,0.9]}}

{"inputs":{"X":[[1,2.5],[0,4]]},"expected":{"label":3}}
"#;
        let rows = read(file, &spec(&[-1, 2, 2]), 10).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].inputs, rows[1].inputs);
        assert_eq!(rows[0].inputs[0], RowTensor { shape: vec![2, 2], elements: "1,2.5,0,4".into() });
        assert_eq!(rows[0].expected["p"].len(), 2);
    }

    #[test]
    fn an_open_size_is_taken_from_the_nesting() {
        let file = br#"{"inputs":{"X":[[1,2,3],[4,5,6]]},"expected":{"y":1}}"#;
        assert_eq!(read(file, &spec(&[-1, -1, -1]), 10).unwrap()[0].inputs[0].shape, [2, 3]);
        assert_eq!(read(file, &spec(&[2, 3]), 10).unwrap()[0].inputs[0].shape, [2, 3]);
    }

    #[test]
    fn rows_are_taken_evenly_from_a_long_file() {
        let line = |n: u32| format!("{{\"inputs\":{{\"X\":[{n}]}},\"expected\":{{\"y\":{n}}}}}\n");
        let file: String = (0..100).map(line).collect();
        let rows = read(file.as_bytes(), &spec(&[-1, 1]), 10).unwrap();
        let taken: Vec<&str> = rows.iter().map(|row| row.inputs[0].elements.as_str()).collect();
        assert_eq!(taken, ["0", "10", "20", "30", "40", "50", "60", "70", "80", "90"]);
    }

    #[test]
    fn what_is_no_row_of_this_model_is_refused_with_its_line() {
        let line = |text: &str| read(text.as_bytes(), &spec(&[-1, 2]), 10).unwrap_err().to_string();
        assert_eq!(read(b"\n \n", &spec(&[-1, 2]), 10), Err(GoldenError::Empty));
        assert_eq!(read(&[0xff, 0xfe], &spec(&[-1, 2]), 10), Err(GoldenError::NotText));
        for (text, part) in [
            ("{}", "missing field"),
            ("[]", "line 1"),
            (r#"{"inputs":{"X":[1,2]},"expected":{"y":1},"more":1}"#, "unknown field"),
            (r#"{"inputs":{"X":[1,2]},"expected":{}}"#, "nothing is expected"),
            (r#"{"inputs":{"Y":[1,2]},"expected":{"y":1}}"#, "input `X` is missing"),
            (r#"{"inputs":{"X":[1,2],"Z":1},"expected":{"y":1}}"#, "no input `Z`"),
            (r#"{"inputs":{"X":[1,2,3]},"expected":{"y":1}}"#, "3 elements"),
            (r#"{"inputs":{"X":[1,"a"]},"expected":{"y":1}}"#, "FP32 and holds \"a\""),
        ] {
            assert!(line(text).contains(part), "{text}: {}", line(text));
        }
    }
}

//! An answer of the Open Inference Protocol (v2, JSON), cut into rows.

use super::read::flat;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One output.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Whether its numbers are floating-point: compared with the tolerance, not for equality.
    pub is_float: bool,
    /// Its elements by row.
    pub rows: Vec<Vec<Value>>,
}

/// The outputs by name.
pub type Answers = BTreeMap<String, Column>;

#[derive(Deserialize)]
struct Body {
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    datatype: String,
    data: Value,
}

/// Reads an answer to a request of `rows` rows.
///
/// # Errors
/// A sentence: it is no answer of the protocol, or holds another number of rows.
pub fn read_answers(body: &[u8], rows: usize) -> Result<Answers, String> {
    let body: Body = serde_json::from_slice(body).map_err(|error| format!("not an answer of the protocol: {error}"))?;
    let mut answers = Answers::new();
    for output in body.outputs {
        let elements = flat(&output.data);
        if rows == 0 || !elements.len().is_multiple_of(rows) || elements.is_empty() {
            return Err(format!("output `{}` has {} elements for {rows} rows", output.name, elements.len()));
        }
        let each = elements.len() / rows;
        let is_float = matches!(output.datatype.as_str(), "FP16" | "BF16" | "FP32" | "FP64");
        answers.insert(output.name, Column { is_float, rows: elements.chunks(each).map(<[Value]>::to_vec).collect() });
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_cut_into_rows() {
        let body = json!({ "model_name": "m", "outputs": [
            { "name": "label", "datatype": "INT64", "shape": [2], "data": [3, 4] },
            { "name": "p", "datatype": "FP32", "shape": [2, 2], "data": [0.1, 0.9, 0.2, 0.8] },
        ] });
        let answers = read_answers(body.to_string().as_bytes(), 2).unwrap();
        assert_eq!(answers["label"].rows, [[json!(3)], [json!(4)]]);
        assert!(answers["p"].is_float && !answers["label"].is_float);
        assert_eq!(answers["p"].rows[1], [json!(0.2), json!(0.8)]);
    }

    #[test]
    fn another_number_of_rows_is_no_answer() {
        let body = json!({ "outputs": [{ "name": "y", "datatype": "FP32", "shape": [3], "data": [1, 2, 3] }] });
        assert!(read_answers(body.to_string().as_bytes(), 2).is_err());
        assert!(read_answers(b"{}", 1).is_err());
        assert!(read_answers(b"oops", 1).is_err());
    }
}

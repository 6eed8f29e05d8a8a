//! Golden vectors: requests with the answers they must get, tried on the engine that will serve.
//!
//! One line is one request and its answer, both as the JSON of the Open Inference Protocol:
//!
//! ```json
//! {"request": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]},
//!  "response": {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [3]}]},
//!  "tolerance": {"relative": 0.001, "absolute": 0.0001}}
//! ```
//!
//! The tolerance may be left out. An answer may hold fewer outputs than the model gives: only those are compared.

use half::f16;
use serde::Deserialize;
use serde_json::Value;
use slipway_proto::oip::{DataType, Tensor, join_bytes_elements};

use super::{EngineError, Model, Tolerance, compare};
use crate::signature::Signature;

/// More lines than this prove nothing more, and a deployment waits for each.
const MAX_VECTORS: usize = 1_000;

/// Requests and their answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    vectors: Vec<Vector>,
}

#[derive(Debug, Clone, PartialEq)]
struct Vector {
    line: usize,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    tolerance: Tolerance,
}

#[derive(Deserialize)]
struct Line {
    request: Request,
    response: Response,
    #[serde(default)]
    tolerance: Tolerance,
}

#[derive(Deserialize)]
struct Request {
    inputs: Vec<Element>,
}

#[derive(Deserialize)]
struct Response {
    outputs: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    data: Value,
}

impl Golden {
    /// Reads a file.
    ///
    /// # Errors
    /// [`EngineError::GoldenUnreadable`] with the line.
    pub fn read(file: &[u8]) -> Result<Self, EngineError> {
        let unreadable = |line: usize, reason: &dyn std::fmt::Display| EngineError::GoldenUnreadable {
            line,
            reason: reason.to_string(),
        };
        let text = std::str::from_utf8(file).map_err(|error| unreadable(0, &error))?;
        let mut vectors = Vec::new();
        for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            let line = index + 1;
            if vectors.len() == MAX_VECTORS {
                return Err(unreadable(line, &format!("{MAX_VECTORS} requests are the most")));
            }
            let Line { request, response, tolerance } =
                serde_json::from_str(text).map_err(|error| unreadable(line, &error))?;
            let all = |elements: Vec<Element>| elements.iter().map(tensor).collect::<Result<Vec<_>, _>>();
            let inputs = all(request.inputs).map_err(|reason| unreadable(line, &reason))?;
            let outputs = all(response.outputs).map_err(|reason| unreadable(line, &reason))?;
            if outputs.is_empty() {
                return Err(unreadable(line, &"there is nothing to compare with"));
            }
            vectors.push(Vector { line, inputs, outputs, tolerance });
        }
        if vectors.is_empty() {
            return Err(unreadable(0, &"there is no line"));
        }
        Ok(Self { vectors })
    }

    /// How many requests there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Whether there are none, which [`Self::read`] refuses.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// Runs every request and compares.
    ///
    /// # Errors
    /// [`EngineError::GoldenUnreadable`] where a line is not for this model, [`EngineError::Differs`] at the first wrong
    /// number, and the engine's own.
    pub fn check(&self, model: &dyn Model) -> Result<(), EngineError> {
        self.vectors.iter().try_for_each(|vector| vector.check(model))
    }
}

impl Vector {
    fn check(&self, model: &dyn Model) -> Result<(), EngineError> {
        let foreign = |reason: String| EngineError::GoldenUnreadable { line: self.line, reason };
        let inputs = in_order(&self.inputs, model.signature()).map_err(foreign)?;
        let found = model.run(&[&inputs])?;
        for expected in &self.outputs {
            let found = found
                .iter()
                .find(|output| output.name() == expected.name())
                .ok_or_else(|| foreign(format!("the model has no output `{}`", expected.name())))?;
            compare::tensors(expected, found, self.tolerance).map_err(|difference| EngineError::Differs {
                from: format!("line {} of the golden vectors", self.line),
                difference: Box::new(difference),
            })?;
        }
        Ok(())
    }
}

/// The inputs in the model's order. An engine must never see others than those that it declares.
fn in_order(inputs: &[Tensor], signature: &Signature) -> Result<Vec<Tensor>, String> {
    let fits = |spec: &crate::signature::TensorSpec, tensor: &Tensor| {
        spec.data_type == tensor.data_type()
            && spec.shape.len() == tensor.shape().len()
            && spec.shape.iter().zip(tensor.wire_shape()).all(|(&wanted, found)| wanted < 0 || wanted == found)
    };
    if inputs.len() != signature.inputs.len() {
        return Err(format!("{} inputs where the model takes {}", inputs.len(), signature.inputs.len()));
    }
    signature
        .inputs
        .iter()
        .map(|spec| {
            let found = inputs
                .iter()
                .find(|tensor| tensor.name() == spec.name)
                .ok_or_else(|| format!("input `{}` is missing", spec.name))?;
            if fits(spec, found) {
                return Ok(found.clone());
            }
            Err(format!(
                "input `{}` is {} {:?} where the model takes {} {:?}",
                spec.name,
                found.data_type(),
                found.shape(),
                spec.data_type,
                spec.shape
            ))
        })
        .collect()
}

fn tensor(element: &Element) -> Result<Tensor, String> {
    let data_type: DataType = element.datatype.parse().map_err(|error| format!("`{}`: {error}", element.name))?;
    let mut values = Vec::new();
    flatten(&element.data, &mut values);
    let raw = raw(data_type, &values).map_err(|reason| format!("`{}`: {reason}", element.name))?;
    Tensor::new(&element.name, data_type, element.shape.clone(), raw.into()).map_err(|error| error.to_string())
}

/// Data may be nested by its shape or flat; the protocol allows both.
fn flatten<'a>(data: &'a Value, into: &mut Vec<&'a Value>) {
    match data {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
        value => into.push(value),
    }
}

fn raw(data_type: DataType, values: &[&Value]) -> Result<Vec<u8>, String> {
    macro_rules! integers {
        ($kind:ty, $read:ident) => {
            each(values, data_type, |value| {
                let number = <$kind>::try_from(value.$read()?).ok()?;
                Some(number.to_le_bytes())
            })
        };
    }
    match data_type {
        DataType::Bool => each(values, data_type, |value| value.as_bool().map(|value| [u8::from(value)])),
        DataType::Int8 => integers!(i8, as_i64),
        DataType::Int16 => integers!(i16, as_i64),
        DataType::Int32 => integers!(i32, as_i64),
        DataType::Int64 => integers!(i64, as_i64),
        DataType::Uint8 => integers!(u8, as_u64),
        DataType::Uint16 => integers!(u16, as_u64),
        DataType::Uint32 => integers!(u32, as_u64),
        DataType::Uint64 => integers!(u64, as_u64),
        DataType::Fp16 => each(values, data_type, |value| Some(f16::from_f64(value.as_f64()?).to_le_bytes())),
        DataType::Fp32 => each(values, data_type, |value| Some((value.as_f64()? as f32).to_le_bytes())),
        DataType::Fp64 => each(values, data_type, |value| Some(value.as_f64()?.to_le_bytes())),
        DataType::Bytes => {
            let texts: Option<Vec<&[u8]>> = values.iter().map(|value| value.as_str().map(str::as_bytes)).collect();
            let texts = texts.ok_or_else(|| "a value is no string".to_owned())?;
            join_bytes_elements(texts).map_err(|problem| problem.to_string())
        }
    }
}

fn each<const SIZE: usize>(
    values: &[&Value],
    data_type: DataType,
    read: impl Fn(&Value) -> Option<[u8; SIZE]>,
) -> Result<Vec<u8>, String> {
    let mut raw = Vec::with_capacity(values.len() * SIZE);
    for value in values {
        raw.extend(read(value).ok_or_else(|| format!("{value} is no {data_type}"))?);
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tract::{TractEngine, fixtures};
    use crate::engine::{Engine as _, LoadOptions};

    fn scale() -> Box<dyn Model> {
        TractEngine.load(&fixtures::bytes(&fixtures::scale()), &LoadOptions::default()).unwrap()
    }

    fn line(input: &str, output: &str) -> String {
        format!(r#"{{"request":{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,4],"data":{input}}}]}},"#)
            + &format!(r#""response":{{"outputs":[{{"name":"y","datatype":"FP32","shape":[1,4],"data":{output}}}]}}}}"#)
    }

    #[test]
    fn right_answers_pass_whether_nested_or_flat() {
        let text = line("[1,1,1,1]", "[1,2,3,4]") + "\n\n" + &line("[[2,0,0,1]]", "[[2,0,0,4.00001]]") + "\n";
        let golden = Golden::read(text.as_bytes()).unwrap();
        assert_eq!(golden.len(), 2);
        assert_eq!(golden.check(scale().as_ref()), Ok(()));
    }

    #[test]
    fn a_wrong_answer_names_line_tensor_element_both_values_and_tolerance() {
        let text = line("[1,1,1,1]", "[1,2,3,4]") + "\n" + &line("[1,1,1,1]", "[1,2,30,4]");
        let error = Golden::read(text.as_bytes()).unwrap().check(scale().as_ref()).unwrap_err();
        assert!(matches!(error, EngineError::Differs { .. }));
        assert_eq!(
            error.to_string(),
            "the outputs are wrong, by line 2 of the golden vectors: `y` element 2: 3 where 30 is expected (tolerance \
             0.001 relative, 0.0001 absolute)"
        );
    }

    #[test]
    fn a_line_may_bring_its_own_tolerance() {
        let text = line("[1,1,1,1]", "[1,2,3.5,4]");
        let wide = text.replacen('{', r#"{"tolerance":{"absolute":0.6},"#, 1);
        assert_eq!(Golden::read(wide.as_bytes()).unwrap().check(scale().as_ref()), Ok(()));
        assert!(Golden::read(text.as_bytes()).unwrap().check(scale().as_ref()).is_err());
    }

    #[test]
    fn what_is_not_for_this_model_is_told_from_a_wrong_answer() {
        for (wrong, reason) in [
            (line("[1,1,1,1]", "[1,2,3,4]").replace("\"x\"", "\"z\""), "input `x` is missing"),
            (line("[1,1,1,1]", "[1,2,3,4]").replace("\"y\"", "\"z\""), "no output `z`"),
            (
                line("[1,1,1]", "[1,2,3,4]").replace("[1,4],\"data\":[1,1,1]", "[1,3],\"data\":[1,1,1]"),
                "where the model takes FP32 [-1, 4]",
            ),
        ] {
            let error = Golden::read(wrong.as_bytes()).unwrap().check(scale().as_ref()).unwrap_err();
            assert!(matches!(error, EngineError::GoldenUnreadable { line: 1, .. }), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_malformed_line_is_named() {
        for (text, line_number) in [
            ("", 0),
            ("\n{}", 2),
            (line("[1,1,1]", "[1,2,3,4]").as_str(), 1),
            (line("[1,1,1,\"a\"]", "[1,2,3,4]").as_str(), 1),
            (line("[1,1,1,1]", "[1,2,3,4]").replacen("FP32", "FP31", 1).as_str(), 1),
        ] {
            let error = Golden::read(text.as_bytes()).unwrap_err();
            assert!(matches!(error, EngineError::GoldenUnreadable { line, .. } if line == line_number), "{error}");
        }
    }

    #[test]
    fn every_type_is_read() {
        for (data_type, data) in [
            ("BOOL", "[true,false]"),
            ("INT8", "[-1,2]"),
            ("INT16", "[-1,2]"),
            ("INT32", "[-1,2]"),
            ("INT64", "[-1,2]"),
            ("UINT8", "[1,255]"),
            ("UINT16", "[1,2]"),
            ("UINT32", "[1,2]"),
            ("UINT64", "[1,18446744073709551615]"),
            ("FP16", "[0.5,2]"),
            ("FP32", "[0.5,2]"),
            ("FP64", "[0.5,2]"),
            ("BYTES", "[\"a\",\"\"]"),
        ] {
            let element = format!(r#"{{"name":"x","datatype":"{data_type}","shape":[2],"data":{data}}}"#);
            let read = tensor(&serde_json::from_str(&element).unwrap()).unwrap();
            assert_eq!(read.data_type().to_string(), data_type);
        }
        assert!(raw(DataType::Int8, &[&Value::from(128)]).is_err());
    }
}

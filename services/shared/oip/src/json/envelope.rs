//! The request document without its numbers: names, types, shapes, and where the text of each tensor's data lies.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;
use slipway_kernel::{Refusal, Refusals};
use slipway_proto::inference::{InferParameter, infer_parameter::ParameterChoice};
use std::{fmt, marker::PhantomData};

use crate::request::Parameters;

/// The most tensors a document may name on either side: no known model comes near it, and what a refusal costs stays small.
const MAX_TENSORS: usize = 256;
/// The most dimensions of a tensor; ONNX Runtime and TensorRT stop at 8.
const MAX_DIMENSIONS: usize = 16;
/// The most parameters of the request or of one tensor.
const MAX_PARAMETERS: usize = 64;
/// The longest name, key or text parameter in bytes.
const MAX_TEXT: usize = 1_024;

/// A request document, its tensor data unread.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope<'a> {
    /// The caller's name for the request.
    #[serde(default)]
    pub id: Option<String>,
    /// Some public clients repeat the model of the path here.
    #[serde(default, rename = "model_name")]
    _model_name: IgnoredAny,
    #[serde(default, rename = "model_version")]
    _model_version: IgnoredAny,
    /// Parameters of the request.
    #[serde(default, deserialize_with = "parameters")]
    pub parameters: Parameters,
    /// The inputs, in the order of the document.
    #[serde(borrow, deserialize_with = "tensors")]
    pub inputs: Vec<Input<'a>>,
    /// The outputs that are wanted; none means all.
    #[serde(default, deserialize_with = "outputs")]
    pub outputs: Vec<WantedOutput>,
}

/// One input without its numbers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input<'a> {
    /// Its name.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Its type, as the document says it.
    #[serde(deserialize_with = "text")]
    pub datatype: String,
    /// Its shape, as the document says it.
    #[serde(deserialize_with = "shape")]
    pub shape: Vec<i64>,
    /// Its parameters.
    #[serde(default, deserialize_with = "parameters")]
    pub parameters: Parameters,
    /// The text of its data.
    #[serde(default, borrow)]
    pub data: Option<&'a RawValue>,
}

/// An output that is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedOutput {
    /// Its name.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Its parameters.
    #[serde(default, deserialize_with = "parameters")]
    pub parameters: Parameters,
}

impl<'a> Envelope<'a> {
    /// Reads the document. Syntax is checked to its end, tensor data included; numbers are not read.
    ///
    /// # Errors
    /// The first thing that does not fit, by its path.
    pub fn read(body: &'a [u8]) -> Result<Self, Refusals> {
        let read = serde_json::from_slice(body).map(|Object(envelope)| envelope);
        read.map_err(|error| Refusals(vec![explain(body, &error)]))
    }
}

/// A struct that is written as an object. Derived readers also take a list of the values, which no client means.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// The refusal behind a reader's error. The document is read a second time to find the path, which costs only who is refused.
fn explain(body: &[u8], first: &serde_json::Error) -> Refusal {
    if !first.is_data() {
        let place = format!("line {} column {}", first.line(), first.column());
        return Refusal::new("body", format!("{} at {place}", bare(&first.to_string())), "a JSON document");
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let (path, message) = match serde_path_to_error::deserialize::<_, Object<Envelope<'_>>>(&mut reader) {
        Err(error) => (error.path().to_string(), error.inner().to_string()),
        Ok(_) => ("body".to_owned(), first.to_string()),
    };
    let path = if matches!(path.as_str(), "" | ".") { "body".to_owned() } else { path };
    let message = bare(&message);
    // The reader's own words: `invalid type: string "x", expected i64`, `missing field `name``, `unknown field `nam`, expected one of …`.
    // What is expected comes last; before it may stand what the sender wrote, whatever that is.
    match message.rsplit_once(", expected ") {
        Some((found, wanted)) => Refusal::new(path, found, wanted),
        None => Refusal::new(path, message, "what the Open Inference Protocol says"),
    }
}

/// A message of the reader without the place it ends with.
fn bare(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |end| &message[..end])
}

/// A list that is refused as soon as it is too long, not after it was read.
struct Bounded<T> {
    most: usize,
    entry: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} entries", self.most)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            if entries.len() == self.most {
                return Err(A::Error::invalid_length(self.most + 1, &self));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

fn bounded<'de, T: Deserialize<'de>, D: Deserializer<'de>>(most: usize, deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Bounded { most, entry: PhantomData })
}

fn tensors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Input<'de>>, D::Error> {
    objects(deserializer)
}

fn outputs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WantedOutput>, D::Error> {
    objects(deserializer)
}

fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let objects: Vec<Object<T>> = bounded(MAX_TENSORS, deserializer)?;
    Ok(objects.into_iter().map(|Object(object)| object).collect())
}

fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    bounded(MAX_DIMENSIONS, deserializer)
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() <= MAX_TEXT { Ok(text) } else { Err(too_long(text.len())) }
}

fn too_long<E: serde::de::Error>(length: usize) -> E {
    E::invalid_length(length, &format!("at most {MAX_TEXT} bytes").as_str())
}

struct Value(InferParameter);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = ParameterChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(ParameterChoice::BoolParam(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(ParameterChoice::Int64Param(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(i64::try_from(value).map_or(ParameterChoice::Uint64Param(value), ParameterChoice::Int64Param))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(ParameterChoice::DoubleParam(value))
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
                if value.len() > MAX_TEXT {
                    return Err(too_long(value.len()));
                }
                Ok(ParameterChoice::StringParam(value.to_owned()))
            }
        }

        let choice = deserializer.deserialize_any(Scalar)?;
        Ok(Self(InferParameter { parameter_choice: Some(choice) }))
    }
}

fn parameters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Parameters, D::Error> {
    struct Table;

    impl<'de> Visitor<'de> for Table {
        type Value = Parameters;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an object of at most {MAX_PARAMETERS} parameters")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut parameters = Parameters::new();
            while let Some((name, Value(value))) = entries.next_entry::<String, Value>()? {
                if name.len() > MAX_TEXT || parameters.len() == MAX_PARAMETERS {
                    return Err(A::Error::invalid_length(parameters.len() + 1, &self));
                }
                if parameters.insert(name, value).is_some() {
                    return Err(A::Error::custom("a parameter is given twice"));
                }
            }
            Ok(parameters)
        }
    }

    deserializer.deserialize_map(Table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> (String, String, String) {
        let Refusal { path, value, allowed } = Envelope::read(body.as_bytes()).unwrap_err().0.remove(0);
        (path, value, allowed)
    }

    #[test]
    fn the_data_is_found_and_left_unread() {
        let body = r#"{"id":"7","parameters":{"a":1,"b":"x","c":true,"d":0.5},
            "inputs":[{"data":[1, 2.5],"shape":[1,2],"name":"x","datatype":"FP32"}],"outputs":[{"name":"y"}]}"#;
        let envelope = Envelope::read(body.as_bytes()).unwrap();
        assert_eq!(envelope.id.as_deref(), Some("7"));
        assert_eq!(envelope.parameters.len(), 4);
        assert_eq!(envelope.inputs[0].data.unwrap().get(), "[1, 2.5]");
        assert_eq!(envelope.inputs[0].shape, [1, 2]);
        assert_eq!(envelope.outputs[0].name, "y");
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_path() {
        for (body, path, value) in [
            ("", "body", "EOF while parsing a value"),
            ("{\"inputs\":[", "body", "EOF while parsing a list"),
            ("{\"inputs\":[]} x", "body", "trailing characters"),
            ("[]", "body", ""),
            ("{}", "body", "missing field `inputs`"),
            (r#"{"inputs":7}"#, "inputs", "invalid type: integer `7`"),
            (r#"{"inputs":[],"inputs":[]}"#, "body", "duplicate field `inputs`"),
            (r#"{"inputs":[["x","FP32",[1]]]}"#, "inputs[0]", "invalid type: sequence"),
            (r#"["7",null,null,{},[]]"#, "body", "invalid type: sequence"),
            (r#"{"inputs":[],"extra":1}"#, "extra", "unknown field `extra`"),
            (r#"{"inputs":[{"name":"x","datatype":"FP32"}]}"#, "inputs[0]", "missing field `shape`"),
            (
                r#"{"inputs":[{"name":"x","datatype":"FP32","shape":["a"]}]}"#,
                "inputs[0].shape[0]",
                "invalid type: string \"a\"",
            ),
            (r#"{"inputs":[{"name":1}]}"#, "inputs[0].name", "invalid type: integer `1`"),
            (r#"{"inputs":[],"parameters":{"a":[1]}}"#, "parameters.a", "invalid type: sequence"),
            (r#"{"inputs":[],"parameters":{"a":1,"a":2}}"#, "parameters", "a parameter is given twice"),
        ] {
            let (found_path, found_value, _) = refused(body);
            assert_eq!(found_path, path, "{body}");
            assert!(found_value.contains(value), "{body}: {found_value}");
        }
    }

    #[test]
    fn what_the_sender_wrote_is_never_said_to_be_allowed() {
        let (path, value, allowed) = refused(r#"{"inputs":[{"name":"x","shape":["1, expected anything"]}]}"#);
        assert_eq!((path.as_str(), allowed.as_str()), ("inputs[0].shape[0]", "i64"));
        assert!(value.contains("expected anything"), "{value}");
        let (_, _, allowed) = refused(r#"{"inputs":[],"x`, expected anything":1}"#);
        assert!(allowed.starts_with("one of `id`"), "{allowed}");
    }

    #[test]
    fn a_refusal_is_as_short_as_its_sender_is_long() {
        let long = "x".repeat(100_000);
        for body in [
            format!(r#"{{"inputs":[],"{long}":1}}"#),
            format!(r#"{{"inputs":[],"{long}, expected {long}":1}}"#),
            format!(r#"{{"inputs":[],"parameters":{{"{long}":[]}}}}"#),
            format!(r#"{{"inputs":[{{"name":"x","shape":["{long}"]}}]}}"#),
        ] {
            let (path, value, allowed) = refused(&body);
            assert!(
                path.len() + value.len() + allowed.len() < 2_000,
                "{} {} {}",
                path.len(),
                value.len(),
                allowed.len()
            );
        }
        assert_eq!(refused(r#"{"inputs":[],"":1}"#).0, "body");
    }

    #[test]
    fn lists_and_texts_end_at_their_bound() {
        let tensor = r#"{"name":"x","datatype":"FP32","shape":[1]}"#;
        let many = format!(r#"{{"inputs":[{}]}}"#, vec![tensor; MAX_TENSORS + 1].join(","));
        assert_eq!(refused(&many).2, "a list of at most 256 entries");
        let dimensions = format!(r#"{{"inputs":[{{"name":"x","shape":[{}1]}}]}}"#, "1,".repeat(MAX_DIMENSIONS));
        assert_eq!(refused(&dimensions).2, "a list of at most 16 entries");
        let name = format!(r#"{{"inputs":[{{"name":"{}"}}]}}"#, "x".repeat(MAX_TEXT + 1));
        assert_eq!(refused(&name).2, "at most 1024 bytes");
    }

    #[test]
    fn a_hundred_thousand_brackets_do_not_reach_the_stack() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for (body, path) in [
            (deep.clone(), "body"),
            (format!(r#"{{"inputs":{deep}}}"#), "inputs[0]"),
            (format!(r#"{{"inputs":[],"parameters":{{"a":{deep}}}}}"#), "parameters.a"),
            ("[".repeat(100_000), "body"),
        ] {
            let (found, value, _) = refused(&body);
            assert_eq!((found.as_str(), value.as_str()), (path, "invalid type: sequence"));
        }
        // As tensor data it is text until the shape says how deep it may go.
        let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1],"data":{deep}}}]}}"#);
        assert!(Envelope::read(body.as_bytes()).is_ok());
    }

    #[test]
    fn no_body_makes_the_reader_panic() {
        proptest::proptest!(|(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200))| {
            let _ = Envelope::read(&body);
        });
    }
}

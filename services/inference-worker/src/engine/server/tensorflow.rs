//! TensorFlow Serving, in its own protocol: `PredictionService` and `ModelService`. Field numbers are those of `tensorflow_serving/apis`,
//! `tensor.proto`, `tensor_shape.proto` and `meta_graph.proto`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;
use std::{fs, io};

use bytes::Bytes;
use prost::Message as _;
use slipway_proto::inference::InferTensorContents;
use slipway_proto::oip::{DataType, Problem, Tensor, contents_to_raw, dimensions, element_count, raw_to_contents};
use tonic::{Code, Status};

use super::line::{ASK, Line};
use super::protocol::{Protocol, Told};
use super::{remove, unpack};
use crate::engine::EngineError;
use crate::signature::TensorSpec;

/// The signature that is served where a model has several.
const SERVED: &str = "serving_default";
/// Begins the names of signatures that TensorFlow keeps for itself.
const OWN: &str = "__saved_model";

/// The protocol, and what was learned of the model.
#[derive(Debug, Default)]
pub(super) struct TensorflowServing {
    signature: OnceLock<String>,
}

/// Puts the model where the server looks for it (`--model_base_path`), as its first version: whole or not at all.
pub(super) fn lay(repository: &Path, model: &str, artifact: &[u8]) -> Result<(), EngineError> {
    let (place, beside) = (repository.join(model), repository.join(format!(".{model}.part")));
    let laid = || -> io::Result<()> {
        remove(&beside)?;
        fs::create_dir_all(beside.join("1"))?;
        unpack(artifact, &beside.join("1"), "saved_model.pb")?;
        remove(&place)?;
        fs::rename(&beside, &place)
    };
    laid().map_err(|error| EngineError::Repository { path: repository.to_owned(), reason: error.to_string() })
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ModelSpec {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    signature_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PredictRequest {
    #[prost(message, optional, tag = "1")]
    model_spec: Option<ModelSpec>,
    #[prost(map = "string, message", tag = "2")]
    inputs: HashMap<String, TensorProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PredictResponse {
    #[prost(map = "string, message", tag = "1")]
    outputs: HashMap<String, TensorProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TensorProto {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    tensor_shape: Option<TensorShape>,
    #[prost(bytes = "bytes", tag = "4")]
    tensor_content: Bytes,
    #[prost(float, repeated, tag = "5")]
    float_val: Vec<f32>,
    #[prost(double, repeated, tag = "6")]
    double_val: Vec<f64>,
    #[prost(int32, repeated, tag = "7")]
    int_val: Vec<i32>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    string_val: Vec<Bytes>,
    #[prost(int64, repeated, tag = "10")]
    int64_val: Vec<i64>,
    #[prost(bool, repeated, tag = "11")]
    bool_val: Vec<bool>,
    #[prost(int32, repeated, tag = "13")]
    half_val: Vec<i32>,
    #[prost(uint32, repeated, tag = "16")]
    uint32_val: Vec<u32>,
    #[prost(uint64, repeated, tag = "17")]
    uint64_val: Vec<u64>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dimension>,
    #[prost(bool, tag = "3")]
    unknown_rank: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    size: i64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct GetModelMetadataRequest {
    #[prost(message, optional, tag = "1")]
    model_spec: Option<ModelSpec>,
    #[prost(string, repeated, tag = "2")]
    metadata_field: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GetModelMetadataResponse {
    #[prost(map = "string, message", tag = "2")]
    metadata: HashMap<String, Any>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Any {
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SignatureDefMap {
    #[prost(map = "string, message", tag = "1")]
    signature_def: HashMap<String, SignatureDef>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SignatureDef {
    #[prost(map = "string, message", tag = "1")]
    inputs: HashMap<String, TensorInfo>,
    #[prost(map = "string, message", tag = "2")]
    outputs: HashMap<String, TensorInfo>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct TensorInfo {
    #[prost(int32, tag = "2")]
    dtype: i32,
    #[prost(message, optional, tag = "3")]
    tensor_shape: Option<TensorShape>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct GetModelStatusRequest {
    #[prost(message, optional, tag = "1")]
    model_spec: Option<ModelSpec>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct GetModelStatusResponse {
    #[prost(message, repeated, tag = "1")]
    model_version_status: Vec<ModelVersionStatus>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct ModelVersionStatus {
    /// 30: available, 50: ended.
    #[prost(int32, tag = "2")]
    state: i32,
    #[prost(message, optional, tag = "3")]
    status: Option<StatusProto>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct StatusProto {
    #[prost(int32, tag = "1")]
    error_code: i32,
    #[prost(string, tag = "2")]
    error_message: String,
}

const AVAILABLE: i32 = 30;
const ENDED: i32 = 50;

impl TensorflowServing {
    fn spec(&self, line: &Line) -> Option<ModelSpec> {
        let signature_name = self.signature.get().cloned().unwrap_or_default();
        Some(ModelSpec { name: line.model().to_owned(), signature_name })
    }

    fn versions(&self, line: &Line) -> Result<Vec<ModelVersionStatus>, Status> {
        let request = GetModelStatusRequest { model_spec: self.spec(line) };
        let path = "/tensorflow.serving.ModelService/GetModelStatus";
        line.unary(path, request, ASK).map(|answer: GetModelStatusResponse| answer.model_version_status)
    }
}

impl Protocol for TensorflowServing {
    fn lives(&self, line: &Line) -> Result<bool, Status> {
        match self.versions(line) {
            Err(status) if status.code() == Code::NotFound => Ok(true),
            answered => answered.map(|_| true),
        }
    }

    fn has_model(&self, line: &Line) -> Result<bool, Status> {
        let versions = self.versions(line)?;
        if versions.iter().any(|version| version.state == AVAILABLE) {
            return Ok(true);
        }
        let failed = versions.into_iter().filter(|version| version.state == ENDED).find_map(|version| version.status);
        match failed.filter(|status| status.error_code != 0) {
            Some(status) => Err(Status::failed_precondition(status.error_message)),
            None => Ok(false),
        }
    }

    fn most_rows(&self, _: &Line) -> Option<usize> {
        None
    }

    fn told(&self, line: &Line) -> Result<Told, EngineError> {
        let field = "signature_def".to_owned();
        let request = GetModelMetadataRequest { model_spec: self.spec(line), metadata_field: vec![field.clone()] };
        let answered: Result<GetModelMetadataResponse, Status> =
            line.unary("/tensorflow.serving.PredictionService/GetModelMetadata", request, ASK);
        let mut answer = answered.map_err(|status| line.refuses(&status))?;
        let value = answer.metadata.remove(&field).unwrap_or_default().value;
        let told = SignatureDefMap::decode(value)
            .map_err(|error| line.refuses(&Status::internal(format!("its signatures cannot be read: {error}"))))?;
        let (name, signature) = served(told.signature_def)
            .ok_or_else(|| line.refuses(&Status::internal("the model has no signature that is served")))?;
        // Asked once, at load.
        let _ = self.signature.set(name);
        Ok(Told { by: "TensorFlow".to_owned(), inputs: specs(signature.inputs)?, outputs: specs(signature.outputs)? })
    }

    fn infer(&self, line: &Line, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, EngineError> {
        let inputs = inputs.into_iter().map(|tensor| Ok((tensor.name().to_owned(), written(&tensor)?)));
        let inputs = inputs.collect::<Result<_, Problem>>().map_err(|problem| EngineError::Run(problem.to_string()))?;
        let request = PredictRequest { model_spec: self.spec(line), inputs };
        let answered: Result<PredictResponse, Status> =
            line.unary("/tensorflow.serving.PredictionService/Predict", request, line.run_timeout());
        let outputs = answered.map_err(|status| line.failed(&status))?.outputs;
        outputs.into_iter().map(|(name, tensor)| read(name, tensor)).collect()
    }
}

/// The signature that is served: that of the usual name, or the only one.
fn served(mut signatures: HashMap<String, SignatureDef>) -> Option<(String, SignatureDef)> {
    signatures.retain(|name, _| !name.starts_with(OWN));
    if let Some(usual) = signatures.remove_entry(SERVED) {
        return Some(usual);
    }
    let mut others = signatures.into_iter();
    others.next().filter(|_| others.next().is_none())
}

/// In the order of their names: a map has none of its own.
fn specs(told: HashMap<String, TensorInfo>) -> Result<Vec<TensorSpec>, EngineError> {
    let mut specs: Vec<TensorSpec> = told.into_iter().map(|(name, told)| spec(name, told)).collect::<Result<_, _>>()?;
    specs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(specs)
}

fn spec(name: String, told: TensorInfo) -> Result<TensorSpec, EngineError> {
    let unsupported = |tensor: &str, reason: String| EngineError::UnsupportedType { tensor: tensor.to_owned(), reason };
    let Some(data_type) = data_type(told.dtype) else {
        return Err(unsupported(&name, format!("the model server calls it {}", told.dtype)));
    };
    let shape = told.tensor_shape.unwrap_or_default();
    if shape.unknown_rank {
        return Err(unsupported(&name, "the model server does not say how many dimensions it has".to_owned()));
    }
    Ok(TensorSpec { name, data_type, shape: shape.dim.into_iter().map(|dim| dim.size).collect() })
}

/// Types by their number in `DataType` of TensorFlow.
const TYPES: [(i32, DataType); 13] = [
    (1, DataType::Fp32),
    (2, DataType::Fp64),
    (3, DataType::Int32),
    (4, DataType::Uint8),
    (5, DataType::Int16),
    (6, DataType::Int8),
    (7, DataType::Bytes),
    (9, DataType::Int64),
    (10, DataType::Bool),
    (17, DataType::Uint16),
    (19, DataType::Fp16),
    (22, DataType::Uint32),
    (23, DataType::Uint64),
];

fn data_type(number: i32) -> Option<DataType> {
    TYPES.iter().find(|(known, _)| *known == number).map(|(_, data_type)| *data_type)
}

/// As it is sent: numbers as they lie in memory, texts one by one.
fn written(tensor: &Tensor) -> Result<TensorProto, Problem> {
    let number = TYPES.iter().find(|(_, known)| *known == tensor.data_type()).map(|(number, _)| *number);
    let dim = tensor.wire_shape().into_iter().map(|size| Dimension { size }).collect();
    let mut proto = TensorProto {
        dtype: number.ok_or(Problem::RawOnly(tensor.data_type()))?,
        tensor_shape: Some(TensorShape { dim, unknown_rank: false }),
        ..TensorProto::default()
    };
    if tensor.data_type() == DataType::Bytes {
        let contents = raw_to_contents(DataType::Bytes, tensor.bytes())?;
        proto.string_val = contents.bytes_contents;
    } else {
        proto.tensor_content = tensor.bytes().clone();
    }
    Ok(proto)
}

/// As it came: as it lies in memory, or number by number, of which the last stands for all that follow.
fn read(name: String, proto: TensorProto) -> Result<Tensor, EngineError> {
    let wrong = |name: &str, problem: &dyn std::fmt::Display| EngineError::Output(format!("`{name}`: {problem}"));
    let Some(data_type) = data_type(proto.dtype) else {
        return Err(wrong(&name, &format!("the model server gives it as type {}", proto.dtype)));
    };
    let sizes: Vec<i64> = proto.tensor_shape.iter().flat_map(|shape| &shape.dim).map(|dim| dim.size).collect();
    let shape = dimensions(&sizes).map_err(|problem| wrong(&name, &problem))?;
    let raw = raw(data_type, &shape, proto).map_err(|problem| wrong(&name, &problem))?;
    Tensor::new(name, data_type, shape, raw).map_err(|error| EngineError::Output(error.to_string()))
}

fn raw(data_type: DataType, shape: &[usize], proto: TensorProto) -> Result<Bytes, Problem> {
    let count = element_count(shape)?;
    if !proto.tensor_content.is_empty() {
        return Ok(proto.tensor_content);
    }
    if data_type == DataType::Fp16 {
        let halves = filled(proto.half_val, count).into_iter();
        // The half is in the lower sixteen bits.
        return Ok(halves.flat_map(|half| (half as u16).to_le_bytes()).collect::<Vec<u8>>().into());
    }
    let mut contents = InferTensorContents::default();
    match data_type {
        DataType::Bool => contents.bool_contents = filled(proto.bool_val, count),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => contents.int_contents = filled(proto.int_val, count),
        DataType::Uint8 | DataType::Uint16 => {
            // Both travel as signed numbers, and are never negative.
            let values = proto.int_val.into_iter().map(i32::unsigned_abs).collect();
            contents.uint_contents = filled(values, count);
        }
        DataType::Uint32 => contents.uint_contents = filled(proto.uint32_val, count),
        DataType::Int64 => contents.int64_contents = filled(proto.int64_val, count),
        DataType::Uint64 => contents.uint64_contents = filled(proto.uint64_val, count),
        DataType::Fp32 => contents.fp32_contents = filled(proto.float_val, count),
        DataType::Fp64 => contents.fp64_contents = filled(proto.double_val, count),
        DataType::Bytes => {
            contents.bytes_contents = filled(proto.string_val, count);
        }
        DataType::Fp16 | DataType::Bf16 => {}
    }
    contents_to_raw(data_type, count, &contents)
}

/// The values with the last repeated; none of none.
fn filled<T: Clone>(mut values: Vec<T>, count: usize) -> Vec<T> {
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().max(count), last);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(tensor: &Tensor) -> Tensor {
        read(tensor.name().to_owned(), written(tensor).unwrap()).unwrap()
    }

    #[test]
    fn what_is_sent_is_what_comes_back() {
        let numbers = Tensor::from_f32("x", vec![2, 2], &[1.0, -2.5, f32::NAN, 0.0]).unwrap();
        assert_eq!(back(&numbers).bytes(), numbers.bytes());
        let texts = [&b"\x02\0\0\0ab"[..], b"\0\0\0\0"].concat();
        let texts = Tensor::new("s", DataType::Bytes, vec![2], texts.into()).unwrap();
        assert_eq!(back(&texts), texts);
        let none = Tensor::from_f32("x", vec![0, 2], &[]).unwrap();
        assert_eq!(back(&none), none);
    }

    #[test]
    fn numbers_may_come_one_by_one_and_the_last_stands_for_the_rest() {
        let shape = |sizes: &[i64]| {
            Some(TensorShape { dim: sizes.iter().map(|size| Dimension { size: *size }).collect(), unknown_rank: false })
        };
        let of = |proto: TensorProto| read("y".to_owned(), proto).unwrap();
        let floats =
            TensorProto { dtype: 1, tensor_shape: shape(&[3]), float_val: vec![1.0, 2.0], ..Default::default() };
        assert_eq!(of(floats).as_f32().unwrap(), [1.0, 2.0, 2.0]);
        let bytes = TensorProto { dtype: 4, tensor_shape: shape(&[2]), int_val: vec![7, 255], ..Default::default() };
        assert_eq!(of(bytes).bytes()[..], [7, 255]);
        let halves = TensorProto { dtype: 19, tensor_shape: shape(&[1]), half_val: vec![0x3c00], ..Default::default() };
        assert_eq!(of(halves).bytes()[..], [0, 0x3c]);
        let truths = TensorProto { dtype: 10, tensor_shape: shape(&[2]), bool_val: vec![true], ..Default::default() };
        assert_eq!(of(truths).bytes()[..], [1, 1]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let shape = Some(TensorShape { dim: vec![Dimension { size: 3 }], unknown_rank: false });
        for (proto, word) in [
            (TensorProto { dtype: 20, ..Default::default() }, "type 20"),
            (TensorProto { dtype: 1, tensor_shape: shape.clone(), ..Default::default() }, "`y`"),
            (
                TensorProto {
                    dtype: 1,
                    tensor_shape: shape.clone(),
                    tensor_content: vec![0; 8].into(),
                    ..Default::default()
                },
                "y",
            ),
            (TensorProto { dtype: 1, tensor_shape: shape, float_val: vec![0.0; 4], ..Default::default() }, "`y`"),
        ] {
            let error = read("y".to_owned(), proto).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn the_usual_signature_is_served_or_the_only_one() {
        let named = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), SignatureDef::default())).collect();
        let name = |names: &[&str]| served(named(names)).map(|(name, _)| name);
        assert_eq!(name(&["train", "serving_default", "__saved_model_init_op"]).unwrap(), "serving_default");
        assert_eq!(name(&["predict", "__saved_model_init_op"]).unwrap(), "predict");
        assert_eq!((name(&["a", "b"]), name(&["__saved_model_init_op"])), (None, None));
    }

    #[test]
    fn a_model_lies_where_the_server_looks_for_versions() {
        let repository = tempfile::tempdir().unwrap();
        lay(repository.path(), "model", b"an older one").unwrap();
        lay(repository.path(), "model", b"a graph").unwrap();
        assert_eq!(fs::read(repository.path().join("model/1/saved_model.pb")).unwrap(), b"a graph");
        assert_eq!(fs::read_dir(repository.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(lay(Path::new("/dev/null/models"), "model", b"").is_err());
    }
}

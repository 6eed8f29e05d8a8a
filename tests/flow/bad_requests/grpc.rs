//! Bad requests of gRPC.

use super::{MAX_BODY, Server};
use flate2::{Compression, write::GzEncoder};
use slipway_proto::inference::{
    InferTensorContents, ModelInferRequest,
    grpc_inference_service_client::GrpcInferenceServiceClient,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};
use std::io::Write as _;
use tonic::{Code, Request, Status, transport::Channel};

/// The metadata with the word of a refusal.
const WORD: &str = "slipway-failure";

/// A message, and how it is refused.
struct Row {
    what: &'static str,
    message: ModelInferRequest,
    code: Code,
    word: &'static str,
    /// What the refusal says, among it the field and the value.
    says: Vec<&'static str>,
}

/// A good message: elements raw.
fn good() -> ModelInferRequest {
    let tensor = |name: &str, datatype: &str| InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![1, 1],
        ..InferInputTensor::default()
    };
    ModelInferRequest {
        model_name: "columns".to_owned(),
        inputs: vec![tensor("colour", "BYTES"), tensor("size", "INT64"), tensor("weight", "FP32")],
        raw_input_contents: vec![
            vec![3, 0, 0, 0, b'r', b'e', b'd'].into(),
            1_i64.to_le_bytes().to_vec().into(),
            0.5_f32.to_le_bytes().to_vec().into(),
        ],
        ..ModelInferRequest::default()
    }
}

/// The good message with a change.
fn with(what: &'static str, says: &[&'static str], change: impl FnOnce(&mut ModelInferRequest)) -> Row {
    let mut message = good();
    change(&mut message);
    Row { what, message, code: Code::InvalidArgument, word: "invalid-argument", says: says.to_vec() }
}

/// The good message with other bytes of one tensor.
fn raw(what: &'static str, tensor: usize, bytes: &[u8], says: &[&'static str]) -> Row {
    with(what, says, |message| message.raw_input_contents[tensor] = bytes.to_vec().into())
}

fn shaped(what: &'static str, tensor: usize, shape: &[i64], says: &[&'static str]) -> Row {
    with(what, says, |message| message.inputs[tensor].shape = shape.to_vec())
}

fn rows() -> Vec<Row> {
    let typed = |message: &mut ModelInferRequest, contents: InferTensorContents| {
        message.raw_input_contents.clear();
        message.inputs[0].contents =
            Some(InferTensorContents { bytes_contents: vec![b"red"[..].into()], ..InferTensorContents::default() });
        message.inputs[1].contents =
            Some(InferTensorContents { int64_contents: vec![1], ..InferTensorContents::default() });
        message.inputs[2].contents = Some(contents);
    };
    let fp32 =
        |values: &[f32]| InferTensorContents { fp32_contents: values.to_vec(), ..InferTensorContents::default() };
    vec![
        shaped("product overflow", 1, &[i64::MAX, i64::MAX], &["inputs[1].shape", "9223372036854775807"]),
        shaped("rows beyond memory", 1, &[i64::MAX, 1], &["inputs[1].shape", "9223372036854775807"]),
        shaped("bytes beyond 64 bits", 1, &[1 << 61, 1], &["inputs[1].shape", "2305843009213693952"]),
        shaped("negative", 2, &[-1, 1], &["inputs[2].shape", "[-1, 1]"]),
        shaped("most negative", 2, &[i64::MIN, 1], &["inputs[2].shape", "-9223372036854775808"]),
        shaped("another rank", 2, &[1], &["inputs[2].shape", "[1]"]),
        shaped("a thousand dimensions", 2, &[1; 1_000], &["inputs[2].shape"]),
        raw("shorter than declared", 2, &[0; 3], &["raw_input_contents[2]", "3 bytes", "4 bytes"]),
        raw("longer than declared", 1, &[0; 9], &["raw_input_contents[1]", "9 bytes", "8 bytes"]),
        raw("not finite", 2, &f32::NAN.to_le_bytes(), &["raw_input_contents[2][0]"]),
        raw(
            "a length of 4 GiB",
            0,
            &[0xff, 0xff, 0xff, 0xff, b'h', b'i'],
            &["raw_input_contents[0]", "offset 0 is cut off"],
        ),
        raw(
            "a length too short",
            0,
            &[2, 0, 0, 0, b'r', b'e', b'd'],
            &["raw_input_contents[0]", "offset 6 is cut off"],
        ),
        raw("two for one", 0, &[1, 0, 0, 0, b'r', 0, 0, 0, 0], &["raw_input_contents[0]", "2 elements"]),
        with("too few raw tensors", &["raw_input_contents", "2 entries"], |m| drop(m.raw_input_contents.pop())),
        with("too many raw tensors", &["raw_input_contents", "4 entries"], |m| {
            m.raw_input_contents.push(Vec::new().into());
        }),
        with("elements twice", &["inputs[2].contents", "given twice"], |m| m.inputs[2].contents = Some(fp32(&[1.0]))),
        with("typed, shorter", &["inputs[2].contents", "0 elements"], |m| typed(m, fp32(&[]))),
        with("typed, longer", &["inputs[2].contents", "2 elements"], |m| typed(m, fp32(&[1.0, 2.0]))),
        with("a tensor missing", &["weight"], |m| {
            m.inputs.pop();
            m.raw_input_contents.pop();
        }),
        with("a tensor twice", &["inputs[2].name", "size"], |m| m.inputs[2] = m.inputs[1].clone()),
        with("unknown name", &["inputs[2].name", "height"], |m| m.inputs[2].name = "height".to_owned()),
        with("another type", &["inputs[1].datatype", "INT8"], |m| m.inputs[1].datatype = "INT8".to_owned()),
        with("no tensors", &["inputs"], |m| {
            m.inputs.clear();
            m.raw_input_contents.clear();
        }),
        with("an unknown output", &["outputs[0].name", "y"], |m| {
            m.outputs
                .push(InferRequestedOutputTensor { name: "y".to_owned(), ..InferRequestedOutputTensor::default() });
        }),
        Row {
            code: Code::NotFound,
            word: "not-found",
            ..with("another model", &["cats"], |m| m.model_name = "cats".to_owned())
        },
    ]
}

/// What the headers of an answer say: the number of the status, the word, the sentence.
#[derive(Debug)]
struct Framed {
    code: i32,
    word: String,
    message: String,
}

/// What comes of bytes that are sent as a call.
async fn framed(server: &Server, frame: Vec<u8>, encoding: &'static str) -> Result<Framed, String> {
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/inference.GRPCInferenceService/ModelInfer", server.address);
    let post = client.post(url).bearer_auth(&server.key).header("te", "trailers").header("grpc-encoding", encoding);
    let answer = post.header("content-type", "application/grpc").body(frame).send().await;
    let answer = answer.map_err(|error| format!("{error:?}"))?;
    let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // A call that is refused before its handler has everything in its headers.
    let code = text("grpc-status").parse().map_err(|_| format!("no grpc-status: {answer:?}"))?;
    Ok(Framed { code, word: text(WORD).to_owned(), message: text("grpc-message").to_owned() })
}

/// Frames that hold no message: flag, length, bytes.
fn frames() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let frame = |flag: u8, length: usize, bytes: &[u8]| {
        [&[flag][..], &u32::try_from(length).unwrap().to_be_bytes(), bytes].concat()
    };
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![0; 32 * MAX_BODY]).unwrap();
    let bomb = bomb.finish().unwrap();
    vec![
        ("no message", frame(0, 4, &[0xff; 4]), "identity", "invalid-argument"),
        ("a field longer than its message", frame(0, 3, &[0x2a, 0x7f, 0]), "identity", "invalid-argument"),
        ("a frame longer than what comes", frame(0, 100, &[0; 10]), "identity", "invalid-argument"),
        ("a frame of 4 GiB", frame(0, 0xffff_ffff, &[0; 10]), "identity", "payload-too-large"),
        ("a bomb", frame(1, bomb.len(), &bomb), "gzip", "invalid-argument|payload-too-large"),
        ("no gzip", frame(1, 10, &[7; 10]), "gzip", "invalid-argument"),
        ("an unknown flag", frame(9, 1, &[0]), "identity", "invalid-argument"),
    ]
}

fn is_as(status: &Status, row: &Row) -> bool {
    let word = status.metadata().get(WORD).and_then(|value| value.to_str().ok());
    status.code() == row.code && word == Some(row.word) && row.says.iter().all(|text| status.message().contains(text))
}

/// Sends every row; what was not refused as it should.
pub(super) async fn check(server: &Server) -> Vec<String> {
    let channel = Channel::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel);
    let mut ask = async |message: ModelInferRequest| {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", server.key).parse().unwrap());
        client.model_infer(request).await.map(drop)
    };
    let mut wrong = Vec::new();
    for row in rows() {
        match ask(row.message.clone()).await {
            Err(status) if is_as(&status, &row) => {}
            other => wrong
                .push(format!("{} gRPC {}: not {:?} {:?} but {other:?}", server.what, row.what, row.code, row.says)),
        }
    }
    for (what, bytes, encoding, words) in frames() {
        match framed(server, bytes, encoding).await {
            Ok(Framed { code, word, message })
                if code == Code::InvalidArgument as i32
                    && words.split('|').any(|one| one == word)
                    && !message.is_empty() => {}
            other => wrong.push(format!("{} gRPC {what}: not {words} but {other:?}", server.what)),
        }
    }
    let answered = ask(good()).await;
    assert!(answered.is_ok(), "after all of it a good message is answered: {answered:?}");
    wrong
}

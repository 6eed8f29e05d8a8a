//! Bad requests of HTTP.

use super::{MAX_BODY, Server};
use crate::client::Answered;
use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};
use reqwest::Client;
use serde_json::{Value, json};
use std::io::Write as _;

/// A request, and how it is refused.
struct Row {
    what: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    /// What the refusal says, among it the field and the value.
    says: Vec<&'static str>,
}

/// A good request; the tensors in this order.
fn good() -> Value {
    let tensor = |name: &str, datatype: &str, data: Value| json!({ "name": name, "datatype": datatype, "shape": [1, 1], "data": data });
    json!({ "inputs": [
        tensor("colour", "BYTES", json!(["red"])),
        tensor("size", "INT64", json!([1])),
        tensor("weight", "FP32", json!([0.5])),
    ] })
}

/// A document that is refused for what it says.
fn document(what: &'static str, document: Value, says: &[&'static str]) -> Row {
    text(what, document.to_string(), says)
}

fn text(what: &'static str, text: String, says: &[&'static str]) -> Row {
    Row {
        what,
        headers: Vec::new(),
        body: text.into_bytes(),
        status: 400,
        code: "invalid-argument",
        says: says.to_vec(),
    }
}

/// The good request with something of one tensor changed.
fn with(what: &'static str, tensor: usize, change: Value, says: &[&'static str]) -> Row {
    let mut body = good();
    for (name, value) in change.as_object().unwrap() {
        body["inputs"][tensor][name] = value.clone();
    }
    document(what, body, says)
}

/// The good request with `colour` as bytes behind the document.
fn binary(what: &'static str, size: i64, tail: &[u8], says: &[&'static str]) -> Row {
    let mut body = good();
    let colour = body["inputs"][0].as_object_mut().unwrap();
    colour.remove("data");
    colour.insert("parameters".to_owned(), json!({ "binary_data_size": size }));
    let document = body.to_string();
    let row = text(what, document.clone(), says).with("inference-header-content-length", document.len());
    Row { body: [document.as_bytes(), tail].concat(), ..row }
}

impl Row {
    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    fn refused(self, status: u16, code: &'static str) -> Self {
        Self { status, code, ..self }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn shapes() -> Vec<Row> {
    vec![
        with(
            "product overflow",
            1,
            json!({ "shape": [i64::MAX, i64::MAX] }),
            &["inputs[1].shape", "9223372036854775807"],
        ),
        with("rows beyond memory", 1, json!({ "shape": [i64::MAX, 1] }), &["inputs[1].shape", "9223372036854775807"]),
        with(
            "bytes beyond 64 bits",
            1,
            json!({ "shape": [1_i64 << 61, 1] }),
            &["inputs[1].shape", "2305843009213693952"],
        ),
        with("negative", 2, json!({ "shape": [-1, 1] }), &["inputs[2].shape", "[-1, 1]"]),
        with("most negative", 2, json!({ "shape": [i64::MIN, 1] }), &["inputs[2].shape", "-9223372036854775808"]),
        with("no rows", 2, json!({ "shape": [0, 1], "data": [] }), &["inputs[2]"]),
        with("another rank", 2, json!({ "shape": [1] }), &["inputs[2].shape", "[1]"]),
        with("a thousand dimensions", 2, json!({ "shape": vec![1; 1_000] }), &["inputs[2].shape"]),
        with("a fraction", 2, json!({ "shape": [1.5, 1] }), &["inputs[2].shape"]),
        with("beyond 64 bits", 2, json!({ "shape": [1e30, 1] }), &["inputs[2].shape"]),
        with("rows that differ", 2, json!({ "shape": [2, 1], "data": [1, 2] }), &["inputs[", "2"]),
    ]
}

fn elements() -> Vec<Row> {
    vec![
        with("shorter than declared", 2, json!({ "data": [] }), &["inputs[2].data", "0 elements", "1 element"]),
        with("longer than declared", 2, json!({ "data": [1, 2, 3] }), &["inputs[2].data", "1 element"]),
        with("no data", 2, json!({ "data": null }), &["inputs[2].data"]),
        with("text for a number", 2, json!({ "data": ["x"] }), &["inputs[2].data[0]"]),
        with("not finite", 2, json!({ "data": [null] }), &["inputs[2].data[0]"]),
        with("beyond the type", 1, json!({ "data": [1e300] }), &["inputs[1].data[0]"]),
        with("a number for text", 0, json!({ "data": [7] }), &["inputs[0].data[0]"]),
        with("another type", 1, json!({ "datatype": "INT8" }), &["inputs[1].datatype", "INT8", "INT64"]),
        with("an unknown type", 1, json!({ "datatype": "INT128" }), &["inputs[1].datatype", "INT128"]),
        with("unknown name", 2, json!({ "name": "height" }), &["inputs[2].name", "height"]),
        with("a tensor twice", 2, json!({ "name": "size", "datatype": "INT64" }), &["inputs[2].name", "size"]),
        with("shared memory", 2, json!({ "parameters": { "shared_memory_region": "r" } }), &["shared_memory_region"]),
        document("a tensor missing", json!({ "inputs": [good()["inputs"][0], good()["inputs"][1]] }), &["weight"]),
        document("no tensors", json!({ "inputs": [] }), &["inputs"]),
        document("300 tensors", json!({ "inputs": vec![good()["inputs"][2].clone(); 300] }), &["inputs"]),
        document(
            "an unknown output",
            json!({ "inputs": good()["inputs"], "outputs": [{ "name": "y" }] }),
            &["outputs[0].name", "y"],
        ),
    ]
}

fn bytes() -> Vec<Row> {
    let length =
        |what, length: &str, says| text(what, good().to_string(), says).with("inference-header-content-length", length);
    vec![
        binary(
            "a length of 4 GiB",
            7,
            &[0xff, 0xff, 0xff, 0xff, b'r', b'e', b'd'],
            &["inputs[0].data", "offset 0 is cut off"],
        ),
        binary("a length too short", 7, &[2, 0, 0, 0, b'r', b'e', b'd'], &["inputs[0].data", "offset 6 is cut off"]),
        binary("two for one", 9, &[1, 0, 0, 0, b'r', 0, 0, 0, 0], &["inputs[0].data", "2 elements"]),
        binary(
            "more than is there",
            700,
            &[3, 0, 0, 0, b'r', b'e', b'd'],
            &["inputs[0].parameters.binary_data_size", "700"],
        ),
        binary("less than is there", 7, &[3, 0, 0, 0, b'r', b'e', b'd', b'!'], &["body", "8 bytes"]),
        binary(
            "a negative size",
            -7,
            &[3, 0, 0, 0, b'r', b'e', b'd'],
            &["inputs[0].parameters.binary_data_size", "-7"],
        ),
        length("a document longer than the body", "100000", &["header.inference-header-content-length", "100000"]),
        length("a length that is no number", "0x10", &["header.inference-header-content-length", "0x10"]),
        length("a length below zero", "-1", &["header.inference-header-content-length", "-1"]),
        length(
            "a length beyond 64 bits",
            "18446744073709551616",
            &["header.inference-header-content-length", "18446744073709551616"],
        ),
        length("a length that cuts the document", "20", &["body"]),
        length("no document for three inputs", "0", &["header.inference-header-content-length", "0"]),
        length("two lengths", "2", &["header.inference-header-content-length"])
            .with("inference-header-content-length", 3),
    ]
}

fn documents() -> Vec<Row> {
    let inputs = good()["inputs"].to_string();
    let nest = |open: &str, close: &str| format!("{}{}", open.repeat(50_000), close.repeat(50_000));
    vec![
        text("nothing", String::new(), &["body"]),
        text("cut off", good().to_string()[..100].to_owned(), &["body"]),
        text("no object", "[1, 2]".to_owned(), &["body"]),
        text("not a number", "{\"inputs\": NaN}".to_owned(), &["body"]),
        text("more than one document", format!("{}{}", good(), good()), &["body"]),
        text("inputs twice", format!("{{\"inputs\":{inputs},\"inputs\":{inputs}}}"), &["inputs"]),
        text("brackets", "[".repeat(100_000), &["body"]),
        text("deep document", nest("[", "]"), &["body"]),
        text("deep objects", nest("{\"a\":", "}").replacen('}', "1}", 1), &["unknown field `a`"]),
        text("deep data", good().to_string().replace("[0.5]", &nest("[", "]")), &["inputs[2].data"]),
        text(
            "deep parameters",
            format!("{{\"parameters\":{{\"a\":{}}},\"inputs\":{inputs}}}", nest("[", "]")),
            &["parameters"],
        ),
        Row { body: vec![b'{', 0xff, 0xfe, b'}'], ..text("no text", String::new(), &["body"]) },
        text("a deadline that is none", good().to_string(), &["header.slipway-timeout-ms", "soon"])
            .with("slipway-timeout-ms", "soon"),
    ]
}

fn packed() -> Vec<Row> {
    let large = vec![b' '; 32 * MAX_BODY];
    let bomb = |what, encoding: &str, body: Vec<u8>| {
        assert!(body.len() < MAX_BODY, "{what} is refused for what it unpacks to, not for its {} bytes", body.len());
        Row { body, ..text(what, String::new(), &["1048576"]) }
            .with("content-encoding", encoding)
            .refused(413, "payload-too-large")
    };
    let good = good().to_string();
    vec![
        bomb("a bomb of gzip", "gzip", gzip(&large)),
        bomb("a bomb of deflate", "deflate", deflate(&large)),
        Row { body: gzip(good.as_bytes())[..30].to_vec(), ..text("gzip cut off", String::new(), &["not Gzip"]) }
            .with("content-encoding", "gzip"),
        text("no gzip", good.clone(), &["not Gzip"]).with("content-encoding", "gzip"),
        Row { body: vec![b' '; MAX_BODY + 1], ..text("too large", String::new(), &["1048576"]) }
            .refused(413, "payload-too-large"),
    ]
}

/// Sends every row over both versions; what was not refused as it should.
pub(super) async fn check(server: &Server) -> Vec<String> {
    let builder = || Client::builder().no_proxy();
    let clients = [("HTTP/1.1", builder().http1_only()), ("HTTP/2", builder().http2_prior_knowledge())];
    let mut wrong = Vec::new();
    for (version, client) in clients {
        let client = client.build().unwrap();
        let ask = async |body: Vec<u8>, headers: &[(&'static str, String)]| {
            let mut post = client.post(format!("http://{}/v2/models/columns/infer", server.address)).body(body);
            post = post.header("content-type", "application/json").bearer_auth(&server.key);
            for (name, value) in headers {
                post = post.header(*name, value);
            }
            match post.send().await {
                Ok(response) => Ok(Answered::read(response).await),
                Err(error) => Err(format!("{error:?}")),
            }
        };
        for row in [shapes(), elements(), bytes(), documents(), packed()].into_iter().flatten() {
            let found = match ask(row.body, &row.headers).await {
                Ok(answered) => {
                    let code = serde_json::from_str::<Value>(&answered.text).unwrap_or_default()["code"].clone();
                    let says = row.says.iter().all(|word| answered.text.contains(word));
                    if answered.status == row.status && code == row.code && says {
                        continue;
                    }
                    format!("{} {}", answered.status, answered.text)
                }
                Err(error) => error,
            };
            wrong
                .push(format!("{} {version} {}: not {} {:?} but {found}", server.what, row.what, row.status, row.says));
        }
        let answered = ask(good().to_string().into_bytes(), &[]).await;
        assert!(
            answered.as_ref().is_ok_and(|answered| answered.status == 200),
            "after all of it a good request is answered"
        );
    }
    wrong
}

//! The format of an artifact, told from its content.
//!
//! First what has a magic number, then safetensors, whose first eight bytes say how long its header is, then protobuf,
//! which has neither: ONNX and SavedModel are told by which fields their outermost message has.

use super::{
    Invalid,
    broken::{CUT, LONGEST_NAME, unreadable},
    content::{Content, window},
    foreign, gguf, safetensors,
    wire::{Fault, Value, Wire},
    zip,
};
use slipway_kernel::bundle;

/// Bytes looked at first; an archive has its magic at 257.
const HEAD: usize = 512;
/// Fields of an ONNX file's outermost message (`ModelProto`).
const IR_VERSION: u32 = 1;
const GRAPH: u32 = 7;
const ONNX_FIELDS: [u32; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26];
/// Versions of ONNX's file format there may be; 13 is the newest known.
const IR_VERSIONS: std::ops::RangeInclusive<u64> = 1..=64;

/// What the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// ONNX, whole as far as its outermost message tells.
    Onnx,
    /// TensorFlow SavedModel.
    SavedModel,
    /// TorchScript.
    Torchscript,
    /// Safetensors.
    Safetensors,
    /// GGUF.
    Gguf,
    /// A TensorRT engine.
    TensorrtPlan,
    /// An archive of a folder.
    Bundle,
}

/// Tells the format.
///
/// # Errors
/// [`Invalid`], when it is none of those that are known, or broken.
pub fn detect<C: Content + ?Sized>(content: &C) -> Result<Detected, Invalid> {
    let size = content.size();
    if size == 0 {
        return Err(Invalid::new("the file is empty", "see to where it comes from"));
    }
    let head = window(content, 0, HEAD).map_err(|reason| unreadable(&reason))?;
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return zip::Archive::of_torchscript(content).map(|_| Detected::Torchscript);
    }
    if is_tensorrt(&head) {
        return Ok(Detected::TensorrtPlan);
    }
    if head.starts_with(gguf::MAGIC) {
        return Ok(Detected::Gguf);
    }
    if bundle::begins(&head) {
        return Ok(Detected::Bundle);
    }
    if let Some(invalid) = foreign::by_magic(&head) {
        return Err(invalid);
    }
    if safetensors::is_likely(&head, size) {
        return Ok(Detected::Safetensors);
    }
    protobuf(content, &head)
}

/// Four letters alone could begin any text; after them an engine has small binary numbers.
fn is_tensorrt(head: &[u8]) -> bool {
    (head.starts_with(b"ftrt") || head.starts_with(b"ptrt")) && head.get(4..12).is_some_and(|rest| rest.contains(&0))
}

/// What the outermost message of a protobuf file showed.
#[derive(Default)]
struct Seen {
    ir_version: Option<u64>,
    graph: bool,
    foreign_fields: bool,
    meta_graphs: u32,
    fields: u32,
}

impl Seen {
    /// As far as it was read, it is ONNX: its version comes first and makes sense, and nothing is in it that ONNX has not.
    fn like_onnx(&self) -> bool {
        self.ir_version.is_some_and(|version| IR_VERSIONS.contains(&version)) && !self.foreign_fields
    }
}

fn protobuf<C: Content + ?Sized>(content: &C, head: &[u8]) -> Result<Detected, Invalid> {
    let wire = Wire::new(content);
    let mut fields = wire.fields(wire.whole());
    let mut seen = Seen::default();
    let fault = loop {
        match fields.next() {
            Ok(None) => break None,
            Err(fault) => break Some((fault, fields.at())),
            Ok(Some(field)) => {
                seen.fields = seen.fields.saturating_add(1);
                match (field.number, field.value) {
                    (IR_VERSION, Value::Varint(version)) => seen.ir_version = Some(version),
                    (GRAPH, Value::Bytes(_)) => seen.graph = true,
                    (2, Value::Bytes(span)) if is_meta_graph(&wire, span) => seen.meta_graphs += 1,
                    (number, _) => seen.foreign_fields |= !ONNX_FIELDS.contains(&number),
                }
            }
        }
    };
    match fault {
        None if seen.graph && seen.like_onnx() => Ok(Detected::Onnx),
        None if seen.meta_graphs > 0 && !seen.graph => Ok(Detected::SavedModel),
        None if seen.like_onnx() && seen.fields > 1 => Err(Invalid::new(
            "it is an ONNX file without a graph",
            "the file seems to be cut short; fetch or export it again",
        )),
        Some((Fault::Unreadable(reason), _)) => Err(unreadable(&reason)),
        Some((Fault::TooMany, _)) => Err(foreign::by_looks(head)),
        // Both begin alike; then ONNX has the name of its producer, and a SavedModel all that it holds.
        Some((Fault::Truncated { field: 2, wanted, left }, at)) if seen.like_onnx() && wanted > LONGEST_NAME as u64 => {
            Err(Invalid::new(
                format!("it is a SavedModel cut short: its graph at byte {at} says {wanted} bytes and {left} are left"),
                CUT,
            ))
        }
        Some((Fault::Truncated { field, wanted, left }, at)) if seen.like_onnx() && ONNX_FIELDS.contains(&field) => {
            Err(Invalid::new(
                format!(
                    "it is an ONNX file cut short: its field {field} at byte {at} says {wanted} bytes and {left} are left"
                ),
                "fetch or export it again",
            ))
        }
        Some((_, at)) if seen.like_onnx() && seen.graph => {
            Err(Invalid::new(format!("it is an ONNX file broken at byte {at}"), "fetch or export it again"))
        }
        _ => Err(foreign::by_looks(head)),
    }
}

/// Whether the submessage is a `MetaGraphDef`: it holds only its fields, all submessages, among them the graph (2).
fn is_meta_graph<C: Content + ?Sized>(wire: &Wire<'_, C>, span: super::wire::Span) -> bool {
    let mut fields = wire.fields(span);
    let mut graph = false;
    loop {
        match fields.next() {
            Ok(None) => return graph,
            Ok(Some(field)) => {
                if !(1..=7).contains(&field.number) || !matches!(field.value, Value::Bytes(_)) {
                    return false;
                }
                graph |= field.number == 2;
            }
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            safetensors::write::file,
            wire::write::{bytes, number},
            zip::write::archive,
        },
        *,
    };

    fn onnx() -> Vec<u8> {
        let operator_set = number(2, 17);
        [number(1, 8), bytes(2, b"test"), bytes(7, &bytes(2, b"graph")), bytes(8, &operator_set)].concat()
    }

    fn saved_model() -> Vec<u8> {
        let meta_graph = [bytes(1, &bytes(4, b"serve")), bytes(2, &bytes(1, b"node"))].concat();
        [number(1, 1), bytes(2, &meta_graph)].concat()
    }

    #[test]
    fn each_format_is_told_from_its_content() {
        let tensors = r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        for (content, format) in [
            (onnx(), Detected::Onnx),
            (saved_model(), Detected::SavedModel),
            (archive(&["m/constants.pkl", "m/code/m.py"]), Detected::Torchscript),
            (file(tensors, 4), Detected::Safetensors),
            (b"GGUF\x03\0\0\0".to_vec(), Detected::Gguf),
            (b"ftrt\0\0\0\0\xe8\0\0\0".to_vec(), Detected::TensorrtPlan),
        ] {
            assert_eq!(detect(&content[..]), Ok(format));
        }
    }

    #[test]
    fn an_onnx_file_cut_anywhere_is_never_taken_for_whole() {
        let whole = onnx();
        for length in 0..whole.len() {
            let outcome = detect(&whole[..length]);
            // Cut between the graph and the operator sets it still has the looks of one; reading it finds out.
            assert!(outcome.is_err() || length > whole.len() - 5, "{length}: {outcome:?}");
        }
    }

    #[test]
    fn a_cut_onnx_file_is_called_one() {
        let mut cut = [number(1, 8), bytes(2, b"pytorch"), bytes(7, &[0; 1_000])].concat();
        cut.truncate(400);
        let invalid = detect(&cut[..]).unwrap_err();
        assert!(
            invalid.found.starts_with("it is an ONNX file cut short: its field 7 at byte 11 says 1000 bytes"),
            "{invalid}"
        );
    }

    #[test]
    fn protobuf_of_another_kind_is_no_model() {
        for content in [bytes(1, b"a string"), number(3, 4), [number(1, 8), number(99, 1)].concat(), number(1, 9_999)] {
            let invalid = detect(&content[..]).unwrap_err();
            assert!(invalid.found.contains("no model") || invalid.found.contains("text"), "{invalid}");
        }
        assert_eq!(detect(&b"ftrt begins a text"[..]).unwrap_err().found, "it is a text file");
        assert_eq!(detect(&b""[..]).unwrap_err().found, "the file is empty");
    }
}

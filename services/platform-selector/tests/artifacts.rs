//! Files that are no model, or a broken one: each is refused for its own reason, within 64 MiB of memory however large it says it is.
//! They are made by the formats' specifications.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

use slipway_platform_selector::domain::artifact::{content::Content, read};
use std::fs;

/// What reading one file may take, in KiB.
const MOST_MEMORY: u64 = 64 << 10;

/// A file whose middle repeats, so that a large one takes no memory itself.
struct File {
    head: Vec<u8>,
    unit: Vec<u8>,
    times: u64,
    tail: Vec<u8>,
}

impl From<Vec<u8>> for File {
    fn from(head: Vec<u8>) -> Self {
        Self { head, unit: vec![0], times: 0, tail: Vec::new() }
    }
}

impl File {
    fn repeating(head: Vec<u8>, unit: &[u8], times: u64, tail: Vec<u8>) -> Self {
        Self { head, unit: unit.to_vec(), times, tail }
    }

    fn byte(&self, at: u64) -> u8 {
        let (head, unit) = (self.head.len() as u64, self.unit.len() as u64);
        match at.checked_sub(head) {
            None => self.head[at as usize],
            Some(at) if at < unit * self.times => self.unit[(at % unit) as usize],
            Some(at) => self.tail[(at - unit * self.times) as usize],
        }
    }
}

impl Content for File {
    fn size(&self) -> u64 {
        self.head.len() as u64 + self.unit.len() as u64 * self.times + self.tail.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), String> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size()) {
            return Err("read beyond the end".to_owned());
        }
        for (at, byte) in (offset..).zip(buffer) {
            *byte = self.byte(at);
        }
        Ok(())
    }
}

fn varint(value: u64) -> Vec<u8> {
    if value < 0x80 { vec![value as u8] } else { [vec![value as u8 | 0x80], varint(value >> 7)].concat() }
}

/// A field of protobuf that is a number.
fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A field of protobuf that is bytes.
fn field(number: u64, content: &[u8]) -> Vec<u8> {
    [head(number, content.len() as u64), content.to_vec()].concat()
}

/// The beginning of one that is so long.
fn head(number: u64, length: u64) -> Vec<u8> {
    [varint(number << 3 | 2), varint(length)].concat()
}

fn cut(mut bytes: Vec<u8>, from_end: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - from_end);
    bytes
}

mod onnx {
    use super::{field, number};

    pub(super) fn model(graph: &[u8]) -> Vec<u8> {
        [number(1, 8), field(2, b"test"), field(7, graph), field(8, &number(2, 17))].concat()
    }

    pub(super) fn node(operator: &str) -> Vec<u8> {
        field(1, &[field(1, b"x"), field(2, b"y"), field(4, operator.as_bytes())].concat())
    }

    pub(super) fn constant(shape: &[u64], more: &[u8]) -> Vec<u8> {
        let shape: Vec<u8> = shape.iter().flat_map(|size| number(1, *size)).collect();
        field(5, &[shape, number(2, 1), field(8, b"w"), more.to_vec()].concat())
    }

    pub(super) fn output(name: &[u8], size: u64) -> Vec<u8> {
        let tensor = [number(1, 1), field(2, &field(1, &number(1, size)))].concat();
        field(12, &[field(1, name), field(2, &field(1, &tensor))].concat())
    }

    /// Graphs in attributes of nodes.
    pub(super) fn nested(depth: u32) -> Vec<u8> {
        (0..depth).fold(node("Relu"), |graph, _| {
            field(1, &[field(4, b"If"), field(5, &[field(1, b"then"), field(6, &graph)].concat())].concat())
        })
    }
}

fn onnx_files() -> Vec<(&'static str, File, &'static str)> {
    use onnx::{constant, model, nested, node, output};
    let whole = || [node("Relu"), output(b"y", 4)].concat();
    let operators = |count: u32| (0..count).flat_map(|n| node(&format!("Op{n}"))).collect::<Vec<_>>();
    let softmax = node("Softmax");
    let nodes = 1_000_001;
    let many = [number(1, 8), head(7, softmax.len() as u64 * nodes)].concat();
    vec![
        ("cut in its graph", cut(model(&[0; 500]), 300).into(), "an ONNX file cut short"),
        ("no graph", [number(1, 8), field(2, b"test")].concat().into(), "without a graph"),
        ("no operator set", [number(1, 8), field(7, &whole())].concat().into(), "names no operator set"),
        ("of 2016", [number(1, 2), field(7, &whole()), field(8, &number(2, 1))].concat().into(), "format version 2"),
        ("two graphs", [model(&whole()), field(7, &whole())].concat().into(), "two graphs"),
        ("no operators", model(&output(b"y", 4)).into(), "no operators"),
        ("no outputs", model(&node("Relu")).into(), "no outputs"),
        (
            "weights elsewhere",
            model(&[whole(), constant(&[4], &field(13, b"x"))].concat()).into(),
            "lies in another file",
        ),
        ("a shape that overflows", model(&[whole(), constant(&[1 << 62, 8], b"")].concat()).into(), "impossible shape"),
        ("a negative shape", model(&[whole(), constant(&[u64::MAX], b"")].concat()).into(), "impossible shape"),
        (
            "more elements than bytes",
            model(&[whole(), constant(&[1 << 40], &field(4, &[0; 16]))].concat()).into(),
            "elements and holds",
        ),
        (
            "raw data of another length",
            model(&[whole(), constant(&[4], &field(9, &[0; 15]))].concat()).into(),
            "wants 16 bytes and has 15",
        ),
        ("graphs in graphs", model(&[whole(), nested(40)].concat()).into(), "nest deeper"),
        ("operators without end", model(&[operators(1_025), whole()].concat()).into(), "different operators"),
        ("nodes without end", File::repeating(many, &softmax, nodes, field(8, &number(2, 17))), "nodes and constants"),
        ("a name for a terminal", model(&[whole(), output(b"\x1b[2J", 4)].concat()).into(), "no printable text"),
        ("a name without end", model(&[whole(), output(&[b'a'; 300], 4)].concat()).into(), "a name of 300 bytes"),
        (
            "outputs without end",
            model(&(0..=256).flat_map(|n| output(format!("y{n}").as_bytes(), 1)).collect::<Vec<_>>()).into(),
            "more inputs and outputs",
        ),
        (
            "a dimension beyond all measure",
            model(&[node("Relu"), output(b"y", 1 << 40)].concat()).into(),
            "a dimension of",
        ),
    ]
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

fn safetensors_files() -> Vec<(&'static str, File, &'static str)> {
    let one =
        |shape: &str, end: u64| format!(r#"{{"w":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,{end}]}}}}"#);
    let long = |length: u64, begin: &str| [length.to_le_bytes().to_vec(), begin.as_bytes().to_vec()].concat();
    let held = 16_u64 << 20;
    vec![
        ("a header beyond the end", long(1_000, "{").into(), "says 1000 bytes"),
        ("a header that is no JSON", safetensors("{nothing", 0).into(), "broken"),
        ("a header with something behind it", safetensors("{}]", 0).into(), "broken"),
        ("data beyond the end", safetensors(&one("4", 16), 8).into(), "0 to 16 of 8"),
        (
            "more elements than bytes",
            safetensors(&one("4294967296,4294967296", 16), 16).into(),
            "more elements than bytes",
        ),
        (
            "dimensions without end",
            File::repeating(long(held, r#"{"w":{"shape":[1"#), b",1", held / 2, vec![0; 16]),
            "broken",
        ),
        ("lists in lists", File::repeating(long(held, r#"{"w":"#), b"[", held, vec![0; 16]), "broken"),
        ("a name without end", File::repeating(long(held, "{\""), b"a", held, vec![0; 16]), "broken"),
        (
            "a header beyond all measure",
            File::repeating(long(90 << 20, "{\""), b"a", 91 << 20, Vec::new()),
            "at most 16777216 are read",
        ),
    ]
}

mod saved_model {
    use super::{field, number};

    pub(super) fn pair(key: &str, value: &[u8]) -> Vec<u8> {
        [field(1, key.as_bytes()), field(2, value)].concat()
    }

    pub(super) fn node(operator: &str, attributes: &[u8]) -> Vec<u8> {
        field(1, &[field(1, b"n"), field(2, operator.as_bytes()), attributes.to_vec()].concat())
    }

    pub(super) fn signature(name: &str) -> Vec<u8> {
        let port = pair("x", &[number(2, 1), field(3, &field(2, &number(1, 4)))].concat());
        field(5, &pair(name, &[field(1, &port), field(2, &port)].concat()))
    }

    pub(super) fn model(tag: &str, graph: &[u8], more: &[u8]) -> Vec<u8> {
        let info = field(1, &field(4, tag.as_bytes()));
        [number(1, 1), field(2, &[info, field(2, graph), more.to_vec()].concat())].concat()
    }
}

fn saved_model_files() -> Vec<(&'static str, File, &'static str)> {
    use saved_model::{model, node, pair, signature};
    let served = || signature("serving_default");
    let graph = || node("Placeholder", b"");
    let size = field(2, &number(1, i32::MAX as u64));
    let tensor = [number(1, 1), field(2, &size.repeat(3))].concat();
    let constant = node("Const", &field(5, &pair("value", &field(8, &tensor))));
    let variable = node("VarHandleOp", b"");
    vec![
        ("for training", model("train", &graph(), &served()).into(), "tagged `serve`"),
        ("no signature", model("serve", &graph(), b"").into(), "without a signature"),
        (
            "two signatures",
            model("serve", &graph(), &[signature("a"), signature("b")].concat()).into(),
            "none of which",
        ),
        ("variables", model("serve", &variable, &served()).into(), "variables/"),
        ("assets", model("serve", &graph(), &[served(), field(6, b"words")].concat()).into(), "assets/"),
        ("a constant of an impossible shape", model("serve", &constant, &served()).into(), "impossible shape"),
        ("cut", cut(model("serve", &graph().repeat(50), &served()), 4).into(), "a SavedModel cut short"),
    ]
}

mod tar {
    pub(super) const BLOCK: usize = 512;

    /// The header of an entry of so many bytes.
    pub(super) fn header(kind: u8, name: &str, size: u64) -> Vec<u8> {
        let mut header = [0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[148..156].fill(b' ');
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header.to_vec()
    }

    pub(super) fn file(name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = [header(b'0', name, content.len() as u64), content.to_vec()].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }
}

fn archives() -> Vec<(&'static str, File, &'static str)> {
    use tar::{BLOCK, file, header};
    let end = || vec![0; 2 * BLOCK];
    let variable = saved_model::node("VarHandleOp", b"");
    let model = || file("saved_model.pb", &saved_model::model("serve", &variable, &saved_model::signature("a")));
    let index = || file("variables/variables.index", b"index");
    let mut damaged = model();
    damaged[0] = b'S';
    let mut renamed = [header(b'x', "a", 12), b"12 path=b/c\n".to_vec()].concat();
    renamed.resize(2 * BLOCK, 0);
    let bombs = header(b'x', "attributes", 1 << 32);
    vec![
        ("an archive of something", [file("a.txt", b"a"), end()].concat().into(), "none of which is saved_model.pb"),
        ("an empty archive", [header(b'5', "a/", 0), end()].concat().into(), "archive of 0 files"),
        ("an archive without its end", [model(), index()].concat().into(), "cut short after 2 entries"),
        ("a file beyond the end", [model(), header(b'0', "a", 1 << 32), end()].concat().into(), "cut short after 1"),
        ("a header that does not add up", [damaged, end()].concat().into(), "entry 1 of it is damaged"),
        ("a way out", [model(), file("../../etc/cron.d/a", b"a"), end()].concat().into(), "leads out"),
        ("a link", [model(), header(b'2', "variables", 0), end()].concat().into(), "neither a file nor a folder"),
        ("the same twice", [model(), model(), end()].concat().into(), "has the name of another"),
        ("another name in an extension", [renamed, model(), end()].concat().into(), "in an extension"),
        ("attributes without end", File::repeating(bombs, b"a", 1 << 32, end()), "attributes without end"),
        ("entries without end", File::repeating(model(), &header(b'5', "a/", 0), 1 << 20, end()), "any model has"),
        ("variables without an index", [model(), end()].concat().into(), "variables.index is missing"),
        ("variables without values", [model(), index(), end()].concat().into(), "not all of variables"),
    ]
}

mod zip {
    /// An entry: name, method, content as it lies there, length that is said.
    pub(super) type Entry<'a> = (&'a str, u16, &'a [u8], u32);

    pub(super) fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
        let (mut bytes, mut table) = (Vec::new(), Vec::new());
        for (name, method, content, length) in entries {
            let offset = (bytes.len() as u32).to_le_bytes();
            let sizes = [(content.len() as u32).to_le_bytes(), length.to_le_bytes()].concat();
            let facts = [
                &[20, 0, 0, 0][..],
                &method.to_le_bytes(),
                &[0; 8],
                &sizes,
                &(name.len() as u16).to_le_bytes(),
                &[0; 2],
            ]
            .concat();
            bytes.extend([&b"PK\x03\x04"[..], &facts[..], name.as_bytes(), content].concat());
            table.extend([&b"PK\x01\x02\x14\0"[..], &facts[..], &[0; 10], &offset, name.as_bytes()].concat());
        }
        let counts = [
            &(entries.len() as u16).to_le_bytes()[..],
            &(table.len() as u32).to_le_bytes(),
            &(bytes.len() as u32).to_le_bytes(),
        ];
        [&bytes[..], &table, b"PK\x05\x06", &[0; 6], &counts.concat(), &[0; 2]].concat()
    }

    pub(super) fn torchscript(pickle: &[u8], code: (u16, &[u8], u32), data: (u16, &[u8], u32)) -> Vec<u8> {
        archive(&[
            ("m/data.pkl", 0, pickle, pickle.len() as u32),
            ("m/code/__torch__.py", code.0, code.1, code.2),
            ("m/data/0", data.0, data.1, data.2),
            ("m/constants.pkl", 0, b"", 0),
        ])
    }
}

fn torchscript_files() -> Vec<(&'static str, File, &'static str)> {
    use zip::{archive, torchscript};
    const PICKLE: &[u8] = b"\x80\x02c__torch__\nTwice\nq\0)\x81}b.";
    const CODE: &[u8] = b"class Twice(Module):\n  def forward(self: __torch__.Twice,\n    x: Tensor) -> Tensor:\n    return torch.mul(x, 2)\n";
    let code = || (0, CODE, CODE.len() as u32);
    let whole = || torchscript(PICKLE, code(), (0, b"", 0));
    let mut crowded = whole();
    let end = crowded.len() - 22;
    crowded[end + 12..end + 16].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
    let no_method = b"class Twice(Module):\n  pass\n";
    vec![
        ("cut", cut(whole(), 30).into(), "table of contents is missing"),
        ("a table beyond all measure", crowded.into(), "a table of 4026531840 bytes"),
        ("a state dict", archive(&[("m/data.pkl", 0, b"", 0), ("m/data/0", 0, b"", 0)]).into(), "state dict"),
        ("arrays of NumPy", archive(&[("a.npy", 0, b"", 0)]).into(), "NumPy"),
        ("an archive of something", archive(&[("a.txt", 0, b"", 0)]).into(), "no TorchScript"),
        (
            "an object of no class of its own",
            torchscript(b"\x80\x02cos\nsystem\nq", code(), (0, b"", 0)).into(),
            "without a class",
        ),
        (
            "no forward",
            torchscript(PICKLE, (0, no_method, no_method.len() as u32), (0, b"", 0)).into(),
            "without the method `forward`",
        ),
        (
            "code beyond all measure",
            torchscript(PICKLE, (8, b"\x4b\x04\0", 1 << 30), (0, b"", 0)).into(),
            "bytes of code",
        ),
        (
            "code of another length",
            torchscript(PICKLE, (8, b"\x4b\x04\0", 1 << 20), (0, b"", 0)).into(),
            "not what its table",
        ),
        (
            "code that is not packed",
            torchscript(PICKLE, (8, b"\xff\xff\xff", 100), (0, b"", 0)).into(),
            "not what its table",
        ),
        ("code packed in another way", torchscript(PICKLE, (14, CODE, 100), (0, b"", 0)).into(), "packed in a way"),
        (
            "tensors beyond the end",
            torchscript(PICKLE, code(), (0, b"", u32::MAX - 1)).into(),
            "more than the file has",
        ),
    ]
}

mod gguf {
    pub(super) fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    pub(super) fn key(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        [text(name), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
    }

    pub(super) fn list(kind: u32, count: u64, items: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &count.to_le_bytes(), items].concat()
    }

    pub(super) fn tensor(shape: &[u64], offset: u64) -> Vec<u8> {
        let sizes: Vec<u8> = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
        [
            text("w"),
            (shape.len() as u32).to_le_bytes().to_vec(),
            sizes,
            0_u32.to_le_bytes().to_vec(),
            offset.to_le_bytes().to_vec(),
        ]
        .concat()
    }

    pub(super) fn file(version: u32, counts: [u64; 2], rest: &[u8]) -> Vec<u8> {
        let mut file = [&b"GGUF"[..], &version.to_le_bytes(), &counts.map(u64::to_le_bytes).concat(), rest].concat();
        file.resize(file.len().next_multiple_of(32) + 16, 0);
        file
    }
}

fn gguf_files() -> Vec<(&'static str, File, &'static str)> {
    use gguf::{file, key, list, tensor};
    let one = || tensor(&[4], 0);
    let with = |key: Vec<u8>| File::from(file(3, [1, 1], &[key, one()].concat()));
    let nested = (0..6).fold(vec![0; 4], |inner, _| list(9, 1, &inner));
    let texts = 4_000_001_u64;
    let long_list = [file(3, [1, 1], &[])[..24].to_vec(), key("k", 9, &list(8, texts, b""))].concat();
    vec![
        ("of version 1", file(1, [1, 0], &one()).into(), "of version 1"),
        ("of another machine", file(3_u32.swap_bytes(), [1, 0], &one()).into(), "big-endian"),
        ("a vocabulary alone", file(3, [0, 0], b"").into(), "without tensors"),
        ("tensors without end", file(3, [u64::MAX, 0], b"").into(), "18446744073709551615 tensors"),
        ("keys without end", file(3, [1, u64::MAX], b"").into(), "18446744073709551615 keys"),
        ("tensors beyond the end", file(3, [1, 0], &tensor(&[5], 0)).into(), "take 20 bytes, and 16 are left"),
        ("a shape that overflows", file(3, [1, 0], &tensor(&[u64::MAX, 2], 0)).into(), "impossible shape"),
        ("a place that overflows", file(3, [1, 0], &tensor(&[4], u64::MAX)).into(), "impossible shape"),
        ("dimensions without end", file(3, [1, 0], &tensor(&[1; 9], 0)).into(), "impossible shape"),
        ("cut", cut(file(3, [1, 0], &one()), 40).into(), "left"),
        ("a text beyond the end", with(key("k", 8, &u64::MAX.to_le_bytes())), "18446744073709551615 bytes are due"),
        ("numbers beyond the end", with(key("k", 9, &list(12, u64::MAX, b""))), "18446744073709551615 bytes are due"),
        ("texts without end", File::repeating(long_list, &[0; 8], texts, Vec::new()), "texts in its lists"),
        ("lists in lists", with(key("k", 9, &nested)), "unknown type (9)"),
        ("a value of no type", with(key("k", 77, b"")), "unknown type (77)"),
        ("an alignment that is none", with(key("general.alignment", 4, &[3, 0, 0, 0])), "aligned to 3"),
    ]
}

fn other_files() -> Vec<(&'static str, File, &'static str)> {
    let tar = [vec![0; 257], b"ustar\0".to_vec()].concat();
    [
        ("nothing", &b""[..], "the file is empty"),
        ("noise", b"\xde\xad\xbe\xef\0\x01", "no model of a known format"),
        ("a page", b"<!DOCTYPE html><html>", "HTML page"),
        ("an error of a store", b"<?xml version='1.0'?><Error>", "XML document"),
        ("a document", b"{\"password\":1}", "JSON document"),
        ("a text", b"root:x:0:0:root", "text file"),
        ("a pointer", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("gzip", b"\x1f\x8b\x08", "gzip archive"),
        ("tar", &tar, "tar archive"),
        ("a program", b"\x7fELF\x02", "ELF"),
        ("a pickle", b"\x80\x04\x95", "pickle (protocol 4)"),
        ("an early pickle", b"(dp0\n\xff", "Python pickle"),
        ("an old checkpoint", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20", "old format"),
        ("an array", b"\x93NUMPY\x01", "NumPy array"),
        ("HDF5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("TensorFlow Lite", b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
    ]
    .map(|(name, bytes, word)| (name, bytes.to_vec().into(), word))
    .into()
}

/// The largest archive table that is read, without a TorchScript in it: what is refused last is what takes most.
fn largest_table() -> File {
    let unit = [&b"PK\x01\x02"[..], &[0; 24], &100_u16.to_le_bytes(), &[0; 16], &[b'a'; 100]].concat();
    let entries = 100_000_u64;
    let length = unit.len() as u64 * entries;
    let large =
        [&b"PK\x06\x06"[..], &[0; 28], &entries.to_le_bytes(), &length.to_le_bytes(), &4_u64.to_le_bytes()].concat();
    let locator = [&b"PK\x06\x07"[..], &[0; 4], &(4 + length).to_le_bytes(), &[0; 4]].concat();
    let tail = [&large[..], &locator, b"PK\x05\x06", &[0; 4], &[0xff; 12], &[0; 2]].concat();
    File::repeating(b"PK\x03\x04".to_vec(), &unit, entries, tail)
}

/// The most memory that this process ever had, in KiB.
fn high_water() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_file_that_is_no_model_is_refused_for_its_own_reason_within_its_memory() {
    let kinds = [
        ("onnx", onnx_files()),
        ("archive", archives()),
        ("safetensors", safetensors_files()),
        ("saved-model", saved_model_files()),
        ("torchscript", torchscript_files()),
        ("gguf", gguf_files()),
        ("other", other_files()),
        ("zip", vec![("a table without end", largest_table(), "no TorchScript")]),
    ];
    let (mut wrong, mut files, before) = (Vec::new(), 0, high_water());
    for (kind, (name, file, word)) in
        kinds.into_iter().flat_map(|(kind, files)| files.into_iter().map(move |file| (kind, file)))
    {
        files += 1;
        match read(&file) {
            Err(invalid) if invalid.to_string().contains(word) => {}
            Err(invalid) => wrong.push(format!("{kind}, {name}: `{word}` is not in: {invalid}")),
            Ok(model) => wrong.push(format!("{kind}, {name}: taken for {}", model.format)),
        }
        // Memory that was given back may still be the process's, so that this is at most too strict.
        let took = high_water() - before;
        assert!(took <= MOST_MEMORY, "{kind}, {name}: {} MiB", took >> 10);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files >= 40, "{files}");
}

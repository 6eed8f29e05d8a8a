//! TorchScript: an archive of tensors and of the code that computes with them. The code is text, and tells which arguments `forward` takes
//! and which operators are called; of a tensor it knows that it is one, its element type and shape come with each call. Nothing is
//! unpickled: of the pickle, only the name of the class at its beginning is read.

use super::{
    Invalid, MOST_OPERATORS, Model,
    broken::{CUT, LONGEST_NAME, printable},
    content::Content,
    memory,
    ports::{Declared, Signature},
    zip::{Archive, Entry},
};
use slipway_kernel::{ModelFormat, OperatorCount};
use std::collections::BTreeMap;

/// All source files together, unpacked. A large model has some megabytes.
const MOST_CODE: u64 = 16 << 20;
/// What is read of the pickle: a class is named in its first line.
const PICKLE_HEAD: usize = 4 << 10;
/// What a pickle of this format begins with: protocol 2, and the class of the object.
const PICKLED_OBJECT: &[u8] = b"\x80\x02c";
/// Calls of these are calls of operators.
const OPERATORS: [&[u8]; 2] = [b"torch.", b"ops."];

const KIND: &str = "a TorchScript archive";

/// Reads the model.
///
/// # Errors
/// [`Invalid`], when what every such archive has is missing or broken.
pub(super) fn read<C: Content + ?Sized>(content: &C, archive: &Archive) -> Result<Model, Invalid> {
    let pickle = archive.entries.iter().find(|entry| is_pickle(&entry.name)).ok_or_else(|| lacks("data.pkl"))?;
    let root = pickle.name.trim_end_matches("data.pkl");
    let class = class_of(&pickle.beginning(content, PICKLE_HEAD)?)
        .ok_or_else(|| lacks("a class at the beginning of data.pkl"))?;
    let inside = |entry: &&Entry, folder: &str| {
        entry.name.strip_prefix(root).and_then(|name| name.strip_prefix(folder)).is_some_and(|name| !name.is_empty())
    };
    let code: Vec<&Entry> =
        archive.entries.iter().filter(|entry| inside(entry, "code/") && entry.name.ends_with(".py")).collect();
    let length = code.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
    if length > MOST_CODE {
        let found = format!("it is {KIND} with {length} bytes of code");
        return Err(Invalid::new(found, format!("at most {MOST_CODE} are read; export the model to ONNX")));
    }
    let place = format!("{root}code/{}.py", class.module.replace('.', "/"));
    let (mut operators, mut signature) = (BTreeMap::new(), None);
    for entry in code {
        let text = entry.beginning(content, usize::try_from(MOST_CODE).unwrap_or(usize::MAX))?;
        count(&text, &mut operators)?;
        if entry.name == place {
            signature = forward(&text, &class.name);
        }
    }
    let arguments = signature.ok_or_else(|| lacks("the method `forward` of its class"))?;
    let weights = archive.entries.iter().filter(|entry| inside(entry, "data/") || inside(entry, "constants/"));
    let weight_bytes = weights.fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
    if weight_bytes > content.size() {
        let found = format!("it is {KIND} whose tensors say {weight_bytes} bytes, more than the file has");
        return Err(Invalid::new(found, CUT));
    }
    let inputs: Vec<Declared> = arguments.into_iter().map(declared).collect();
    let mut model = Signature::of(KIND, &inputs, &[])?.on(Model::of_format(ModelFormat::Torchscript));
    model.operators = operators.into_iter().map(|(operator, count)| OperatorCount { operator, count }).collect();
    model.weight_bytes = weight_bytes;
    model.memory_estimate_bytes = memory::estimate(weight_bytes, 0);
    Ok(model)
}

fn is_pickle(name: &str) -> bool {
    // That of the whole archive, which has one folder: a model's own files may be called the same.
    name == "data.pkl" || name.strip_suffix("/data.pkl").is_some_and(|root| !root.contains('/'))
}

fn lacks(what: &str) -> Invalid {
    Invalid::new(format!("it is {KIND} without {what}"), "save it again with torch.jit.save")
}

/// A class by its module, as Python writes both.
struct Class {
    module: String,
    name: String,
}

/// The class of the object that the pickle makes.
fn class_of(pickle: &[u8]) -> Option<Class> {
    let mut lines = pickle.strip_prefix(PICKLED_OBJECT)?.splitn(3, |byte| *byte == b'\n');
    let (module, name) = (lines.next()?, lines.next()?);
    // What is cut off has no end of line.
    lines.next()?;
    let text = |bytes: &[u8]| {
        let dotted = bytes.iter().all(|byte| is_of_name(*byte)) && !bytes.is_empty() && bytes.len() <= LONGEST_NAME;
        dotted.then(|| String::from_utf8(bytes.to_vec()).ok()).flatten()
    };
    let module = text(module).filter(|module| module.starts_with("__torch__"))?;
    Some(Class { module, name: text(name)? })
}

const fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

/// An argument as it is declared.
#[derive(Debug, PartialEq, Eq)]
struct Argument {
    name: String,
    kind: String,
}

/// What `forward` of the class takes beside the object itself; none if there is no such method, or it is none that PyTorch writes.
fn forward(code: &[u8], class: &str) -> Option<Vec<Argument>> {
    let body = after(code, format!("class {class}(Module):\n").as_bytes())?;
    // The class ends where the next one begins.
    let body = &body[..find(body, b"\nclass ").unwrap_or(body.len())];
    let arguments = after(body, b"  def forward(self: ")?;
    let end = closing(arguments)?;
    let mut parts = split(&arguments[..end]).into_iter();
    // The object itself.
    parts.next()?;
    parts.map(argument).collect()
}

fn after<'a>(text: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    find(text, what).map(|at| &text[at + what.len()..])
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Where the bracket closes that was opened before the text.
fn closing(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' if depth == 0 => return Some(at),
            b')' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

/// The parts between the commas that are in no bracket.
fn split(text: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `name: type`, or `name: type=value`.
fn argument(text: &[u8]) -> Option<Argument> {
    let colon = find(text, b": ")?;
    let (name, kind) = (text[..colon].trim_ascii(), &text[colon + 2..]);
    let kind = kind.split(|byte| *byte == b'=').next().unwrap_or(kind).trim_ascii();
    let named = !name.is_empty() && name.iter().all(|byte| is_of_name(*byte));
    let short = name.len() <= LONGEST_NAME && kind.len() <= LONGEST_NAME;
    if !named || !short {
        return None;
    }
    Some(Argument { name: printable(name.to_vec())?, kind: printable(kind.to_vec())? })
}

fn declared(argument: Argument) -> Declared {
    if argument.kind == "Tensor" {
        Declared::unsaid(argument.name, "is a tensor, and TorchScript does not keep of which type and shape")
    } else {
        Declared::untyped(argument.name, &format!("is of type {}, and only tensors are carried", argument.kind))
    }
}

/// Counts the calls of operators.
fn count(code: &[u8], operators: &mut BTreeMap<String, u32>) -> Result<(), Invalid> {
    for part in code.split_inclusive(|byte| !is_of_name(*byte)) {
        let Some(name) = part.strip_suffix(b"(").filter(|name| name.len() <= LONGEST_NAME) else { continue };
        if !OPERATORS.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let count = operators.entry(String::from_utf8_lossy(name).into_owned()).or_insert(0);
        *count = count.saturating_add(1);
        if operators.len() > MOST_OPERATORS {
            let found = format!("it is {KIND} with more than {MOST_OPERATORS} different operators");
            return Err(Invalid::new(found, "export the model to ONNX"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::zip::write::archive_of, *};

    const CODE: &str = "\
class Other(Module):
  def forward(self: __torch__.Other,
    y: Tensor) -> Tensor:
    return torch.relu(y)
class Model(Module):
  __parameters__ = [\"weight\", ]
  weight : Tensor
  def forward(self: __torch__.vad.Model,
    x: Tensor,
    sizes: List[Tuple[int, int]],
    rate: int=16000) -> Tensor:
    _0 = torch.mul(torch.relu(x), self.weight)
    ops.prim.RaiseException(\"no\")
    return __torch__.vad.f(_0, )
  def other(self: __torch__.vad.Model, z: Tensor) -> Tensor:
    return torch.mul(z, 2)
";

    fn file(pickle: &[u8], code: &str, data: &[u8]) -> Vec<u8> {
        archive_of(&[
            ("m/data.pkl", pickle),
            ("m/code/__torch__/vad.py", code.as_bytes()),
            ("m/constants.pkl", b""),
            ("m/data/0", data),
            ("m/data/1", data),
            ("m/version", b"3\n"),
        ])
    }

    fn read_from(bytes: &[u8]) -> Result<Model, String> {
        let archive = Archive::of_torchscript(bytes).unwrap();
        read(bytes, &archive).map_err(|invalid| invalid.to_string())
    }

    const PICKLE: &[u8] = b"\x80\x02c__torch__.vad\nModel\nq\0)\x81}(";

    #[test]
    fn arguments_operators_and_weights_are_read() {
        let model = read_from(&file(PICKLE, CODE, &[0; 40])).unwrap();
        assert_eq!(model.format, ModelFormat::Torchscript);
        let untyped: Vec<String> = model.cautions.untyped.iter().map(ToString::to_string).collect();
        assert_eq!(
            untyped,
            [
                "`x` is a tensor, and TorchScript does not keep of which type and shape",
                "`sizes` is of type List[Tuple[int, int]], and only tensors are carried",
                "`rate` is of type int, and only tensors are carried",
            ]
        );
        let operators: Vec<_> = model.operators.iter().map(|one| (one.operator.as_str(), one.count)).collect();
        assert_eq!(operators, [("ops.prim.RaiseException", 1), ("torch.mul", 2), ("torch.relu", 2)]);
        assert_eq!((model.weight_bytes, model.memory_estimate_bytes), (80, 160));
    }

    #[test]
    fn what_is_no_class_of_the_archive_is_not_looked_for() {
        for pickle in [
            &b""[..],
            b"\x80\x02}q\0.",
            b"\x80\x02cos\nsystem\nq\0",
            b"\x80\x02c__torch__/../../x\nModel\nq",
            b"\x80\x02c__torch__.vad\nModel",
        ] {
            let refused = read_from(&file(pickle, CODE, b"")).unwrap_err();
            assert!(refused.contains("without a class at the beginning of data.pkl"), "{refused}");
        }
        for (pickle, code) in [
            (&b"\x80\x02c__torch__.elsewhere\nModel\nq"[..], CODE),
            (b"\x80\x02c__torch__.vad\nMissing\nq", CODE),
            (PICKLE, "class Model(Module):\n  def other(self: M) -> Tensor:\n"),
            (PICKLE, "class Model(Module):\n  def forward(self: M, x: Tensor"),
            (PICKLE, "class Model(Module):\n  def forward(self: M, x) -> Tensor:\n"),
            (
                PICKLE,
                "class Model(Module):\n  pass\nclass Other(Module):\n  def forward(self: M, x: Tensor) -> Tensor:\n",
            ),
        ] {
            let refused = read_from(&file(pickle, code, b"")).unwrap_err();
            assert!(refused.contains("without the method `forward`"), "{refused}");
        }
    }

    #[test]
    fn code_and_operators_have_bounds() {
        let many: String = (0..=MOST_OPERATORS).map(|n| format!("torch.op{n}(x)\n")).collect();
        assert!(read_from(&file(PICKLE, &many, b"")).unwrap_err().contains("different operators"));
        let long = format!("{CODE}{}", " ".repeat(usize::try_from(MOST_CODE).unwrap()));
        assert!(read_from(&file(PICKLE, &long, b"")).unwrap_err().contains("bytes of code"));
    }
}

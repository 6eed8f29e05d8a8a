//! TensorFlow's SavedModel: the signature that is served, the operators, and the constants. Field numbers are those of `saved_model.proto`,
//! `meta_graph.proto`, `graph.proto`, `function.proto`, `attr_value.proto` and `tensor.proto`.
//!
//! A SavedModel is a folder. What keeps all in its `saved_model.pb` may be that file alone; what keeps variables or vocabularies beside it comes as
//! an archive of the folder, since a model is one file, known by its digest.

use super::{
    Invalid, MOST_OPERATORS, Model,
    broken::{Broken, CUT, text},
    content::{Content, Part},
    memory,
    ports::{Declared, ElementType, MOST_PORTS, Signature},
    wire::{Field, Span, Value, Wire},
};
use slipway_kernel::{
    ModelFormat, OperatorCount,
    bundle::{self, Bundled},
};
use std::collections::BTreeMap;

/// Signatures, and tags, of one graph.
const MOST_NAMES: usize = 256;
/// Dimensions of a tensor; TensorFlow stops at this number.
const MOST_DIMENSIONS: usize = 254;
/// The signature that servers serve unless they are asked for another.
const SERVED: &str = "serving_default";
/// Begins the names of signatures that TensorFlow keeps for itself.
const OWN: &str = "__saved_model";
/// Operators that hold a value which `variables/` keeps.
const VARIABLES: [&str; 4] = ["VarHandleOp", "Variable", "VariableV2", "AutoReloadVariable"];

/// The file that it begins with.
pub(super) const FILE: &str = "saved_model.pb";
/// Where values of variables are, and where each is in which of the files beside.
const INDEX: &str = "variables/variables.index";
const SHARD: &str = "variables/variables.data-";

const KIND: &str = "a SavedModel";

/// Reads the model from its file alone.
///
/// # Errors
/// [`Invalid`], when it is broken, keeps something in other files, or serves nothing.
pub(super) fn read<C: Content + ?Sized>(content: &C) -> Result<Model, Invalid> {
    model(&Wire::new(content), None).map_err(|broken| broken.into_invalid(KIND))
}

/// Reads the model from its file in an archive of these `files`.
///
/// # Errors
/// As [`read`], and when one is missing that it names.
pub(super) fn read_among<C: Content + ?Sized>(content: &Part<'_, C>, files: &[Bundled]) -> Result<Model, Invalid> {
    model(&Wire::new(content), Some(files)).map_err(|broken| broken.into_invalid(KIND))
}

fn model<C: Content + ?Sized>(wire: &Wire<'_, C>, files: Option<&[Bundled]>) -> Result<Model, Broken> {
    let mut graph = None;
    let mut fields = wire.fields(wire.whole());
    while let Some(field) = fields.next()? {
        if let (2, Value::Bytes(span)) = (field.number, field.value) {
            let info = info(wire, span)?;
            if info.serves && graph.is_none() {
                graph = Some((span, info));
            }
        }
    }
    let Some((span, info)) = graph else {
        let found = format!("it is {KIND} none of whose graphs is tagged `serve`");
        return Err(Broken::new(found, "save it for serving: tf.saved_model.save, or model.export of Keras"));
    };
    let mut meta = Meta { files, ..Meta::default() };
    meta.read(wire, span)?;
    meta.add_variables()?;
    let (inputs, outputs) = meta.served()?;
    let signature = Signature::of(KIND, &inputs, &outputs)?;
    if signature.gives_nothing() {
        return Err(Broken::new(format!("it is {KIND} whose signature gives nothing"), CUT));
    }
    let row = inputs.iter().chain(&outputs).map(|declared| declared.row_bytes).max().unwrap_or(0);
    let mut model = signature.on(Model::of_format(ModelFormat::SavedModel));
    model.operators = meta.operators.into_iter().map(|(operator, count)| OperatorCount { operator, count }).collect();
    model.parameters = meta.parameters;
    model.weight_bytes = meta.weight_bytes;
    model.memory_estimate_bytes = memory::estimate(meta.weight_bytes, row);
    model.producer = format!("tensorflow {}", info.version).trim().to_owned();
    Ok(model)
}

/// What a graph says of itself.
#[derive(Default)]
struct Info {
    serves: bool,
    version: String,
}

fn info<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<Info, Broken> {
    let mut info = Info::default();
    each(wire, span, &mut |field| {
        let (1, Value::Bytes(span)) = (field.number, field.value) else { return Ok(()) };
        each(wire, span, &mut |field| {
            match (field.number, field.value) {
                (4, Value::Bytes(span)) => info.serves |= text(wire, span)? == "serve",
                (5, Value::Bytes(span)) => info.version = text(wire, span)?,
                _ => {}
            }
            Ok(())
        })
    })?;
    Ok(info)
}

/// Calls `read` with every field of the message.
fn each<C: Content + ?Sized>(
    wire: &Wire<'_, C>,
    span: Span,
    read: &mut dyn FnMut(Field) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let mut fields = wire.fields(span);
    while let Some(field) = fields.next()? {
        read(field)?;
    }
    Ok(())
}

/// A key and the value's place, of a map.
fn entry<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<(String, Option<Span>), Broken> {
    let (mut key, mut value) = (String::new(), None);
    each(wire, span, &mut |field| {
        match (field.number, field.value) {
            (1, Value::Bytes(span)) => key = text(wire, span)?,
            (2, Value::Bytes(span)) => value = Some(span),
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

/// Inputs and outputs of a signature, in the order of their names: that of the file is by chance.
type Ports = (Vec<Declared>, Vec<Declared>);

/// What is found in the graph that serves.
#[derive(Default)]
struct Meta<'a> {
    /// What is beside it, if it came with that.
    files: Option<&'a [Bundled]>,
    has_variables: bool,
    operators: BTreeMap<String, u32>,
    parameters: u64,
    weight_bytes: u64,
    signatures: BTreeMap<String, Ports>,
}

impl Meta<'_> {
    fn read<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, span: Span) -> Result<(), Broken> {
        each(wire, span, &mut |field| {
            let Value::Bytes(span) = field.value else { return Ok(()) };
            match field.number {
                2 => self.graph(wire, span),
                5 => self.signature(wire, span),
                6 => self.asset(wire, span),
                _ => Ok(()),
            }
        })
    }

    /// A `GraphDef`: its nodes, and those of its functions, which is where TensorFlow 2 puts nearly all.
    fn graph<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, span: Span) -> Result<(), Broken> {
        each(wire, span, &mut |field| {
            let Value::Bytes(span) = field.value else { return Ok(()) };
            match field.number {
                1 => self.node(wire, span),
                2 => each(wire, span, &mut |field| match (field.number, field.value) {
                    (1, Value::Bytes(span)) => self.function(wire, span),
                    _ => Ok(()),
                }),
                _ => Ok(()),
            }
        })
    }

    fn function<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, span: Span) -> Result<(), Broken> {
        each(wire, span, &mut |field| match (field.number, field.value) {
            (3, Value::Bytes(span)) => self.node(wire, span),
            _ => Ok(()),
        })
    }

    fn node<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, span: Span) -> Result<(), Broken> {
        let mut operator = String::new();
        let (mut constant, mut shaped) = (None, None);
        each(wire, span, &mut |field| {
            match (field.number, field.value) {
                (2, Value::Bytes(span)) => operator = text(wire, span)?,
                (5, Value::Bytes(span)) => match entry(wire, span) {
                    Ok((key, value)) if key == "value" => constant = value,
                    Ok((key, value)) if key == "shape" => shaped = value,
                    // A name that is no usual one is not that which is looked for.
                    Ok(_) | Err(Broken::LongName(_) | Broken::UnprintableName) => {}
                    Err(broken) => return Err(broken),
                },
                _ => {}
            }
            Ok(())
        })?;
        if VARIABLES.contains(&operator.as_str()) {
            self.variable(wire, shaped)?;
        }
        if let Some(span) = constant.filter(|_| operator == "Const") {
            self.constant(wire, span)?;
        }
        let count = self.operators.entry(operator).or_insert(0);
        *count = count.saturating_add(1);
        if self.operators.len() > MOST_OPERATORS {
            let found = format!("it is {KIND} with more than {MOST_OPERATORS} different operators");
            return Err(Broken::new(found, "export it again"));
        }
        Ok(())
    }

    /// An `AssetFileDef`, whose file is there.
    fn asset<C: Content + ?Sized>(&self, wire: &Wire<'_, C>, span: Span) -> Result<(), Broken> {
        let Some(files) = self.files else {
            return Err(elsewhere("files of its own, such as a vocabulary, in assets/"));
        };
        each(wire, span, &mut |field| {
            let (2, Value::Bytes(span)) = (field.number, field.value) else { return Ok(()) };
            let name = format!("assets/{}", text(wire, span)?);
            let is_there = files.iter().any(|file| file.name == name);
            if is_there { Ok(()) } else { Err(missing("a file that it names is not in assets/")) }
        })
    }

    /// A variable, with the attribute of its shape. How much its values take, the files beside say.
    fn variable<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, shaped: Option<Span>) -> Result<(), Broken> {
        if self.files.is_none() {
            return Err(elsewhere("its weights in variables/"));
        }
        self.has_variables = true;
        let Some(span) = shaped else { return Ok(()) };
        each(wire, span, &mut |field| {
            let (7, Value::Bytes(span)) = (field.number, field.value) else { return Ok(()) };
            let sizes = shape(wire, span)?.unwrap_or_default();
            let elements = sizes.iter().map(|size| u64::try_from(*size).unwrap_or(0)).fold(1_u64, u64::saturating_mul);
            self.parameters = self.parameters.saturating_add(elements);
            Ok(())
        })
    }

    /// Holds what is there of variables to be whole, and adds what it takes.
    fn add_variables(&mut self) -> Result<(), Broken> {
        let Some(files) = self.files.filter(|_| self.has_variables) else { return Ok(()) };
        if !files.iter().any(|file| file.name == INDEX) {
            return Err(missing("it has variables, and variables/variables.index is missing"));
        }
        let shards = || files.iter().filter_map(|file| Some((file.name.strip_prefix(SHARD)?, file.size)));
        // `00000-of-00002`.
        let count = shards().filter_map(|(name, _)| name.split_once("-of-")?.1.parse().ok()).max().unwrap_or(0);
        let all = shards().count();
        if all == 0 || all != count {
            return Err(missing("not all of variables/variables.data-… are there"));
        }
        self.weight_bytes = shards().fold(self.weight_bytes, |all, (_, size)| all.saturating_add(size));
        Ok(())
    }

    /// The tensor in an `AttrValue`. In memory it takes its plain form, however it is written in the file.
    fn constant<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, span: Span) -> Result<(), Broken> {
        each(wire, span, &mut |field| {
            let (8, Value::Bytes(span)) = (field.number, field.value) else { return Ok(()) };
            let (mut element, mut elements, mut held) = (0, Some(1_u64), 0_u64);
            each(wire, span, &mut |field| {
                match (field.number, field.value) {
                    (1, Value::Varint(number)) => element = number,
                    (2, Value::Bytes(span)) => {
                        let sizes = shape(wire, span)?.unwrap_or_default();
                        elements =
                            sizes.iter().try_fold(1_u64, |all, size| all.checked_mul(u64::try_from(*size).ok()?));
                    }
                    (_, Value::Bytes(span)) => held = held.saturating_add(span.length()),
                    _ => {}
                }
                Ok(())
            })?;
            let impossible = || Broken::new(format!("it is {KIND} with a constant of an impossible shape"), CUT);
            let elements = elements.ok_or_else(impossible)?;
            let bits = element_type(element).map_or(0, |element| element.bits);
            let bytes = elements.checked_mul(bits).ok_or_else(impossible)?.div_ceil(8);
            self.parameters = self.parameters.saturating_add(elements);
            self.weight_bytes = self.weight_bytes.saturating_add(if bits == 0 { held } else { bytes });
            Ok(())
        })
    }

    fn signature<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, span: Span) -> Result<(), Broken> {
        let (name, Some(span)) = entry(wire, span)? else { return Ok(()) };
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        each(wire, span, &mut |field| {
            let ports = match field.number {
                1 => &mut inputs,
                2 => &mut outputs,
                _ => return Ok(()),
            };
            if let Value::Bytes(span) = field.value {
                ports.push(port(wire, span)?);
            }
            if ports.len() > MOST_PORTS {
                return Err(too_many("inputs or outputs", MOST_PORTS));
            }
            Ok(())
        })?;
        for ports in [&mut inputs, &mut outputs] {
            ports.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        }
        self.signatures.insert(name, (inputs, outputs));
        if self.signatures.len() > MOST_NAMES { Err(too_many("signatures", MOST_NAMES)) } else { Ok(()) }
    }

    /// The signature that servers serve: that of the usual name, or the only one.
    fn served(&mut self) -> Result<Ports, Broken> {
        self.signatures.retain(|name, _| !name.starts_with(OWN));
        if let Some(ports) = self.signatures.remove(SERVED) {
            return Ok(ports);
        }
        match (self.signatures.len(), self.signatures.pop_first()) {
            (1, Some((_, ports))) => Ok(ports),
            (0, _) => Err(Broken::new(
                format!("it is {KIND} without a signature"),
                "save it with signatures={'serving_default': …}, or with model.export of Keras",
            )),
            (count, _) => Err(Broken::new(
                format!("it is {KIND} with {count} signatures, none of which is `{SERVED}`"),
                "save it with signatures={'serving_default': …}",
            )),
        }
    }
}

fn elsewhere(what: &str) -> Broken {
    let advice = format!(
        "a model is one file, known by its digest: make one of its folder ({}), freeze it (convert_variables_to_constants_v2) or convert it to ONNX (python -m tf2onnx.convert --saved-model …)",
        bundle::COMMAND
    );
    Broken::new(format!("it is {KIND} that keeps {what}, which are other files"), advice)
}

fn missing(what: &str) -> Broken {
    Broken::new(
        format!("it is {KIND} of which something is missing: {what}"),
        format!("make it anew: {}", bundle::COMMAND),
    )
}

fn too_many(what: &str, most: usize) -> Broken {
    Broken::new(format!("it is {KIND} with more than {most} {what}"), format!("at most {most} are carried"))
}

/// A `TensorInfo` under its name.
fn port<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<Declared, Broken> {
    let (name, value) = entry(wire, span)?;
    let (mut element, mut sizes, mut other) = (0, None, None);
    let Some(span) = value else { return Ok(Declared::untyped(name, "declares no type")) };
    each(wire, span, &mut |field| {
        match (field.number, field.value) {
            (2, Value::Varint(number)) => element = number,
            (3, Value::Bytes(span)) => sizes = shape(wire, span)?,
            (4, _) => other = Some("is a sparse tensor, and only dense ones are carried"),
            (5, _) => other = Some("is made of several tensors, and only single ones are carried"),
            _ => {}
        }
        Ok(())
    })?;
    if let Some(why) = other {
        return Ok(Declared::untyped(name, why));
    }
    Ok(match element_type(element) {
        Some(element) => Declared::tensor(name, element, sizes),
        None => Declared::untyped(name, &format!("is of type {element}, which is no number and no text")),
    })
}

/// A `TensorShapeProto`; none if any shape may come.
fn shape<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<Option<Vec<i32>>, Broken> {
    let (mut sizes, mut unknown) = (Vec::new(), false);
    each(wire, span, &mut |field| {
        match (field.number, field.value) {
            (2, Value::Bytes(span)) => {
                sizes.push(dimension(wire, span)?);
                if sizes.len() > MOST_DIMENSIONS {
                    return Err(too_many("dimensions of a tensor", MOST_DIMENSIONS));
                }
            }
            (3, Value::Varint(number)) => unknown = number != 0,
            _ => {}
        }
        Ok(())
    })?;
    Ok((!unknown).then_some(sizes))
}

/// A `Dim`: its size, which is not written when it is 0; -1 where any may come.
fn dimension<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<i32, Broken> {
    let mut size = 0;
    each(wire, span, &mut |field| {
        if let (1, Value::Varint(number)) = (field.number, field.value) {
            #[expect(clippy::cast_possible_wrap, reason = "protobuf writes a negative int64 as its two's complement")]
            let number = number as i64;
            size = match number {
                ..0 => -1,
                _ => i32::try_from(number)
                    .map_err(|_| Broken::new(format!("it is {KIND} with a dimension of {number}"), CUT))?,
            };
        }
        Ok(())
    })?;
    Ok(size)
}

/// The type with this number in `DataType`; none of what is no number and no text.
const fn element_type(number: u64) -> Option<ElementType> {
    let (name, bits, carried) = match number {
        1 => ("FP32", 32, true),
        2 => ("FP64", 64, true),
        3 => ("INT32", 32, true),
        4 => ("UINT8", 8, true),
        5 => ("INT16", 16, true),
        6 => ("INT8", 8, true),
        7 => ("BYTES", 0, true),
        8 => ("COMPLEX64", 64, false),
        9 => ("INT64", 64, true),
        10 => ("BOOL", 8, true),
        11 => ("QINT8", 8, false),
        12 => ("QUINT8", 8, false),
        13 => ("QINT32", 32, false),
        14 => ("BF16", 16, false),
        15 => ("QINT16", 16, false),
        16 => ("QUINT16", 16, false),
        17 => ("UINT16", 16, true),
        18 => ("COMPLEX128", 128, false),
        19 => ("FP16", 16, true),
        22 => ("UINT32", 32, true),
        23 => ("UINT64", 64, true),
        24 => ("FP8E5M2", 8, false),
        25 => ("FP8E4M3FN", 8, false),
        29 => ("INT4", 4, false),
        30 => ("UINT4", 4, false),
        _ => return None,
    };
    Some(ElementType::new(name, bits, carried))
}

#[cfg(test)]
mod tests;

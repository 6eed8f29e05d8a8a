//! ONNX: the signature, the operators and the size of a model, read from its protobuf without holding it.
//!
//! Field numbers are those of `onnx.proto`. What a file may make this reader hold is bounded by the constants below; what
//! it may make it do by the budget of [`Wire`].

mod graph;
mod tensor;
mod types;

use super::{
    Invalid, Model,
    broken::{Broken, CUT, text},
    content::Content,
    memory,
    wire::{Span, Value, Wire},
};
use graph::Graph;
use slipway_kernel::{ModelFormat, OperatorCount};

/// Graphs inside graphs (branches, loop bodies). Exporters reach three or four.
const DEEPEST: u32 = 16;
/// Nodes and constants of all graphs together. The largest known models have some hundred thousand; what is remembered of each bounds the
/// memory that a file can take.
const MOST_NODES: u64 = 1_000_000;
/// The oldest file format that names its operator sets.
const OLDEST_IR: u64 = 3;

/// What the file is, in a refusal.
const KIND: &str = "an ONNX file";

/// What the outermost message says.
#[derive(Default)]
struct Head {
    ir_version: u64,
    producer: String,
    producer_version: String,
    graph: Option<Span>,
    default_set: Option<u64>,
    sets: u32,
}

/// Reads the model.
///
/// # Errors
/// [`Invalid`], when the file is broken, keeps data elsewhere, or is beyond what is carried.
pub(super) fn read<C: Content + ?Sized>(content: &C) -> Result<Model, Invalid> {
    let wire = Wire::new(content);
    model(&wire).map_err(|broken| broken.into_invalid(KIND))
}

fn model<C: Content + ?Sized>(wire: &Wire<'_, C>) -> Result<Model, Broken> {
    let head = head(wire)?;
    let Some(span) = head.graph else {
        return Err(Broken::new("it is an ONNX file without a graph", CUT));
    };
    if head.ir_version < OLDEST_IR {
        let found = format!("it is an ONNX file of format version {}", head.ir_version);
        return Err(Broken::new(found, format!("version {OLDEST_IR} (2017) or newer is read; export it again")));
    }
    if head.sets == 0 {
        return Err(Broken::new("it is an ONNX file that names no operator set", CUT));
    }
    let mut graph = Graph::default();
    graph.read(wire, span)?;
    if graph.operators.is_empty() {
        return Err(Broken::new("it is an ONNX file whose graph has no operators", CUT));
    }
    let signature = graph.signature()?;
    if signature.gives_nothing() {
        return Err(Broken::new("it is an ONNX file whose graph has no outputs", CUT));
    }
    let mut model = signature.on(Model::of_format(ModelFormat::Onnx));
    model.memory_estimate_bytes = memory::estimate(graph.weight_bytes, graph.largest_row_bytes());
    model.operators = graph
        .operators
        .iter()
        .map(|((domain, name), count)| OperatorCount { operator: operator_name(domain, name), count: *count })
        .collect();
    model.parameters = graph.parameters;
    model.weight_bytes = graph.weight_bytes;
    model.opset = u32::try_from(head.default_set.unwrap_or(0)).unwrap_or(u32::MAX);
    model.producer = format!("{} {}", head.producer, head.producer_version).trim().to_owned();
    model.cautions.patterns = graph.patterns;
    Ok(model)
}

/// The name of an operator in facts: with its domain, if that is not the default one.
fn operator_name(domain: &str, name: &str) -> String {
    if domain.is_empty() || domain == "ai.onnx" { name.to_owned() } else { format!("{domain}.{name}") }
}

fn head<C: Content + ?Sized>(wire: &Wire<'_, C>) -> Result<Head, Broken> {
    let mut head = Head::default();
    let mut fields = wire.fields(wire.whole());
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (1, Value::Varint(version)) => head.ir_version = version,
            (2, Value::Bytes(span)) => head.producer = text(wire, span)?,
            (3, Value::Bytes(span)) => head.producer_version = text(wire, span)?,
            // Protobuf would merge a second graph into the first; no exporter writes two, and a reader that sees only one of
            // them would check another model than the engine runs.
            (7, Value::Bytes(_)) if head.graph.is_some() => {
                return Err(Broken::new("it is an ONNX file with two graphs", "export it again"));
            }
            (7, Value::Bytes(span)) => head.graph = Some(span),
            (8, Value::Bytes(span)) => {
                head.sets += 1;
                operator_set(wire, span, &mut head)?;
            }
            _ => {}
        }
    }
    Ok(head)
}

fn operator_set<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span, head: &mut Head) -> Result<(), Broken> {
    let (mut domain, mut version) = (String::new(), 0);
    let mut fields = wire.fields(span);
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (1, Value::Bytes(span)) => domain = text(wire, span)?,
            (2, Value::Varint(number)) => version = number,
            _ => {}
        }
    }
    if domain.is_empty() || domain == "ai.onnx" {
        head.default_set = Some(version);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

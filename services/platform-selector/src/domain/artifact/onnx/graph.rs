//! Graphs: a census of operators, the constants, the declared inputs and outputs, and the patterns engines stumble over.

use super::{
    super::{
        MOST_OPERATORS, Pattern,
        broken::{Broken, LONGEST_NAME, text},
        content::Content,
        ports::{Declared, MOST_PORTS, Signature},
        wire::{Span, Value, Wire},
    },
    DEEPEST, KIND, MOST_NODES,
    tensor::{Constant, constant},
    types::declared,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher as _},
};

/// Inputs held while it is not known yet which of them are constants. Old exporters declare every constant as an input too.
const MOST_DECLARED: usize = 50_000;

/// Stands for a name inside the graph. Names can be long and many; whether two are the same is all that is asked of them.
type NameHash = u64;

/// What was found in a graph and the graphs inside it.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) operators: BTreeMap<(String, String), u32>,
    pub(super) parameters: u64,
    pub(super) weight_bytes: u64,
    pub(super) patterns: BTreeSet<Pattern>,
    inputs: Vec<Declared>,
    outputs: Vec<Declared>,
    constants: BTreeSet<NameHash>,
    /// What each `ZipMap` of the outermost graph makes, and of how many classes.
    zip_maps: BTreeMap<NameHash, u64>,
    largest_inner_bytes: u64,
    nodes: u64,
}

/// What of one graph is needed to see how quantisation and Softmax meet.
#[derive(Default)]
struct Flow {
    dequantized: BTreeSet<NameHash>,
    softmaxed: BTreeSet<NameHash>,
    into_softmax: Vec<NameHash>,
    into_quantize: Vec<NameHash>,
}

/// One node as far as it matters.
#[derive(Default)]
struct Node {
    domain: String,
    operator: String,
    inputs: Vec<NameHash>,
    outputs: Vec<NameHash>,
    /// The number of class labels of a `ZipMap`.
    classes: u64,
}

impl Graph {
    /// Reads the outermost graph.
    pub(super) fn read<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, span: Span) -> Result<(), Broken> {
        self.graph(wire, span, 0)
    }

    /// What the model takes and gives.
    pub(super) fn signature(&mut self) -> Result<Signature, Broken> {
        let constants = std::mem::take(&mut self.constants);
        self.inputs.retain(|input| !constants.contains(&hash(input.spec.name.as_bytes())));
        for output in &mut self.outputs {
            if let Some(&classes) = self.zip_maps.get(&hash(output.spec.name.as_bytes())) {
                output.be_scores(classes);
            }
        }
        Ok(Signature::of(KIND, &self.inputs, &self.outputs)?)
    }

    /// Bytes of the largest declared tensor of one row.
    pub(super) fn largest_row_bytes(&self) -> u64 {
        let ports = self.inputs.iter().chain(&self.outputs).map(|declared| declared.row_bytes);
        ports.max().unwrap_or(0).max(self.largest_inner_bytes)
    }

    fn graph<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, span: Span, depth: u32) -> Result<(), Broken> {
        if depth > DEEPEST {
            let found = format!("it is an ONNX file whose graphs nest deeper than {DEEPEST}");
            return Err(Broken::new(found, "export it again"));
        }
        let outermost = depth == 0;
        let mut flow = Flow::default();
        let mut fields = wire.fields(span);
        while let Some(field) = fields.next()? {
            let Value::Bytes(span) = field.value else { continue };
            match field.number {
                1 => {
                    let node = self.node(wire, span, depth)?;
                    flow.see(&node);
                    if outermost && (node.domain.as_str(), node.operator.as_str()) == ("ai.onnx.ml", "ZipMap") {
                        self.zip_maps.extend(node.outputs.first().map(|&made| (made, node.classes)));
                    }
                    self.count(node)?;
                }
                5 => self.keep(&constant(wire, span)?, true)?,
                // Sparse: the values and their places are constants themselves.
                15 => self.sparse(wire, span)?,
                11 if outermost => self.inputs.push(declared(wire, span)?),
                12 if outermost => self.outputs.push(declared(wire, span)?),
                13 => self.largest_inner_bytes = self.largest_inner_bytes.max(inner_bytes(wire, span)?),
                _ => {}
            }
            // Constants may be declared as inputs too, so more inputs than ports are no fault yet.
            if self.inputs.len() > MOST_DECLARED || self.outputs.len() > MOST_PORTS {
                let found = "it is an ONNX file with more inputs and outputs than any model has";
                return Err(Broken::new(found, format!("at most {MOST_PORTS} are carried")));
            }
        }
        if flow.quantizes_softmax() {
            self.patterns.insert(Pattern::QuantizedSoftmax);
        }
        Ok(())
    }

    fn sparse<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, span: Span) -> Result<(), Broken> {
        let mut fields = wire.fields(span);
        while let Some(field) = fields.next()? {
            if let (1 | 2, Value::Bytes(span)) = (field.number, field.value) {
                self.keep(&constant(wire, span)?, true)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, constant: &Constant, named: bool) -> Result<(), Broken> {
        self.one_more()?;
        if named {
            self.constants.insert(hash(constant.name.as_bytes()));
        }
        self.parameters = self.parameters.saturating_add(constant.elements);
        self.weight_bytes = self.weight_bytes.saturating_add(constant.bytes);
        Ok(())
    }

    fn one_more(&mut self) -> Result<(), Broken> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            let found = format!("it is an ONNX file with more than {MOST_NODES} nodes and constants");
            return Err(Broken::new(found, "export it again"));
        }
        Ok(())
    }

    fn count(&mut self, node: Node) -> Result<(), Broken> {
        self.one_more()?;
        let count = self.operators.entry((node.domain, node.operator)).or_default();
        *count = count.saturating_add(1);
        if self.operators.len() > MOST_OPERATORS {
            let found = format!("it is an ONNX file with more than {MOST_OPERATORS} different operators");
            return Err(Broken::new(found, "export it again"));
        }
        Ok(())
    }

    fn node<C: Content + ?Sized>(&mut self, wire: &Wire<'_, C>, span: Span, depth: u32) -> Result<Node, Broken> {
        let mut node = Node::default();
        let mut fields = wire.fields(span);
        while let Some(field) = fields.next()? {
            let Value::Bytes(span) = field.value else { continue };
            match field.number {
                1 if node.inputs.len() < 2 => node.inputs.push(hash_of(wire, span)?),
                2 if node.outputs.len() < 2 => node.outputs.push(hash_of(wire, span)?),
                4 => node.operator = text(wire, span)?,
                5 => self.attribute(wire, span, depth, &mut node)?,
                7 => node.domain = text(wire, span)?,
                _ => {}
            }
        }
        Ok(node)
    }

    fn attribute<C: Content + ?Sized>(
        &mut self,
        wire: &Wire<'_, C>,
        span: Span,
        depth: u32,
        node: &mut Node,
    ) -> Result<(), Broken> {
        let (mut name, mut values) = (Vec::new(), 0_u64);
        let mut fields = wire.fields(span);
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (1, Value::Bytes(span)) => name = wire.bytes(span, LONGEST_NAME)?.unwrap_or_default(),
                (5 | 10, Value::Bytes(span)) => self.keep(&constant(wire, span)?, false)?,
                (6 | 11, Value::Bytes(span)) => self.graph(wire, span, depth + 1)?,
                (22 | 23, Value::Bytes(span)) => self.sparse(wire, span)?,
                // Integers, one per field or packed; strings.
                (8, Value::Varint(_)) | (9, Value::Bytes(_)) => values += 1,
                (8, Value::Bytes(span)) => wire.packed(span, |_| values += 1)?,
                _ => {}
            }
        }
        if name == b"classlabels_int64s" || name == b"classlabels_strings" {
            node.classes = node.classes.max(values);
        }
        Ok(())
    }
}

impl Flow {
    fn see(&mut self, node: &Node) {
        match node.operator.as_str() {
            "DequantizeLinear" => self.dequantized.extend(&node.outputs),
            "QuantizeLinear" => self.into_quantize.extend(node.inputs.first()),
            "Softmax" => {
                self.into_softmax.extend(&node.inputs);
                self.softmaxed.extend(&node.outputs);
            }
            _ => {}
        }
    }

    fn quantizes_softmax(&self) -> bool {
        self.into_softmax.iter().any(|name| self.dequantized.contains(name))
            || self.into_quantize.iter().any(|name| self.softmaxed.contains(name))
    }
}

/// An inner value is of interest for its size only; one without a usable type has none.
fn inner_bytes<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<u64, Broken> {
    match declared(wire, span) {
        Ok(declared) if declared.row_bytes < u64::MAX => Ok(declared.row_bytes),
        Err(fault @ Broken::Fault(_)) => Err(fault),
        Ok(_) | Err(_) => Ok(0),
    }
}

fn hash(name: &[u8]) -> NameHash {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}

/// A name that is too long for a fact is fine inside a graph; beyond 64 KiB it is no name.
fn hash_of<C: Content + ?Sized>(wire: &Wire<'_, C>, span: Span) -> Result<NameHash, Broken> {
    const LONGEST_INNER_NAME: usize = 65_536;
    let bytes = wire.bytes(span, LONGEST_INNER_NAME)?;
    let bytes =
        bytes.ok_or_else(|| Broken::new("it is an ONNX file with names of more than 64 KiB", "export it again"))?;
    Ok(hash(&bytes))
}

//! The inputs and outputs of a model, as the Open Inference Protocol calls them; and which of them it cannot carry.

use super::{Invalid, Model, Untyped};
use slipway_kernel::TensorSpec;
use std::collections::BTreeSet;

/// Inputs, and outputs, of one model; they travel in a fact, which is small.
pub(super) const MOST_PORTS: usize = 256;

/// The name of an element type, and the bits of one element (0 = varies).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ElementType {
    pub(super) name: &'static str,
    pub(super) bits: u64,
    /// Whether the Open Inference Protocol carries it.
    pub(super) carried: bool,
}

impl ElementType {
    pub(super) const fn new(name: &'static str, bits: u64, carried: bool) -> Self {
        Self { name, bits, carried }
    }
}

/// A declared input, output or inner value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) spec: TensorSpec,
    /// Why it cannot be carried, if it cannot.
    pub(super) untyped: Option<Untyped>,
    /// Bytes of one row: free dimensions count as one; 0 if that cannot be told.
    pub(super) row_bytes: u64,
}

impl Declared {
    /// A tensor; `shape` is none where any may come.
    pub(super) fn tensor(name: String, element: ElementType, shape: Option<Vec<i32>>) -> Self {
        let because = |why: String, is_unsaid| Some(Untyped { name: name.clone(), why, is_unsaid });
        let untyped = match (&shape, element.carried) {
            (_, false) => because(format!("is of element type {}, which is not carried", element.name), false),
            (None, true) => because("declares no shape".to_owned(), true),
            (Some(_), true) => None,
        };
        let shape = shape.unwrap_or_default();
        let elements =
            shape.iter().try_fold(1_u64, |product, size| product.checked_mul(u64::from(size.max(&1).unsigned_abs())));
        let row_bytes = elements.and_then(|n| n.checked_mul(element.bits)).map_or(u64::MAX, |bits| bits.div_ceil(8));
        Self { spec: TensorSpec { name, datatype: element.name.to_owned(), shape }, untyped, row_bytes }
    }

    /// What is no tensor, or does not say so.
    pub(super) fn untyped(name: String, why: &str) -> Self {
        Self::bare(name, why, false)
    }

    /// A tensor that says neither type nor shape.
    pub(super) fn unsaid(name: String, why: &str) -> Self {
        Self::bare(name, why, true)
    }

    fn bare(name: String, why: &str, is_unsaid: bool) -> Self {
        let untyped = Some(Untyped { name: name.clone(), why: why.to_owned(), is_unsaid });
        Self { spec: TensorSpec { name, datatype: String::new(), shape: Vec::new() }, untyped, row_bytes: 0 }
    }

    /// A `ZipMap` declares a sequence of maps from class to score; the worker serves the scores in one tensor.
    pub(super) fn be_scores(&mut self, classes: u64) {
        let Ok(classes) = i32::try_from(classes) else { return };
        self.spec.datatype = "FP32".to_owned();
        self.spec.shape = vec![-1, classes];
        self.row_bytes = u64::from(classes.unsigned_abs()) * 4;
        self.untyped = None;
    }
}

/// What a model takes and gives.
pub(super) struct Signature {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    untyped: Vec<Untyped>,
}

impl Signature {
    /// `kind` is what the file is, with its article.
    ///
    /// # Errors
    /// When there are too many, or two of one name.
    pub(super) fn of(kind: &str, inputs: &[Declared], outputs: &[Declared]) -> Result<Self, Invalid> {
        let mut untyped = Vec::new();
        let mut list = |declared: &[Declared], what: &str| {
            if declared.len() > MOST_PORTS {
                let found = format!("it is {kind} with {} {what}", declared.len());
                return Err(Invalid::new(found, format!("at most {MOST_PORTS} are carried")));
            }
            let mut names = BTreeSet::new();
            for one in declared {
                untyped.extend(one.untyped.clone());
                if one.spec.name.is_empty() || !names.insert(&one.spec.name) {
                    let found = format!("it is {kind} in which {what} share a name or have none");
                    return Err(Invalid::new(found, "export it again"));
                }
            }
            Ok(declared.iter().filter(|one| one.untyped.is_none()).map(|one| one.spec.clone()).collect())
        };
        let inputs = list(inputs, "inputs")?;
        let outputs = list(outputs, "outputs")?;
        Ok(Self { inputs, outputs, untyped })
    }

    /// Whether there is no output, not even one that cannot be carried.
    pub(super) const fn gives_nothing(&self) -> bool {
        self.outputs.is_empty() && self.untyped.is_empty()
    }

    /// `model` with it.
    pub(super) fn on(self, mut model: Model) -> Model {
        model.inputs = self.inputs;
        model.outputs = self.outputs;
        model.cautions.untyped = self.untyped;
        model
    }
}

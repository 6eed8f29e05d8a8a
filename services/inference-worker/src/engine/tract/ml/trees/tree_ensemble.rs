//! `TreeEnsemble` of version 5: branches and leaves in lists of their own, linked by position.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, TractResult};

use super::Forests;
use super::forest::{Aggregate, Branch, Comparison, Forest, Link, Number, Parts, Rule, Weight};
use super::listed::Numbers;
use super::tree_ensemble_regressor::{Regression, targets};
use crate::engine::tract::ml::attributes::{self, length, wrong};
use crate::engine::tract::ml::operator::{Built, built};
use crate::engine::tract::ml::post_transform::PostTransform;

pub(in super::super) const NAME: &str = "TreeEnsemble";

pub(in super::super) fn parse(context: &ParsingContext, node: &NodeProto) -> Built {
    built(node, NAME, read(context, node)?)
}

pub(super) fn read(context: &ParsingContext, node: &NodeProto) -> TractResult<Regression> {
    let targets = targets(node, attributes::ints(node, "leaf_targetids")?.len(), "leaf_targetids")?;
    let aggregate = match node.get_attr_opt::<i64>("aggregate_function")?.unwrap_or(1) {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return wrong(node, "aggregate_function", format!("{other} is unknown")),
    };
    let post = match node.get_attr_opt::<i64>("post_transform")?.unwrap_or(0) {
        0 => PostTransform::None,
        // SOFTMAX and LOGISTIC in the specification, the other way round in ONNX Runtime 1.32: whichever is computed, some
        // exporter meant the other.
        number @ (1 | 2) => {
            return wrong(
                node,
                "post_transform",
                format!("engines disagree on what {number} is; put Softmax or Sigmoid behind"),
            );
        }
        3 => PostTransform::SoftmaxZero,
        4 => PostTransform::Probit,
        other => return wrong(node, "post_transform", format!("{other} is unknown")),
    };
    let splits = numbers(context, node, "nodes_splits")?;
    let weights = numbers(context, node, "leaf_weights")?;
    let members = numbers(context, node, "membership_values")?;
    let lists = Lists { splits: &splits.values, weights: &weights.values, members: &members.values, targets };
    let forests = if splits.double || weights.double {
        Forests::double(lists.forest(context, node)?)
    } else {
        Forests::single(lists.forest(context, node)?)
    };
    Ok(Regression { forests, aggregate, base: Vec::new(), post, follows_input: true })
}

fn numbers(context: &ParsingContext, node: &NodeProto, name: &str) -> TractResult<Numbers> {
    match attributes::tensor(context, node, name)? {
        Some(tensor) => Numbers::of(node, name, &tensor),
        None => Ok(Numbers { values: Vec::new(), double: false }),
    }
}

struct Lists<'a> {
    splits: &'a [f64],
    weights: &'a [f64],
    members: &'a [f64],
    targets: usize,
}

impl Lists<'_> {
    fn forest<T: Number>(&self, context: &ParsingContext, node: &NodeProto) -> TractResult<Forest<T>> {
        let modes = modes(context, node)?;
        let count = modes.len();
        length(node, "nodes_splits", self.splits.len(), count)?;
        let list = |name: &str| {
            let found = attributes::ints(node, name)?;
            length(node, name, found.len(), count).map(|()| found)
        };
        let features = list("nodes_featureids")?;
        let (yes, yes_is_leaf) = (list("nodes_truenodeids")?, list("nodes_trueleafs")?);
        let (no, no_is_leaf) = (list("nodes_falsenodeids")?, list("nodes_falseleafs")?);
        let missing = attributes::ints(node, "nodes_missing_value_tracks_true")?;
        if !missing.is_empty() {
            length(node, "nodes_missing_value_tracks_true", missing.len(), count)?;
        }

        let mut sets = self.members.split(|value| value.is_nan());
        // A test for membership becomes one branch per member, so that positions move.
        let tests: Vec<Vec<f64>> = modes
            .iter()
            .enumerate()
            .map(|(at, mode)| match mode {
                Some(_) => Ok(vec![self.splits[at]]),
                None => match sets.next().map(<[f64]>::to_vec) {
                    Some(set) if !set.is_empty() => Ok(set),
                    _ => wrong(node, "membership_values", format!("there are none for node {at}")),
                },
            })
            .collect::<TractResult<_>>()?;
        let mut starts = Vec::with_capacity(count);
        let total = tests.iter().fold(0, |total, tests| {
            starts.push(total);
            total + tests.len()
        });
        if total > Link::MOST || self.weights.len() > Link::MOST {
            return wrong(node, "nodes_modes", format!("more than {} nodes", Link::MOST));
        }

        let leaves = self.weights.len();
        let link = |name: &str, to: i64, is_leaf: i64| match usize::try_from(to) {
            Ok(to) if is_leaf != 0 && to < leaves => Ok(Link::leaf(to)),
            Ok(to) if is_leaf == 0 && to < count => Ok(Link::branch(starts[to])),
            _ => wrong(node, name, format!("{to} is not there")),
        };
        let mut parts = Parts { slots: self.targets, ..Parts::default() };
        for (at, tests) in tests.iter().enumerate() {
            let Ok(feature) = u32::try_from(features[at]) else {
                return wrong(node, "nodes_featureids", format!("{} is no feature", features[at]));
            };
            let yes = link("nodes_truenodeids", yes[at], yes_is_leaf[at])?;
            let no = link("nodes_falsenodeids", no[at], no_is_leaf[at])?;
            let rule = Rule {
                comparison: modes[at].unwrap_or(Comparison::Equal),
                missing_is_true: missing.get(at) == Some(&1),
            };
            for (nth, &test) in tests.iter().enumerate() {
                let no = if nth + 1 == tests.len() { no } else { Link::branch(starts[at] + nth + 1) };
                parts.branches.push(Branch { threshold: T::of(test), feature, yes, no });
                parts.rules.push(rule);
            }
        }
        for &root in attributes::ints(node, "tree_roots")? {
            parts.roots.push(link("tree_roots", root, 0)?);
        }
        if parts.roots.is_empty() {
            return wrong(node, "tree_roots", "there is no tree");
        }
        let slots = attributes::ints(node, "leaf_targetids")?;
        length(node, "leaf_targetids", slots.len(), leaves)?;
        for (at, (&slot, &value)) in slots.iter().zip(self.weights).enumerate() {
            match u32::try_from(slot) {
                Ok(slot) if (slot as usize) < self.targets => parts.weights.push(Weight { slot, value: T::of(value) }),
                _ => return wrong(node, "leaf_targetids", format!("{slot} is not one of {}", self.targets)),
            }
            parts.leaves.push(at as u32);
        }
        parts.leaves.push(leaves as u32);
        match Forest::new(parts) {
            Some(forest) => Ok(forest),
            None => wrong(node, "nodes_truenodeids", "with nodes_falsenodeids leads from a node back to itself"),
        }
    }
}

/// The comparison of each branch; none for a test of membership.
fn modes(context: &ParsingContext, node: &NodeProto) -> TractResult<Vec<Option<Comparison>>> {
    let Some(tensor) = attributes::tensor(context, node, "nodes_modes")? else {
        return wrong(node, "nodes_modes", "is missing");
    };
    if tensor.datum_type() != DatumType::U8 {
        return wrong(node, "nodes_modes", format!("holds {:?}, not U8", tensor.datum_type()));
    }
    attributes::elements::<u8>(&tensor)?
        .into_iter()
        .map(|mode| {
            Ok(Some(match mode {
                0 => Comparison::AtMost,
                1 => Comparison::Below,
                2 => Comparison::AtLeast,
                3 => Comparison::Above,
                4 => Comparison::Equal,
                5 => Comparison::NotEqual,
                6 => return Ok(None),
                other => return wrong(node, "nodes_modes", format!("{other} is unknown")),
            }))
        })
        .collect()
}

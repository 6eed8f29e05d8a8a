//! Trees as lists of nodes, each with the number of its tree and its own: the form of `TreeEnsembleClassifier` and
//! `TreeEnsembleRegressor`.

use std::collections::{HashMap, HashSet};

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, Tensor, TractResult};

use super::Forests;
use super::forest::{Branch, Comparison, Forest, Link, Number, Parts, Rule, Weight};
use crate::engine::tract::ml::attributes::{self, wrong};

/// The two families of attributes that say what a leaf gives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub(super) ids: &'static str,
    pub(super) trees: &'static str,
    pub(super) nodes: &'static str,
    pub(super) weights: &'static str,
}

/// Of a classifier.
pub(super) const CLASSES: Given =
    Given { ids: "class_ids", trees: "class_treeids", nodes: "class_nodeids", weights: "class_weights" };

/// Of a regressor.
pub(super) const TARGETS: Given =
    Given { ids: "target_ids", trees: "target_treeids", nodes: "target_nodeids", weights: "target_weights" };

/// Numbers as a file may write them: a list in single precision, or a tensor in either.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers {
    pub(super) values: Vec<f64>,
    pub(super) double: bool,
}

impl Numbers {
    /// The attribute of this name, or its form as a tensor.
    pub(super) fn read(context: &ParsingContext, node: &NodeProto, name: &str) -> TractResult<Self> {
        let listed = attributes::floats(node, name)?;
        let Some(tensor) = attributes::tensor(context, node, &format!("{name}_as_tensor"))? else {
            return Ok(Self { values: listed.iter().map(|&value| f64::from(value)).collect(), double: false });
        };
        if !listed.is_empty() {
            return wrong(node, name, "is given twice, as a list and as a tensor");
        }
        Self::of(node, &format!("{name}_as_tensor"), &tensor)
    }

    /// The elements of a tensor.
    pub(super) fn of(node: &NodeProto, name: &str, tensor: &Tensor) -> TractResult<Self> {
        match tensor.datum_type() {
            DatumType::F32 => {
                let values = attributes::elements::<f32>(tensor)?.into_iter().map(f64::from).collect();
                Ok(Self { values, double: false })
            }
            DatumType::F64 => Ok(Self { values: attributes::elements(tensor)?, double: true }),
            other => {
                wrong(node, name, format!("holds {other:?}, where floats of single or double precision are known"))
            }
        }
    }
}

/// Reads the trees of a node whose leaves give to one of `slots` classes or targets.
pub(super) fn read(
    context: &ParsingContext,
    node: &NodeProto,
    given: Given,
    slots: usize,
    base_values: &Numbers,
) -> TractResult<Forests> {
    let thresholds = Numbers::read(context, node, "nodes_values")?;
    let weights = Numbers::read(context, node, given.weights)?;
    if thresholds.double || weights.double || base_values.double {
        Ok(Forests::double(forest(node, given, slots, &thresholds.values, &weights.values)?))
    } else {
        Ok(Forests::single(forest(node, given, slots, &thresholds.values, &weights.values)?))
    }
}

/// A node by the number of its tree and its own.
type Id = (i64, i64);

fn forest<T: Number>(
    node: &NodeProto,
    given: Given,
    slots: usize,
    thresholds: &[f64],
    weights: &[f64],
) -> TractResult<Forest<T>> {
    let kinds = kinds(node)?;
    let ids = ids(node, kinds.len())?;
    attributes::length(node, "nodes_values", thresholds.len(), ids.len())?;
    let mut parts = Parts { roots: Vec::new(), slots, ..Parts::default() };

    // Branches and leaves are numbered apart, in the order of the file.
    let (mut branches, mut leaves) = (0, 0);
    let mut links = HashMap::with_capacity(ids.len());
    for (&id, kind) in ids.iter().zip(&kinds) {
        let number = if kind.is_some() { &mut branches } else { &mut leaves };
        let link = if kind.is_some() { Link::branch(*number) } else { Link::leaf(*number) };
        *number += 1;
        if links.insert(id, link).is_some() {
            return wrong(node, "nodes_nodeids", format!("node {} of tree {} is there twice", id.1, id.0));
        }
    }
    parts.roots = roots(node, &ids)?.into_iter().map(|id| links[&id]).collect();

    // Those of leaves mean nothing.
    let features = of_length(node, "nodes_featureids", ids.len())?;
    let (yes, no) =
        (of_length(node, "nodes_truenodeids", ids.len())?, of_length(node, "nodes_falsenodeids", ids.len())?);
    let missing = attributes::ints(node, "nodes_missing_value_tracks_true")?;
    if !missing.is_empty() {
        attributes::length(node, "nodes_missing_value_tracks_true", missing.len(), ids.len())?;
    }
    for (at, (&id, kind)) in ids.iter().zip(&kinds).enumerate() {
        let Some(comparison) = *kind else { continue };
        let follow = |name: &str, to: i64| match links.get(&(id.0, to)) {
            Some(&link) => Ok(link),
            None => wrong(node, name, format!("node {} of tree {} leads to node {to}, which is not there", id.1, id.0)),
        };
        parts.branches.push(Branch {
            threshold: T::of(thresholds[at]),
            feature: match u32::try_from(features[at]) {
                Ok(feature) => feature,
                Err(_) => return wrong(node, "nodes_featureids", format!("{} is no feature", features[at])),
            },
            yes: follow("nodes_truenodeids", yes[at])?,
            no: follow("nodes_falsenodeids", no[at])?,
        });
        parts.rules.push(Rule { comparison, missing_is_true: missing.get(at) == Some(&1) });
    }

    weigh(node, given, weights, &ids, &links, &mut parts)?;
    match Forest::new(parts) {
        Some(forest) => Ok(forest),
        None => wrong(node, "nodes_truenodeids", "with nodes_falsenodeids leads from a node back to itself"),
    }
}

/// The comparison of each branch; none for a leaf.
fn kinds(node: &NodeProto) -> TractResult<Vec<Option<Comparison>>> {
    let modes = node.get_attr_opt_tvec::<&str>("nodes_modes")?.unwrap_or_default();
    modes
        .iter()
        .map(|&mode| {
            Ok(Some(match mode {
                "BRANCH_LEQ" => Comparison::AtMost,
                "BRANCH_LT" => Comparison::Below,
                "BRANCH_GTE" => Comparison::AtLeast,
                "BRANCH_GT" => Comparison::Above,
                "BRANCH_EQ" => Comparison::Equal,
                "BRANCH_NEQ" => Comparison::NotEqual,
                "LEAF" => return Ok(None),
                other => return wrong(node, "nodes_modes", format!("`{other}` is unknown")),
            }))
        })
        .collect()
}

fn of_length<'a>(node: &'a NodeProto, name: &str, wanted: usize) -> TractResult<&'a [i64]> {
    let found = attributes::ints(node, name)?;
    attributes::length(node, name, found.len(), wanted)?;
    Ok(found)
}

fn ids(node: &NodeProto, wanted: usize) -> TractResult<Vec<Id>> {
    if wanted == 0 {
        return wrong(node, "nodes_modes", "there is no node");
    }
    if wanted > Link::MOST {
        return wrong(node, "nodes_modes", format!("{wanted} nodes are more than {}", Link::MOST));
    }
    let (trees, nodes) = (of_length(node, "nodes_treeids", wanted)?, of_length(node, "nodes_nodeids", wanted)?);
    Ok(trees.iter().copied().zip(nodes.iter().copied()).collect())
}

/// The first node of each tree in the file is its root.
fn roots(node: &NodeProto, ids: &[Id]) -> TractResult<Vec<Id>> {
    let (mut roots, mut trees) = (Vec::new(), HashSet::new());
    let mut current = None;
    for &id in ids {
        if current == Some(id.0) {
            continue;
        }
        current = Some(id.0);
        if !trees.insert(id.0) {
            return wrong(node, "nodes_treeids", format!("the nodes of tree {} do not stand together", id.0));
        }
        roots.push(id);
    }
    Ok(roots)
}

/// Gives the leaves their weights.
fn weigh<T: Number>(
    node: &NodeProto,
    given: Given,
    weights: &[f64],
    ids: &[Id],
    links: &HashMap<Id, Link>,
    parts: &mut Parts<T>,
) -> TractResult<()> {
    attributes::length(node, given.weights, weights.len(), attributes::ints(node, given.ids)?.len())?;
    let slots = of_length(node, given.ids, weights.len())?;
    let trees = of_length(node, given.trees, weights.len())?;
    let nodes = of_length(node, given.nodes, weights.len())?;
    if weights.len() > Link::MOST {
        return wrong(node, given.weights, format!("{} are more than {}", weights.len(), Link::MOST));
    }
    let mut of_leaf: HashMap<Id, Vec<usize>> = HashMap::new();
    for (at, id) in trees.iter().copied().zip(nodes.iter().copied()).enumerate() {
        if !links.contains_key(&id) {
            return wrong(node, given.nodes, format!("node {} of tree {} is not there", id.1, id.0));
        }
        if usize::try_from(slots[at]).map_or(true, |slot| slot >= parts.slots) {
            return wrong(node, given.ids, format!("{} is not one of {}", slots[at], parts.slots));
        }
        of_leaf.entry(id).or_default().push(at);
    }
    parts.leaves.push(0);
    // The last leaf that gave to a slot, counted from 1.
    let mut last_given = vec![0; parts.slots];
    for &id in ids {
        // Some exporters give weights to branches too; they mean nothing there.
        if links[&id].as_branch().is_some() {
            continue;
        }
        // Such a leaf gives nothing; but for a single target ONNX Runtime then answers the leaf's entry in nodes_values, which
        // is said to mean nothing.
        let own = of_leaf.get(&id);
        if own.is_none() && parts.slots == 1 {
            return wrong(node, given.nodes, format!("leaf {} of tree {} is given no weight", id.1, id.0));
        }
        let leaf = parts.leaves.len();
        for &at in own.into_iter().flatten() {
            let slot = slots[at] as usize;
            if std::mem::replace(&mut last_given[slot], leaf) == leaf {
                return wrong(
                    node,
                    given.ids,
                    format!("leaf {} of tree {} is given two weights for {slot}", id.1, id.0),
                );
            }
            parts.weights.push(Weight { slot: slot as u32, value: T::of(weights[at]) });
        }
        parts.leaves.push(parts.weights.len() as u32);
    }
    Ok(())
}

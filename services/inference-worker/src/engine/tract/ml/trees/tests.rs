//! Random trees against an evaluator that is as plain as can be, and attributes that are damaged.

use std::cmp::Ordering;
use std::time::Instant;

use proptest::prelude::*;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::{IntoTValue as _, TValue};
use tract_onnx::tract_hir::internal::{Datum as _, Tensor, TractResult};

use super::{tree_ensemble, tree_ensemble_classifier, tree_ensemble_regressor};
use crate::engine::tract::ml::attributes::{elements, tensor_of};
use crate::engine::tract::ml::operator::{Form, Kernel};

const FEATURES: usize = 4;
/// More than one block of rows, and not a whole number of blocks.
const ROWS: usize = 150;
const MODES: [&str; 6] = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];

/// Marsaglia's xorshift, so that a failing case is one number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn weight(&mut self) -> f32 {
        (self.below(2001) as f32 - 1000.0) / 128.0
    }
}

/// Trees as an ONNX file lists them.
#[derive(Debug, Clone, Default)]
struct Listed {
    trees: Vec<i64>,
    nodes: Vec<i64>,
    features: Vec<i64>,
    modes: Vec<&'static str>,
    values: Vec<f32>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
    leaf_trees: Vec<i64>,
    leaf_nodes: Vec<i64>,
    leaf_ids: Vec<i64>,
    leaf_weights: Vec<f32>,
}

impl Listed {
    fn random(dice: &mut Dice, slots: usize) -> Self {
        let mut listed = Self::default();
        let modes: Vec<&str> = if dice.below(2) == 0 { vec![dice.one_of(&MODES)] } else { MODES.to_vec() };
        let positive = dice.below(2) == 0;
        for tree in 0..=dice.below(6) as i64 {
            // Any numbers will do, as long as they differ.
            let (factor, offset) = (dice.below(5) as i64 + 1, dice.below(100) as i64);
            let mut next = 0;
            listed.grow(dice, (tree * 3 % 7, factor, offset), &mut next, 0, slots, &modes, positive);
        }
        if dice.below(2) == 0 {
            listed.missing.clear();
        }
        listed
    }

    #[expect(clippy::too_many_arguments, reason = "one level of a random tree; each is a thing of its own")]
    fn grow(
        &mut self,
        dice: &mut Dice,
        (tree, factor, offset): (i64, i64, i64),
        next: &mut i64,
        level: usize,
        slots: usize,
        modes: &[&'static str],
        positive: bool,
    ) -> i64 {
        let number = *next * factor + offset;
        *next += 1;
        let at = self.nodes.len();
        self.trees.push(tree);
        self.nodes.push(number);
        self.features.push(dice.below(FEATURES) as i64);
        self.values.push(dice.below(7) as f32 - 3.0);
        self.missing.push(dice.below(2) as i64);
        self.modes.push("LEAF");
        self.yes.push(0);
        self.no.push(0);
        if level == 5 || dice.below(5) == 0 {
            for slot in 0..slots {
                if slots == 1 || dice.below(3) > 0 {
                    self.leaf_trees.push(tree);
                    self.leaf_nodes.push(number);
                    self.leaf_ids.push(slot as i64);
                    let weight = dice.weight();
                    self.leaf_weights.push(if positive { weight.abs() / 16.0 } else { weight });
                }
            }
        } else {
            self.modes[at] = dice.one_of(modes);
            self.yes[at] = self.grow(dice, (tree, factor, offset), next, level + 1, slots, modes, positive);
            self.no[at] = self.grow(dice, (tree, factor, offset), next, level + 1, slots, modes, positive);
        }
        number
    }

    fn attributes(&self, family: &str) -> Vec<AttributeProto> {
        vec![
            ints("nodes_treeids", &self.trees),
            ints("nodes_nodeids", &self.nodes),
            ints("nodes_featureids", &self.features),
            texts("nodes_modes", &self.modes),
            floats("nodes_values", &self.values),
            ints("nodes_truenodeids", &self.yes),
            ints("nodes_falsenodeids", &self.no),
            ints("nodes_missing_value_tracks_true", &self.missing),
            ints(&format!("{family}_treeids"), &self.leaf_trees),
            ints(&format!("{family}_nodeids"), &self.leaf_nodes),
            ints(&format!("{family}_ids"), &self.leaf_ids),
            floats(&format!("{family}_weights"), &self.leaf_weights),
        ]
    }

    /// What the leaves that a row reaches give, tree by tree: slot and weight.
    fn given(&self, row: &[f32]) -> Vec<(usize, f32)> {
        let mut given = Vec::new();
        let mut done: Vec<i64> = Vec::new();
        for at in 0..self.nodes.len() {
            if !done.contains(&self.trees[at]) {
                done.push(self.trees[at]);
                let leaf = self.reached(at, row);
                for weight in 0..self.leaf_nodes.len() {
                    if (self.leaf_trees[weight], self.leaf_nodes[weight]) == (self.trees[leaf], self.nodes[leaf]) {
                        given.push((self.leaf_ids[weight] as usize, self.leaf_weights[weight]));
                    }
                }
            }
        }
        given
    }

    fn reached(&self, at: usize, row: &[f32]) -> usize {
        let (value, threshold) = (row[self.features[at] as usize], self.values[at]);
        let holds = match self.modes[at] {
            "LEAF" => return at,
            "BRANCH_LEQ" => value <= threshold,
            "BRANCH_LT" => value < threshold,
            "BRANCH_GTE" => value >= threshold,
            "BRANCH_GT" => value > threshold,
            "BRANCH_EQ" => value == threshold,
            _ => value != threshold,
        };
        let yes = holds || (value.is_nan() && self.missing.get(at) == Some(&1));
        let to = if yes { self.yes[at] } else { self.no[at] };
        let next = (0..self.nodes.len()).find(|&next| (self.trees[next], self.nodes[next]) == (self.trees[at], to));
        self.reached(next.unwrap(), row)
    }

    fn trees(&self) -> usize {
        let mut trees = self.trees.clone();
        trees.dedup();
        trees.len()
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..AttributeProto::default() }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) }
}

fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto { floats: values.to_vec(), ..attribute(name, AttributeType::Floats) }
}

fn texts(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::Strings) }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: value.as_bytes().to_vec(), ..attribute(name, AttributeType::String) }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: value, ..attribute(name, AttributeType::Int) }
}

fn tensor(name: &str, data_type: DataType, values: &[f32]) -> AttributeProto {
    let mut proto =
        TensorProto { data_type: data_type as i32, dims: vec![values.len() as i64], ..TensorProto::default() };
    match data_type {
        DataType::Uint8 => proto.int32_data = values.iter().map(|&value| value as i32).collect(),
        DataType::Double => proto.double_data = values.iter().map(|&value| f64::from(value)).collect(),
        _ => proto.float_data = values.to_vec(),
    }
    AttributeProto { t: Some(proto), ..attribute(name, AttributeType::Tensor) }
}

fn node(operator: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        domain: "ai.onnx.ml".into(),
        op_type: operator.into(),
        name: "trees".into(),
        input: vec!["x".into()],
        output: vec!["y".into()],
        attribute,
        ..NodeProto::default()
    }
}

fn read<K>(reader: impl Fn(&ParsingContext, &NodeProto) -> TractResult<K>, node: &NodeProto) -> TractResult<K> {
    let (framework, model) = (Onnx::default(), ModelProto::default());
    let context = ParsingContext {
        onnx_operator_set_version: 17,
        framework: &framework,
        model: &model,
        parent_graphs: Vec::new(),
        model_dir: None,
        template: tract_onnx::prelude::InferenceModel::default(),
    };
    reader(&context, node)
}

fn rows(dice: &mut Dice) -> Vec<f32> {
    (0..ROWS * FEATURES)
        .map(|_| match dice.below(12) {
            0 => f32::NAN,
            // Whole, so that thresholds are met exactly.
            other => other as f32 - 6.0,
        })
        .collect()
}

fn input(rows: &[f32]) -> TValue {
    tensor_of(&[rows.len() / FEATURES, FEATURES], rows.to_vec()).unwrap().into_tvalue()
}

fn run(kernel: &impl Kernel, input: TValue) -> Vec<Tensor> {
    let form = Form::new(input.datum_type(), input.shape().iter().map(|&size| size.into()));
    let promised = kernel.outputs(&[form]).unwrap();
    let outputs = kernel.run(&[input]).unwrap();
    let forms = |tensor: &Tensor| Form::new(tensor.datum_type(), tensor.shape().iter().map(|&size| size.into()));
    assert_eq!(promised, outputs.iter().map(forms).collect::<Vec<_>>());
    outputs
}

/// Equal to the bit, but for the two zeros and the NaNs.
fn same(found: &[f32], wanted: &[f32]) -> bool {
    found.len() == wanted.len()
        && found.iter().zip(wanted).all(|(found, wanted)| found == wanted || (found.is_nan() && wanted.is_nan()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn regressors_give_what_the_plainest_evaluator_gives(seed in 1_u64..) {
        let mut dice = Dice(seed);
        let slots = dice.below(3) + 1;
        let listed = Listed::random(&mut dice, slots);
        prop_assume!(listed.leaf_ids.len() >= slots);
        let base: Vec<f32> = if dice.below(2) == 0 { Vec::new() } else { (0..slots).map(|_| dice.weight()).collect() };
        let aggregate = dice.one_of(&["SUM", "AVERAGE", "MIN", "MAX"]);
        let mut attributes = listed.attributes("target");
        attributes.extend([int("n_targets", slots as i64), text("aggregate_function", aggregate), floats("base_values", &base)]);
        let kernel = read(tree_ensemble_regressor::read, &node("TreeEnsembleRegressor", attributes)).unwrap();
        let rows = rows(&mut dice);

        let mut wanted = Vec::new();
        for row in rows.chunks(FEATURES) {
            let given = listed.given(row);
            for slot in 0..slots {
                let weights = given.iter().filter(|(to, _)| *to == slot).map(|(_, weight)| *weight);
                let by = |one: &f32, other: &f32| one.partial_cmp(other).unwrap_or(Ordering::Equal);
                let merged = match aggregate {
                    "SUM" => weights.clone().reduce(|sum, weight| sum + weight),
                    "AVERAGE" => weights.clone().reduce(|sum, weight| sum + weight).map(|sum| sum / listed.trees() as f32),
                    "MIN" => weights.clone().min_by(by),
                    _ => weights.clone().max_by(by),
                };
                let base = base.get(slot).copied().unwrap_or(0.0);
                wanted.push(merged.map_or(0.0, |merged| merged + base));
            }
        }
        let found = run(&kernel, input(&rows));
        prop_assert!(same(&elements::<f32>(&found[0]).unwrap(), &wanted), "{:?}", listed);

        // One by one, and as the doubles that they are too.
        for (row, wanted) in rows.chunks(FEATURES).zip(wanted.chunks(slots)).take(5) {
            prop_assert!(same(&elements::<f32>(&run(&kernel, input(row))[0]).unwrap(), wanted));
        }
        let doubles = tensor_of(&[ROWS, FEATURES], rows.iter().map(|&value| f64::from(value)).collect()).unwrap();
        let found = elements::<f32>(&run(&kernel, doubles.into_tvalue())[0]).unwrap();
        for (found, wanted) in found.iter().zip(&wanted) {
            prop_assert!((found - wanted).abs() <= 1e-4, "{found} {wanted}");
        }
    }

    #[test]
    fn classifiers_give_what_the_plainest_evaluator_gives(seed in 1_u64..) {
        let mut dice = Dice(seed);
        let slots = dice.below(4) + 1;
        let classes = slots.max(2);
        let listed = Listed::random(&mut dice, slots);
        let base: Vec<f32> = match dice.below(3) {
            0 => (0..classes).map(|_| dice.weight()).collect(),
            1 if slots == 1 => vec![dice.weight()],
            _ => Vec::new(),
        };
        let labels: Vec<i64> = (0..classes as i64).map(|class| 10 - 3 * class).collect();
        let mut attributes = listed.attributes("class");
        attributes.extend([ints("classlabels_int64s", &labels), floats("base_values", &base)]);
        let kernel = read(tree_ensemble_classifier::read, &node("TreeEnsembleClassifier", attributes)).unwrap();
        let rows = rows(&mut dice);

        let ids: std::collections::BTreeSet<i64> = listed.leaf_ids.iter().copied().collect();
        let shares = listed.leaf_weights.iter().all(|weight| *weight >= 0.0);
        let (mut wanted_labels, mut wanted_scores) = (Vec::new(), Vec::new());
        for row in rows.chunks(FEATURES) {
            let mut sums: Vec<Option<f32>> = vec![None; classes];
            for (slot, weight) in listed.given(row) {
                sums[slot] = Some(sums[slot].map_or(weight, |sum| sum + weight));
            }
            let (label, shown) = if classes == 2 { of_two(&sums, &base, ids.len(), shares) } else { of_more(&sums, &base) };
            wanted_labels.push(labels[label]);
            wanted_scores.extend(shown);
        }
        let found = run(&kernel, input(&rows));
        prop_assert_eq!(elements::<i64>(&found[0]).unwrap(), wanted_labels);
        prop_assert!(same(&elements::<f32>(&found[1]).unwrap(), &wanted_scores), "{:?}", listed);
    }

    #[test]
    fn damaged_attributes_are_an_error_that_names_one_or_trees_that_end(seed in 1_u64..) {
        let mut dice = Dice(seed);
        let (mut damaged, which) = valid(&mut dice);
        for _ in 0..=dice.below(3) {
            damage(&mut dice, &mut damaged.attribute);
        }
        let rows = rows(&mut dice);
        let run = |kernel: TractResult<Box<dyn Kernel>>| {
            match kernel {
                Ok(kernel) => {
                    for input in [input(&rows), input(&rows[..FEATURES])] {
                        let _ = kernel.run(&[input]);
                    }
                    Ok(())
                }
                Err(error) => {
                    let message = format!("{error:#}");
                    prop_assert!(message.contains("attribute "), "{message}");
                    Ok(())
                }
            }
        };
        match which {
            0 => run(read(tree_ensemble_classifier::read, &damaged).map(|kernel| Box::new(kernel) as Box<dyn Kernel>))?,
            1 => run(read(tree_ensemble_regressor::read, &damaged).map(|kernel| Box::new(kernel) as Box<dyn Kernel>))?,
            _ => run(read(tree_ensemble::read, &damaged).map(|kernel| Box::new(kernel) as Box<dyn Kernel>))?,
        }
    }
}

fn of_more(sums: &[Option<f32>], base: &[f32]) -> (usize, Vec<f32>) {
    let sums: Vec<Option<f32>> = if base.is_empty() {
        sums.to_vec()
    } else {
        sums.iter().zip(base).map(|(sum, base)| Some(sum.unwrap_or(0.0) + base)).collect()
    };
    let mut label = None;
    for (class, sum) in sums.iter().enumerate() {
        if let Some(sum) = sum
            && label.is_none_or(|(_, best)| *sum > best)
        {
            label = Some((class, *sum));
        }
    }
    (label.map_or(0, |(class, _)| class), sums.iter().map(|sum| sum.unwrap_or(0.0)).collect())
}

/// Two classes, as ONNX Runtime has them, without a transformation.
fn of_two(sums: &[Option<f32>], base: &[f32], ids: usize, shares: bool) -> (usize, Vec<f32>) {
    let (mut first, mut second) = (sums[0], sums[1]);
    let mut single = second.is_none();
    match base.len() {
        1 => first = first.map(|sum| sum + base[0]),
        2 if second.is_some() => {
            let sum = base[1] + first.unwrap_or(0.0);
            second = Some(sum);
            first = first.map(|_| -sum);
        }
        2 => {
            first = first.map(|sum| sum + base[0]);
            single = false;
        }
        _ => {}
    }
    let deciding = second.or(first).unwrap_or(0.0);
    let label = usize::from(if ids == 1 && shares { deciding > 0.5 } else { deciding > 0.0 });
    let score = first.unwrap_or(0.0);
    let shown = match (single, ids) {
        (true, 1) if shares => vec![1.0 - score, score],
        (true, 1) => vec![-score, score],
        (true, _) if base.is_empty() => vec![-score, score],
        _ => vec![score, second.unwrap_or(0.0)],
    };
    (label, shown)
}

/// A node of one of the three operators that can be read.
fn valid(dice: &mut Dice) -> (NodeProto, usize) {
    let slots = dice.below(3) + 1;
    let listed = Listed::random(dice, slots);
    match dice.below(3) {
        0 => {
            let mut attributes = listed.attributes("class");
            attributes.push(ints("classlabels_int64s", &[1, 2, 3]));
            attributes.push(floats("base_values", &[0.5, 0.25, 0.0]));
            (node("TreeEnsembleClassifier", attributes), 0)
        }
        1 => {
            let mut attributes = listed.attributes("target");
            attributes.push(int("n_targets", slots as i64));
            (node("TreeEnsembleRegressor", attributes), 1)
        }
        _ => {
            let attributes = vec![
                int("n_targets", 2),
                ints("tree_roots", &[0, 4, 5]),
                tensor("nodes_modes", DataType::Uint8, &[0.0, 6.0, 2.0, 6.0, 0.0, 6.0]),
                tensor(
                    "nodes_splits",
                    dice.one_of(&[DataType::Float, DataType::Double]),
                    &[0.0, 1.0, -1.0, 2.0, 0.0, 1.0],
                ),
                ints("nodes_featureids", &[0, 1, 2, 0, 1, 2]),
                ints("nodes_truenodeids", &[1, 0, 1, 3, 5, 7]),
                ints("nodes_trueleafs", &[0, 1, 1, 1, 1, 1]),
                ints("nodes_falsenodeids", &[2, 3, 2, 4, 6, 8]),
                ints("nodes_falseleafs", &[0, 0, 1, 1, 1, 1]),
                ints("leaf_targetids", &[0, 1, 0, 1, 0, 1, 0, 0, 1]),
                tensor("leaf_weights", DataType::Float, &[1.0; 9]),
                tensor("membership_values", DataType::Float, &[1.0, 2.0, f32::NAN, 1.0, f32::NAN, 3.0]),
            ];
            (node("TreeEnsemble", attributes), 2)
        }
    }
}

fn damage(dice: &mut Dice, attributes: &mut Vec<AttributeProto>) {
    if attributes.is_empty() {
        return;
    }
    let at = dice.below(attributes.len());
    if dice.below(10) == 0 {
        attributes.remove(at);
        return;
    }
    let attribute = &mut attributes[at];
    let number = dice.one_of(&[-1, 0, 1, 2, 3, 5, 7, 1000, 1 << 31, 1 << 32, i64::MIN, i64::MAX]);
    let real = dice.one_of(&[f32::NAN, f32::INFINITY, -1.0, 0.0, 300.0]);
    match dice.below(4) {
        0 => {
            attribute.ints.pop();
            attribute.floats.pop();
            attribute.strings.pop();
            if let Some(tensor) = &mut attribute.t {
                tensor.dims = vec![number];
            }
        }
        1 => {
            attribute.ints.extend(attribute.ints.clone());
            attribute.floats.extend(attribute.floats.clone());
            attribute.strings.extend(attribute.strings.clone());
        }
        2 => attribute.r#type = dice.below(15) as i32,
        _ => {
            attribute.i = number;
            attribute.s = b"SUMMIT".to_vec();
            if !attribute.ints.is_empty() {
                let place = dice.below(attribute.ints.len());
                attribute.ints[place] = number;
            }
            if !attribute.floats.is_empty() {
                let place = dice.below(attribute.floats.len());
                attribute.floats[place] = real;
            }
            if !attribute.strings.is_empty() {
                let place = dice.below(attribute.strings.len());
                attribute.strings[place] = dice.one_of(&["LEAF", "BRANCH_EQ", "", "BRANCH_MEMBER", "\u{fc}"]).into();
            }
            if let Some(tensor) = &mut attribute.t {
                let place = dice.below(tensor.int32_data.len().max(tensor.float_data.len()).max(1));
                tensor.int32_data.get_mut(place).into_iter().for_each(|value| *value = number as i32);
                tensor.float_data.get_mut(place).into_iter().for_each(|value| *value = real);
            }
        }
    }
}

/// The complaint about a regressor whose attributes were changed.
fn complaint(change: impl FnOnce(&mut Vec<AttributeProto>)) -> String {
    let mut dice = Dice(7);
    let listed = Listed {
        trees: vec![0, 0, 0, 0, 0],
        nodes: vec![0, 1, 2, 3, 4],
        features: vec![0, 1, 0, 0, 0],
        modes: vec!["BRANCH_LEQ", "BRANCH_LT", "LEAF", "LEAF", "LEAF"],
        values: vec![0.0; 5],
        yes: vec![1, 3, 0, 0, 0],
        no: vec![2, 4, 0, 0, 0],
        missing: vec![],
        leaf_trees: vec![0; 3],
        leaf_nodes: vec![2, 3, 4],
        leaf_ids: vec![0; 3],
        leaf_weights: vec![1.0, 2.0, 3.0],
    };
    let mut attributes = listed.attributes("target");
    attributes.push(int("n_targets", 1));
    change(&mut attributes);
    let kernel = read(tree_ensemble_regressor::read, &node("TreeEnsembleRegressor", attributes));
    match kernel {
        Ok(kernel) => {
            kernel.run(&[input(&rows(&mut dice)[..FEATURES])]).map_or_else(|error| error.to_string(), |_| String::new())
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_complaint_names_the_attribute_and_what_is_wrong_with_it() {
    let put = |name: &'static str, at: usize, value: i64| {
        move |attributes: &mut Vec<AttributeProto>| {
            attributes.iter_mut().find(|attribute| attribute.name == name).unwrap().ints[at] = value;
        }
    };
    for (found, wanted) in [
        (
            complaint(put("nodes_truenodeids", 0, 9)),
            "'nodes_truenodeids': node 0 of tree 0 leads to node 9, which is not there",
        ),
        (
            complaint(put("nodes_falsenodeids", 1, 0)),
            "'nodes_truenodeids': with nodes_falsenodeids leads from a node back to itself",
        ),
        (
            complaint(put("nodes_truenodeids", 0, 0)),
            "'nodes_truenodeids': with nodes_falsenodeids leads from a node back to itself",
        ),
        (complaint(put("nodes_nodeids", 4, 3)), "'nodes_nodeids': node 3 of tree 0 is there twice"),
        (complaint(put("nodes_treeids", 2, 5)), "'nodes_treeids': the nodes of tree 0 do not stand together"),
        (complaint(put("nodes_featureids", 1, -1)), "'nodes_featureids': -1 is no feature"),
        (complaint(put("target_ids", 1, 1)), "'target_ids': 1 is not one of 1"),
        (complaint(put("target_nodeids", 1, 8)), "'target_nodeids': node 8 of tree 0 is not there"),
        (complaint(put("target_nodeids", 1, 2)), "'target_ids': leaf 2 of tree 0 is given two weights for 0"),
        (
            complaint(|all| all.iter_mut().for_each(|one| one.i = 1 << 40)),
            "'n_targets': 1099511627776, where target_ids gives 3 weights",
        ),
        (complaint(|all| all[4].floats.truncate(3)), "'nodes_values': has 3 elements, not 5"),
        (complaint(|all| all[3].strings[0] = b"BRANCH_MEMBER".to_vec()), "'nodes_modes': `BRANCH_MEMBER` is unknown"),
        (complaint(|all| all.push(floats("base_values", &[1.0, 2.0]))), "'base_values': 2 values for 1 targets"),
        (complaint(|all| all.push(text("post_transform", "SQUARE"))), "'post_transform': `SQUARE` is unknown"),
    ] {
        assert!(found.ends_with(wanted), "`{found}` instead of `{wanted}`");
    }
}

#[test]
fn a_row_with_too_few_features_is_an_error() {
    let mut dice = Dice(11);
    let listed = Listed::random(&mut dice, 1);
    let mut attributes = listed.attributes("target");
    attributes.push(int("n_targets", 1));
    attributes[2].ints.fill(700);
    let kernel = read(tree_ensemble_regressor::read, &node("TreeEnsembleRegressor", attributes)).unwrap();
    let error = kernel.run(&[input(&rows(&mut dice))]).unwrap_err().to_string();
    assert_eq!(error, "a branch looks at feature 700, and the input has 4");
    let form = Form::new(f32::datum_type(), [1.into(), 4.into()]);
    assert_eq!(kernel.outputs(&[form]).unwrap_err().to_string(), error);
}

#[test]
fn a_chain_of_a_hundred_thousand_branches_is_read_and_walked() {
    const LONG: i64 = 100_000;
    let count = 2 * LONG as usize + 1;
    let listed = Listed {
        trees: vec![0; count],
        nodes: (0..count as i64).collect(),
        features: vec![0; count],
        modes: (0..count).map(|at| if at < LONG as usize { "BRANCH_LEQ" } else { "LEAF" }).collect(),
        values: (0..count).map(|at| at as f32).collect(),
        yes: (0..count as i64).map(|at| LONG + at).collect(),
        no: (0..count as i64).map(|at| if at == LONG - 1 { 2 * LONG } else { at + 1 }).collect(),
        missing: vec![],
        leaf_trees: vec![0; LONG as usize + 1],
        leaf_nodes: (LONG..=2 * LONG).collect(),
        leaf_ids: vec![0; LONG as usize + 1],
        leaf_weights: (0..=LONG).map(|at| at as f32).collect(),
    };
    let mut attributes = listed.attributes("target");
    attributes.push(int("n_targets", 1));
    let kernel = read(tree_ensemble_regressor::read, &node("TreeEnsembleRegressor", attributes)).unwrap();
    let rows: Vec<f32> = [-1.0, 1e9, 500.0].into_iter().flat_map(|value| [value; FEATURES]).collect();
    assert_eq!(elements::<f32>(&run(&kernel, input(&rows))[0]).unwrap(), [0.0, LONG as f32, 500.0]);
}

/// Not a test of correctness: what the walk costs, on a forest of the size of scikit-learn's for handwritten digits.
#[test]
#[ignore = "a measurement, in release"]
fn speed() {
    const TREES: usize = 50;
    let mut dice = Dice(13);
    let mut listed = Listed::default();
    fn grow(listed: &mut Listed, dice: &mut Dice, tree: i64, next: &mut i64, level: usize) -> i64 {
        let (number, at) = (*next, listed.nodes.len());
        *next += 1;
        listed.trees.push(tree);
        listed.nodes.push(number);
        listed.features.push(dice.below(64) as i64);
        listed.values.push(dice.below(16) as f32 + 0.5);
        listed.modes.push("LEAF");
        listed.yes.push(0);
        listed.no.push(0);
        if level > 4 && (level == 11 || dice.below(5) < 2) {
            for slot in 0..10 {
                listed.leaf_trees.push(tree);
                listed.leaf_nodes.push(number);
                listed.leaf_ids.push(slot);
                listed.leaf_weights.push(0.01);
            }
        } else {
            listed.modes[at] = "BRANCH_LEQ";
            listed.yes[at] = grow(listed, dice, tree, next, level + 1);
            listed.no[at] = grow(listed, dice, tree, next, level + 1);
        }
        number
    }
    for tree in 0..TREES as i64 {
        grow(&mut listed, &mut dice, tree, &mut 0, 0);
    }
    let mut attributes = listed.attributes("class");
    attributes.push(ints("classlabels_int64s", &(0..10).collect::<Vec<_>>()));
    let kernel = read(tree_ensemble_classifier::read, &node("TreeEnsembleClassifier", attributes)).unwrap();
    for count in [1, 8, 32, 540] {
        let rows: Vec<f32> = (0..count * 64).map(|_| dice.below(17) as f32).collect();
        let input = tensor_of(&[count, 64], rows).unwrap().into_tvalue();
        let best = (0..200)
            .map(|_| {
                let started = Instant::now();
                std::hint::black_box(kernel.run(std::slice::from_ref(&input)).unwrap());
                started.elapsed()
            })
            .min();
        println!("{} nodes, {count} rows: {best:?}", listed.nodes.len());
    }
}

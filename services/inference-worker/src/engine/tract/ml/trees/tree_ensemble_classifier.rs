//! `TreeEnsembleClassifier`: the label and the scores of all classes.

use std::collections::HashSet;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, TValue, Tensor, TractResult};

use super::forest::{Aggregate, Forest, Number, Score};
use super::listed::{self, CLASSES, Numbers};
use super::{Forests, Walk};
use crate::engine::tract::ml::attributes::{self, Labels, tensor_of, wrong};
use crate::engine::tract::ml::operator::{Built, Form, Kernel, built};
use crate::engine::tract::ml::post_transform::{PostTransform, odds};

pub(in super::super) const NAME: &str = "TreeEnsembleClassifier";

pub(in super::super) fn parse(context: &ParsingContext, node: &NodeProto) -> Built {
    built(node, NAME, read(context, node)?)
}

pub(super) fn read(context: &ParsingContext, node: &NodeProto) -> TractResult<Classifier> {
    let labels = Labels::read(node, "classlabels_int64s", "classlabels_strings")?;
    let base = Numbers::read(context, node, "base_values")?;
    let fits = match base.values.len() {
        0 => true,
        // The one value belongs to the one score that the trees of two classes usually have.
        1 => labels.len() == 2,
        count => count == labels.len(),
    };
    if !fits {
        return wrong(node, "base_values", format!("{} values for {} classes", base.values.len(), labels.len()));
    }
    let forests = listed::read(context, node, CLASSES, labels.len(), &base)?;
    let post = PostTransform::read(node)?;
    let given: HashSet<i64> = attributes::ints(node, CLASSES.ids)?.iter().copied().collect();
    if labels.len() == 2 && given.len() == 1 && post == PostTransform::Probit {
        return wrong(node, "post_transform", "PROBIT is undefined for one score of two classes");
    }
    let shares = Numbers::read(context, node, CLASSES.weights)?.values.iter().all(|&weight| weight >= 0.0);
    let alone = (given.len() == 1).then_some(Alone { shares });
    Ok(Classifier { labels, base: base.values, forests, post, alone })
}

/// Trees whose scores are those of classes.
#[derive(Debug)]
pub(super) struct Classifier {
    labels: Labels,
    base: Vec<f64>,
    forests: Forests,
    post: PostTransform,
    /// Where the leaves give to only one class. It decides the label of two classes.
    alone: Option<Alone>,
}

/// What the scores of the only class that leaves give to are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Alone {
    /// Shares of votes, none below zero: the other class has what is missing to 1, and more than a half decides. Otherwise
    /// they are log-odds: the other class has the negative, and the sign decides.
    shares: bool,
}

impl Kernel for Classifier {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        let rows = self.forests.rows(&inputs[0])?;
        Ok(vec![
            Form::new(self.labels.data_type(), [rows.clone()]),
            Form::new(DatumType::F32, [rows, self.labels.len().into()]),
        ])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let (positions, scores) = self.forests.walk(&inputs[0], self)?;
        let shape = [positions.len(), self.labels.len()];
        Ok(vec![self.labels.named(&positions)?, tensor_of(&shape, scores)?])
    }
}

impl Walk for &Classifier {
    /// Positions of the labels, and the scores.
    type Out = (Vec<usize>, Vec<f32>);

    fn through<T: Number>(self, forest: &Forest<T>, rows: &[T], width: usize) -> TractResult<Self::Out> {
        let count = rows.len() / width;
        let (mut positions, mut given) = (Vec::with_capacity(count), Vec::with_capacity(count * forest.slots()));
        let base: Vec<T> = self.base.iter().map(|&value| T::of(value)).collect();
        let mut shown = vec![0.0; forest.slots()];
        forest.scores(rows, width, Aggregate::Sum, |scores| {
            positions.push(self.decide(&base, scores, &mut shown));
            given.extend(shown.iter().map(|&score| score as f32));
        });
        Ok((positions, given))
    }
}

impl Classifier {
    /// The position of the label of a row; writes the scores that are shown.
    fn decide<T: Number>(&self, base: &[T], scores: &mut [Score<T>], shown: &mut [f64]) -> usize {
        if let [first, second] = scores {
            return self.decide_of_two(base, first, second, shown);
        }
        for (score, &base) in scores.iter_mut().zip(base) {
            *score = Score { value: score.value + base, seen: true };
        }
        shown.iter_mut().zip(&*scores).for_each(|(shown, score)| *shown = score.shown());
        self.post.apply(shown);
        best(scores)
    }

    /// The rules of ONNX Runtime for two classes, of which the files of the usual exporters need the first: leaves give to
    /// class 0 only, and what they give is the score of class 1.
    ///
    /// One deviation: where leaves give to both classes, ONNX Runtime answers the numbers 0 and 1 for integer labels, whatever
    /// the labels are; here they are the labels.
    fn decide_of_two<T: Number>(
        &self,
        base: &[T],
        first: &mut Score<T>,
        second: &mut Score<T>,
        shown: &mut [f64],
    ) -> usize {
        match *base {
            [base] => first.value += base,
            [_, base] if second.seen => {
                second.value = first.value + base;
                first.value = T::default() - second.value;
            }
            [base_first, base_second] => {
                first.value += base_first;
                second.value += base_second;
            }
            _ => {}
        }
        let single = !second.seen && base.len() != 2;
        let deciding = if second.seen { second.value.wide() } else { first.shown() };
        let score = first.shown();
        let both = match self.alone {
            // Two scores after all.
            _ if !single => None,
            None if !base.is_empty() => None,
            _ if self.post == PostTransform::Logistic => Some(odds(score as f32).map(f64::from)),
            Some(Alone { shares: true }) => Some([1.0 - score, score]),
            _ => Some([-score, score]),
        };
        shown.copy_from_slice(&both.unwrap_or([score, second.shown()]));
        if both.is_none() {
            self.post.apply(shown);
        }
        let least = if self.alone == Some(Alone { shares: true }) { 0.5 } else { 0.0 };
        usize::from(deciding > least)
    }
}

/// The position of the best class, the first of equals. A class that no leaf of this row gave to is not asked.
fn best<T: Number>(scores: &[Score<T>]) -> usize {
    let mut best: Option<(usize, T)> = None;
    for (at, score) in scores.iter().enumerate().filter(|(_, score)| score.seen) {
        if best.is_none_or(|(_, most)| score.value > most) {
            best = Some((at, score.value));
        }
    }
    best.map_or(0, |(at, _)| at)
}

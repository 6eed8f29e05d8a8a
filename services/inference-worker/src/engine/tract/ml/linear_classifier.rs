//! `LinearClassifier`: the label and the scores of all classes, by a linear function for each.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, TValue, Tensor, TractResult};

use super::attributes::{self, Labels, tensor_of, wrong};
use super::linear_regressor::Linear;
use super::operator::{Built, Form, Kernel, built};
use super::post_transform::{PostTransform, odds};

pub(super) const NAME: &str = "LinearClassifier";

pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Built {
    let labels = Labels::read(node, "classlabels_ints", "classlabels_strings")?;
    let intercepts = attributes::floats(node, "intercepts")?;
    let post = PostTransform::read(node)?;
    match (labels.len(), intercepts.len()) {
        // Without them nothing says how many functions there are.
        (_, 0) => return wrong(node, "intercepts", "is missing"),
        (2, 1) if matches!(post, PostTransform::None | PostTransform::Logistic) => {}
        (2, 1) => return wrong(node, "post_transform", "is undefined for one function that tells two classes apart"),
        (labels, found) if labels == found => {}
        (labels, found) => return wrong(node, "intercepts", format!("{found} values for {labels} classes")),
    }
    let linear = Linear::new(node, attributes::floats(node, "coefficients")?, intercepts.to_vec())?;
    built(node, NAME, Classifier { labels, linear, post })
}

#[derive(Debug)]
struct Classifier {
    labels: Labels,
    linear: Linear,
    post: PostTransform,
}

impl Kernel for Classifier {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        let rows = self.linear.rows(&inputs[0])?;
        Ok(vec![
            Form::new(self.labels.data_type(), [rows.clone()]),
            Form::new(DatumType::F32, [rows, self.labels.len().into()]),
        ])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let (scores, targets) = (self.linear.scores(&inputs[0])?, self.linear.targets());
        let labels: Vec<usize> = scores.chunks_exact(targets).map(best).collect();
        let shown = if targets == 1 {
            let both = |&score| if self.post == PostTransform::Logistic { odds(score) } else { [1.0 - score, score] };
            scores.iter().flat_map(both).collect()
        } else {
            self.post.apply_single(scores, targets)
        };
        Ok(vec![self.labels.named(&labels)?, tensor_of(&[labels.len(), self.labels.len()], shown)?])
    }
}

/// The position of the best class, the first of equals. A single score decides by its sign for the second class.
fn best(scores: &[f32]) -> usize {
    if let [score] = scores {
        return usize::from(*score > 0.0);
    }
    let mut best = 0;
    for (at, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = at;
        }
    }
    best
}

//! From scores to what a caller sees: the attribute `post_transform` of the linear models and the trees.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::TractResult;

use super::attributes::wrong;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PostTransform {
    None,
    Logistic,
    Softmax,
    /// Softmax in which a score of zero stays zero.
    SoftmaxZero,
    Probit,
}

/// Scores this near to zero are zero for [`PostTransform::SoftmaxZero`], as in ONNX Runtime.
const NO_SCORE: f32 = 1e-7;

impl PostTransform {
    pub(super) fn read(node: &NodeProto) -> TractResult<Self> {
        Ok(match node.get_attr_opt::<&str>("post_transform")?.unwrap_or("NONE") {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            other => return wrong(node, "post_transform", format!("`{other}` is unknown")),
        })
    }

    /// Transforms the scores of one row. In single precision whatever the scores are, like ONNX Runtime; and like there, a
    /// score alone is left as it is by all but [`PostTransform::Probit`].
    pub(super) fn apply(self, scores: &mut [f64]) {
        match self {
            Self::None => {}
            _ if scores.len() == 1 && self != Self::Probit => {}
            Self::Logistic => scores.iter_mut().for_each(|score| *score = f64::from(logistic(*score as f32))),
            Self::Probit => scores.iter_mut().for_each(|score| *score = f64::from(probit(*score as f32))),
            Self::Softmax => softmax(scores, false),
            Self::SoftmaxZero => softmax(scores, true),
        }
    }

    /// The same for rows of single precision, one after the other.
    pub(super) fn apply_single(self, mut scores: Vec<f32>, width: usize) -> Vec<f32> {
        if self == Self::None {
            return scores;
        }
        let mut row = vec![0.0; width];
        for scores in scores.chunks_exact_mut(width) {
            row.iter_mut().zip(&*scores).for_each(|(wide, &score)| *wide = f64::from(score));
            self.apply(&mut row);
            scores.iter_mut().zip(&row).for_each(|(score, &wide)| *score = wide as f32);
        }
        scores
    }
}

/// Of log-odds, the shares of those against and those for.
pub(super) fn odds(score: f32) -> [f32; 2] {
    [logistic(-score), logistic(score)]
}

/// Of the absolute value, mirrored: nothing overflows on either side.
fn logistic(score: f32) -> f32 {
    let of_positive = 1.0 / (1.0 + (-score.abs()).exp());
    if score < 0.0 { 1.0 - of_positive } else { of_positive }
}

/// The inverse of the normal distribution, by Winitzki's approximation of the inverse error function (a = 0.147), which
/// is good to two digits; ONNX Runtime computes the same.
fn probit(score: f32) -> f32 {
    const A: f32 = 0.147;
    let x = 2.0 * score - 1.0;
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (std::f32::consts::PI * A) + 0.5 * log;
    let root = (-half + (half * half - log / A).sqrt()).sqrt();
    std::f32::consts::SQRT_2 * if x < 0.0 { -root } else { root }
}

fn softmax(scores: &mut [f64], keep_zero: bool) {
    let largest = scores.iter().fold(f32::MIN, |largest, &score| largest.max(score as f32));
    let mut sum = 0.0_f32;
    for score in scores.iter_mut() {
        let single = *score as f32;
        let kept = keep_zero && single.abs() <= NO_SCORE;
        let scaled = if kept { single * (-largest).exp() } else { (single - largest).exp() };
        sum += if kept { 0.0 } else { scaled };
        *score = f64::from(scaled);
    }
    scores.iter_mut().for_each(|score| *score = f64::from(*score as f32 / sum));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transformed(transform: PostTransform, scores: &[f64]) -> Vec<f64> {
        let mut scores = scores.to_vec();
        transform.apply(&mut scores);
        scores
    }

    #[test]
    fn logistic_is_a_half_at_zero_and_does_not_overflow() {
        assert_eq!(transformed(PostTransform::Logistic, &[0.0, 1e30, -1e30]), [0.5, 1.0, 0.0]);
    }

    #[test]
    fn softmax_sums_to_one_and_keeps_zero_where_asked() {
        let shares = transformed(PostTransform::Softmax, &[1000.0, 1000.0, -1000.0]);
        assert_eq!(shares, [0.5, 0.5, 0.0]);
        let shares = transformed(PostTransform::SoftmaxZero, &[2.0, 0.0, 2.0]);
        assert_eq!(shares, [0.5, 0.0, 0.5]);
    }

    #[test]
    fn probit_inverts_the_normal_distribution_roughly() {
        let normal = transformed(PostTransform::Probit, &[0.5, 0.975, 0.025]);
        for (found, wanted) in normal.iter().zip([0.0, 1.96, -1.96]) {
            assert!((found - wanted).abs() < 0.01, "{normal:?}");
        }
    }
}

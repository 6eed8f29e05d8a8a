//! One row's answer against what is right.

use super::answer::{Answers, Column};
use serde_json::Value;
use std::collections::BTreeMap;

/// How one row came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowResult {
    /// Whether every label is right; `None` if no label is expected.
    pub label_right: Option<bool>,
    /// The greatest difference of a floating-point number, infinite where there was none; `None` if none is expected.
    pub difference: Option<f64>,
    /// An output is missing or of another size.
    pub misshapen: Option<String>,
}

/// Compares row `n` of the answers with what is expected.
#[must_use]
pub fn compare(expected: &BTreeMap<String, Vec<Value>>, answers: &Answers, n: usize) -> RowResult {
    let mut result = RowResult::default();
    for (name, wanted) in expected {
        let Some((column, row)) = answers.get(name).and_then(|column| Some((column, column.rows.get(n)?))) else {
            result.misshapen = Some(format!("there is no output `{name}`"));
            continue;
        };
        if row.len() != wanted.len() {
            result.misshapen =
                Some(format!("output `{name}` has {} elements a row where {} are expected", row.len(), wanted.len()));
        } else if column.is_float {
            let worst = row.iter().zip(wanted).map(|(got, wanted)| difference(got, wanted)).fold(0.0, f64::max);
            result.difference = Some(result.difference.unwrap_or(0.0).max(worst));
        } else {
            let right = row.iter().zip(wanted).all(|(got, wanted)| equal(got, wanted));
            result.label_right = Some(result.label_right.unwrap_or(true) && right);
        }
    }
    result
}

/// Whether two answers to the same single row say the same: labels equal, numbers within the tolerance.
#[must_use]
pub fn same(a: &Answers, b: &Answers, tolerance: f64) -> bool {
    let first = |column: &Column| column.rows.first().cloned().unwrap_or_default();
    let expected: BTreeMap<String, Vec<Value>> = a.iter().map(|(name, column)| (name.clone(), first(column))).collect();
    let result = compare(&expected, b, 0);
    a.len() == b.len()
        && result.misshapen.is_none()
        && result.label_right != Some(false)
        && result.difference.is_none_or(|difference| difference <= tolerance)
}

fn difference(got: &Value, wanted: &Value) -> f64 {
    match (got.as_f64(), wanted.as_f64()) {
        (Some(got), Some(wanted)) => (got - wanted).abs(),
        // NaN and the infinities have no number in JSON; where both say the same they are the same.
        _ if got == wanted => 0.0,
        _ => f64::INFINITY,
    }
}

fn equal(got: &Value, wanted: &Value) -> bool {
    got == wanted || (got.is_number() && wanted.is_number() && got.as_f64() == wanted.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answers(label: i64, p: &[f64]) -> Answers {
        let column = |is_float, rows: Vec<Value>| Column { is_float, rows: vec![rows] };
        Answers::from([
            ("label".to_owned(), column(false, vec![json!(label)])),
            ("p".to_owned(), column(true, p.iter().map(|p| json!(p)).collect())),
        ])
    }

    fn expected(value: &Value) -> BTreeMap<String, Vec<Value>> {
        value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), super::super::read::flat(value))).collect()
    }

    #[test]
    fn labels_are_equal_or_not_and_numbers_differ_by_so_much() {
        let result = compare(&expected(&json!({ "label": 3, "p": [0.1, 0.8] })), &answers(3, &[0.1, 0.9]), 0);
        assert_eq!(result.label_right, Some(true));
        assert!((result.difference.unwrap() - 0.1).abs() < 1e-9);
        assert_eq!(result.misshapen, None);
        let result = compare(&expected(&json!({ "label": 4 })), &answers(3, &[]), 0);
        assert_eq!((result.label_right, result.difference), (Some(false), None));
        assert_eq!(compare(&expected(&json!({ "label": 3.0 })), &answers(3, &[]), 0).label_right, Some(true));
    }

    #[test]
    fn what_is_missing_or_of_another_size_is_said() {
        for wanted in [json!({ "other": 1 }), json!({ "p": [0.1] })] {
            assert!(compare(&expected(&wanted), &answers(3, &[0.1, 0.9]), 0).misshapen.is_some(), "{wanted}");
        }
    }

    #[test]
    fn no_number_is_infinitely_far_from_a_number() {
        let column = Column { is_float: true, rows: vec![vec![Value::Null]] };
        let got = Answers::from([("p".to_owned(), column)]);
        assert_eq!(compare(&expected(&json!({ "p": [0.5] })), &got, 0).difference, Some(f64::INFINITY));
    }

    #[test]
    fn two_answers_are_the_same_within_the_tolerance() {
        assert!(same(&answers(3, &[0.1]), &answers(3, &[0.1001]), 1e-3));
        assert!(!same(&answers(3, &[0.1]), &answers(3, &[0.2]), 1e-3));
        assert!(!same(&answers(3, &[0.1]), &answers(4, &[0.1]), 1e-3));
        assert!(!same(&answers(3, &[0.1]), &Answers::new(), 1e-3));
    }
}

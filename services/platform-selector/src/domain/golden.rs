//! Golden rows: JSON lines of `{"inputs": {name: values}, "expected": {name: values}}`, one row of the batch each.
//!
//! They are checked against the model's signature before anything is deployed, because a golden file that does not fit is
//! found here in a second, and by a failed validation in a minute.

use serde::{
    Deserialize,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use slipway_kernel::TensorSpec;
use std::{collections::BTreeMap, fmt};

/// Why a row cannot be used. The values themselves are never quoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// Not the JSON that is wanted.
    #[error("column {column}: {reason}")]
    Malformed {
        /// Where in the line, from 1.
        column: usize,
        /// What was wanted.
        reason: String,
    },
    /// A tensor the model has not, or one that is missing.
    #[error("{side} are {found}; the model has {wanted}")]
    Names {
        /// `inputs` or `expected`.
        side: &'static str,
        /// The names in the row.
        found: String,
        /// The names of the model.
        wanted: String,
    },
    /// Nothing to compare.
    #[error("`expected` names no output")]
    NothingExpected,
    /// More or fewer values than one row has.
    #[error("`{name}` has {found} values; one row has {wanted}")]
    Values {
        /// The tensor.
        name: String,
        /// Values in the row.
        found: u64,
        /// Values of one row.
        wanted: u64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    inputs: BTreeMap<String, Values>,
    expected: BTreeMap<String, Values>,
}

/// How many values there are, at whatever depth. They themselves are the validator's business.
#[derive(Clone, Copy)]
struct Values(u64);

/// Checks one line.
///
/// # Errors
/// [`BadRow`].
pub fn check(line: &[u8], inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<(), BadRow> {
    let row: Row = serde_json::from_slice(line).map_err(|error| malformed(&error))?;
    let all_inputs = inputs.iter().all(|input| row.inputs.contains_key(&input.name));
    if !all_inputs || row.inputs.len() != inputs.len() {
        return Err(names("inputs", &row.inputs, inputs));
    }
    if row.expected.is_empty() {
        return Err(BadRow::NothingExpected);
    }
    if !row.expected.keys().all(|name| outputs.iter().any(|output| output.name == *name)) {
        return Err(names("expected", &row.expected, outputs));
    }
    count(&row.inputs, inputs)?;
    count(&row.expected, outputs)
}

/// serde's message may quote the document; what it was about is told by its kind and place.
fn malformed(error: &serde_json::Error) -> BadRow {
    let reason = match error.classify() {
        serde_json::error::Category::Data => {
            "an object with `inputs` and `expected` is wanted, each an object of names and numbers, texts or lists of them"
        }
        serde_json::error::Category::Eof => "the line ends too early",
        _ => "this is not JSON (NaN and infinity are not either)",
    };
    BadRow::Malformed { column: error.column(), reason: reason.to_owned() }
}

fn names(side: &'static str, found: &BTreeMap<String, Values>, wanted: &[TensorSpec]) -> BadRow {
    let short = |name: &str| format!("`{}`", name.chars().filter(|c| !c.is_control()).take(64).collect::<String>());
    let list = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    // A hostile row could have thousands of names; the first few tell enough.
    let found = list(found.keys().take(8).map(|name| short(name)).collect());
    BadRow::Names { side, found, wanted: list(wanted.iter().take(8).map(|spec| short(&spec.name)).collect()) }
}

fn count(row: &BTreeMap<String, Values>, specs: &[TensorSpec]) -> Result<(), BadRow> {
    for spec in specs {
        if let (Some(Values(found)), Some(wanted)) = (row.get(&spec.name), values_of_one_row(spec))
            && *found != wanted
        {
            return Err(BadRow::Values { name: spec.name.clone(), found: *found, wanted });
        }
    }
    Ok(())
}

/// The values of one row; none if a dimension other than the first is free. The first is the batch if it is free or 1;
/// if it is fixed to more, the row is the whole tensor.
fn values_of_one_row(spec: &TensorSpec) -> Option<u64> {
    let row = match spec.shape.as_slice() {
        [-1, row @ ..] => row,
        whole => whole,
    };
    row.iter().try_fold(1_u64, |product, size| product.checked_mul(u64::try_from(*size).ok()?))
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Counting)
    }
}

struct Counting;

impl<'de> Visitor<'de> for Counting {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text, a truth value, or a list of them")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Values, E> {
        Ok(Values(1))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Values, E> {
        Ok(Values(1))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Values, E> {
        Ok(Values(1))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Values, E> {
        if number.is_finite() { Ok(Values(1)) } else { Err(E::custom("not finite")) }
    }

    fn visit_str<E>(self, _: &str) -> Result<Values, E> {
        Ok(Values(1))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut total = 0_u64;
        while let Some(Values(count)) = list.next_element()? {
            total = total.saturating_add(count);
        }
        Ok(Values(total))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Err(de::Error::custom("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(name: &str, shape: &[i32]) -> TensorSpec {
        TensorSpec { name: name.into(), datatype: "FP32".into(), shape: shape.into() }
    }

    fn checked(line: &str) -> Result<(), String> {
        let outputs = [spec("label", &[-1]), spec("probabilities", &[-1, 2])];
        check(line.as_bytes(), &[spec("X", &[-1, 3])], &outputs).map_err(|bad| bad.to_string())
    }

    #[test]
    fn a_row_names_every_input_and_some_outputs() {
        for line in [
            r#"{"inputs":{"X":[1,2.5,-3e2]},"expected":{"label":1,"probabilities":[0.5,0.5]}}"#,
            r#"{"inputs":{"X":[[1,2,3]]},"expected":{"label":[1]}}"#,
        ] {
            assert_eq!(checked(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_row_that_does_not_fit_is_refused_with_the_reason() {
        for (line, word) in [
            (r#"{"inputs":{"Y":[1,2,3]},"expected":{"label":1}}"#, "inputs are `Y`; the model has `X`"),
            (r#"{"inputs":{},"expected":{"label":1}}"#, "inputs are none"),
            (r#"{"inputs":{"X":[1,2,3],"Z":1},"expected":{"label":1}}"#, "inputs are `X`, `Z`"),
            (r#"{"inputs":{"X":[1,2,3]},"expected":{}}"#, "names no output"),
            (r#"{"inputs":{"X":[1,2,3]},"expected":{"class":1}}"#, "expected are `class`"),
            (r#"{"inputs":{"X":[1,2]},"expected":{"label":1}}"#, "`X` has 2 values; one row has 3"),
            (
                r#"{"inputs":{"X":[1,2,3]},"expected":{"probabilities":[1]}}"#,
                "`probabilities` has 1 values; one row has 2",
            ),
            (r#"{"inputs":{"X":[1,2,NaN]},"expected":{"label":1}}"#, "not JSON"),
            (r#"{"inputs":{"X":[1,2,null]},"expected":{"label":1}}"#, "an object with `inputs`"),
            (r#"{"inputs":{"X":{"secret":1}},"expected":{"label":1}}"#, "an object with `inputs`"),
            (r#"{"inputs":{"X":[1,2,3]}}"#, "an object with `inputs`"),
            (r#"{"inputs":{"X":[1,2,3]},"expected":{"label":1},"secret":1}"#, "an object with `inputs`"),
            (r#"{"inputs":{"X":[1,2"#, "ends too early"),
            ("", "ends too early"),
        ] {
            let refused = checked(line).unwrap_err();
            assert!(refused.contains(word), "{line}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_exhaust_the_stack() {
        let line =
            format!(r#"{{"inputs":{{"X":{}{}}},"expected":{{"label":1}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(checked(&line).is_err());
    }

    #[test]
    fn free_dimensions_beside_the_batch_are_not_counted() {
        let inputs = [spec("ids", &[-1, -1])];
        let row = br#"{"inputs":{"ids":[1,2,3,4,5]},"expected":{"y":1}}"#;
        assert_eq!(check(row, &inputs, &[spec("y", &[1])]), Ok(()));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&line, &[spec("X", &[-1, 3])], &[spec("y", &[])]);
        }
    }
}

//! `LabelEncoder`: one value for another, by a table.
//!
//! Version 1 has one list of texts and goes from texts to their positions and back, depending on the input. Version 2 has a
//! list of keys and one of values, each of texts, integers or floats; version 4 adds tensors of keys and values.

use std::collections::HashMap;
use std::hash::Hash;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Datum, DatumType, TValue, Tensor, TractResult, bail};

use super::attributes::{self, elements, tensor_of, wrong};
use super::operator::{Built, Form, Kernel, built};

pub(super) const NAME: &str = "LabelEncoder";

pub(super) fn parse(context: &ParsingContext, node: &NodeProto) -> Built {
    let classes = attributes::texts(node, "classes_strings")?;
    let tables = if classes.is_empty() {
        vec![Table::new(node, List::keys(context, node)?, List::values(context, node)?, |values| {
            List::default_of(context, node, values)
        })?]
    } else {
        let positions = List::Ints((0..classes.len() as i64).collect());
        let classes = List::Texts(classes);
        let default = |values: &List| List::default_of(context, node, values);
        vec![
            Table::new(node, classes.clone(), positions.clone(), default)?,
            Table::new(node, positions, classes, default)?,
        ]
    };
    built(node, NAME, LabelEncoder { tables })
}

/// Keys, values or the default, as the file has them.
#[derive(Debug, Clone, PartialEq)]
enum List {
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    /// Only as values.
    Shorts(Vec<i16>),
}

impl List {
    fn keys(context: &ParsingContext, node: &NodeProto) -> TractResult<Self> {
        Self::read(context, node, "keys")
    }

    fn values(context: &ParsingContext, node: &NodeProto) -> TractResult<Self> {
        Self::read(context, node, "values")
    }

    /// The one list that is there.
    fn read(context: &ParsingContext, node: &NodeProto, family: &str) -> TractResult<Self> {
        let tensor = attributes::tensor(context, node, &format!("{family}_tensor"))?;
        let mut found = [
            Self::Ints(attributes::ints(node, &format!("{family}_int64s"))?.to_vec()),
            Self::Texts(attributes::texts(node, &format!("{family}_strings"))?),
            Self::Floats(attributes::floats(node, &format!("{family}_floats"))?.to_vec()),
        ]
        .into_iter()
        .filter(|list| list.len() > 0)
        .chain(tensor.map(|tensor| Self::of(node, &format!("{family}_tensor"), &tensor)).transpose()?);
        match (found.next(), found.next()) {
            (Some(list), None) => Ok(list),
            (Some(_), Some(_)) => wrong(node, &format!("{family}_tensor"), format!("more than one list of {family}")),
            (None, _) => wrong(node, &format!("{family}_tensor"), format!("there are no {family}")),
        }
    }

    fn of(node: &NodeProto, name: &str, tensor: &Tensor) -> TractResult<Self> {
        Ok(match tensor.datum_type() {
            DatumType::I64 => Self::Ints(elements(tensor)?),
            DatumType::String => Self::Texts(elements(tensor)?),
            DatumType::F32 => Self::Floats(elements(tensor)?),
            DatumType::F64 => Self::Doubles(elements(tensor)?),
            DatumType::I16 => Self::Shorts(elements(tensor)?),
            other => return wrong(node, name, format!("holds {other:?}")),
        })
    }

    /// What stands for a key that is not there, of the type of the values.
    fn default_of(context: &ParsingContext, node: &NodeProto, values: &Self) -> TractResult<Self> {
        const NAME: &str = "default_tensor";
        if let Some(tensor) = attributes::tensor(context, node, NAME)? {
            let default = Self::of(node, NAME, &tensor)?;
            if default.len() != 1 || default.data_type() != values.data_type() {
                return wrong(node, NAME, format!("is not one {:?}", values.data_type()));
            }
            return Ok(default);
        }
        // The defaults of the defaults are those of the specification.
        Ok(match values {
            Self::Ints(_) => Self::Ints(vec![node.get_attr_opt("default_int64")?.unwrap_or(-1)]),
            Self::Texts(_) => {
                Self::Texts(vec![node.get_attr_opt("default_string")?.unwrap_or_else(|| "_Unused".to_owned())])
            }
            Self::Floats(_) => Self::Floats(vec![node.get_attr_opt("default_float")?.unwrap_or(-0.0)]),
            Self::Doubles(_) => Self::Doubles(vec![-0.0]),
            Self::Shorts(_) => Self::Shorts(vec![-1]),
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Ints(list) => list.len(),
            Self::Texts(list) => list.len(),
            Self::Floats(list) => list.len(),
            Self::Doubles(list) => list.len(),
            Self::Shorts(list) => list.len(),
        }
    }

    fn data_type(&self) -> DatumType {
        match self {
            Self::Ints(_) => DatumType::I64,
            Self::Texts(_) => DatumType::String,
            Self::Floats(_) => DatumType::F32,
            Self::Doubles(_) => DatumType::F64,
            Self::Shorts(_) => DatumType::I16,
        }
    }

    /// Those at these positions, one after the other, and the element of `default` where there is no position.
    fn picked(&self, default: &Self, positions: &[Option<usize>], shape: &[usize]) -> TractResult<Tensor> {
        fn pick<T: Datum + Clone>(
            list: &[T],
            default: &[T],
            positions: &[Option<usize>],
            shape: &[usize],
        ) -> TractResult<Tensor> {
            let [default] = default else { bail!("there is no one default") };
            tensor_of(shape, positions.iter().map(|at| at.map_or(default, |at| &list[at]).clone()).collect())
        }
        match (self, default) {
            (Self::Ints(list), Self::Ints(default)) => pick(list, default, positions, shape),
            (Self::Texts(list), Self::Texts(default)) => pick(list, default, positions, shape),
            (Self::Floats(list), Self::Floats(default)) => pick(list, default, positions, shape),
            (Self::Doubles(list), Self::Doubles(default)) => pick(list, default, positions, shape),
            (Self::Shorts(list), Self::Shorts(default)) => pick(list, default, positions, shape),
            _ => bail!("the default is not of the type of the values"),
        }
    }
}

/// Where the value of a key is. Floats are known by their bits, all NaN as one, and both zeros as one.
#[derive(Debug)]
enum Index {
    Ints(HashMap<i64, usize>),
    Texts(HashMap<String, usize>),
    Singles(HashMap<u32, usize>),
    Doubles(HashMap<u64, usize>),
}

fn single_bits(value: f32) -> u32 {
    if value.is_nan() { f32::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

fn double_bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

#[derive(Debug)]
struct Table {
    index: Index,
    values: List,
    default: List,
}

impl Table {
    fn new(
        node: &NodeProto,
        keys: List,
        values: List,
        default: impl Fn(&List) -> TractResult<List>,
    ) -> TractResult<Self> {
        /// The first of equal keys counts.
        fn index<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> HashMap<K, usize> {
            let mut index = HashMap::new();
            for (at, key) in keys.enumerate() {
                index.entry(key).or_insert(at);
            }
            index
        }
        if keys.len() != values.len() {
            return wrong(node, "values_tensor", format!("{} values for {} keys", values.len(), keys.len()));
        }
        let index = match keys {
            List::Ints(keys) => Index::Ints(index(keys.into_iter())),
            List::Texts(keys) => Index::Texts(index(keys.into_iter())),
            List::Floats(keys) => Index::Singles(index(keys.into_iter().map(single_bits))),
            List::Doubles(keys) => Index::Doubles(index(keys.into_iter().map(double_bits))),
            List::Shorts(_) => return wrong(node, "keys_tensor", "holds I16, which can only be values"),
        };
        let default = default(&values)?;
        Ok(Self { index, values, default })
    }

    fn takes(&self) -> DatumType {
        match self.index {
            Index::Ints(_) => DatumType::I64,
            Index::Texts(_) => DatumType::String,
            Index::Singles(_) => DatumType::F32,
            Index::Doubles(_) => DatumType::F64,
        }
    }
}

#[derive(Debug)]
struct LabelEncoder {
    /// By the type of the input; version 1 goes both ways.
    tables: Vec<Table>,
}

impl LabelEncoder {
    fn table(&self, data_type: DatumType) -> TractResult<&Table> {
        match self.tables.iter().find(|table| table.takes() == data_type) {
            Some(table) => Ok(table),
            None => bail!("LabelEncoder has no keys of the input's type, {data_type:?}"),
        }
    }
}

impl Kernel for LabelEncoder {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        let data_type = self.table(inputs[0].data_type)?.values.data_type();
        Ok(vec![Form { data_type, shape: inputs[0].shape.clone() }])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let table = self.table(inputs[0].datum_type())?;
        let plain = inputs[0].try_as_plain_ram()?;
        let positions: Vec<Option<usize>> = match &table.index {
            Index::Ints(index) => plain.as_slice::<i64>()?.iter().map(|key| index.get(key).copied()).collect(),
            Index::Texts(index) => plain.as_slice::<String>()?.iter().map(|key| index.get(key).copied()).collect(),
            Index::Singles(index) => {
                plain.as_slice::<f32>()?.iter().map(|&key| index.get(&single_bits(key)).copied()).collect()
            }
            Index::Doubles(index) => {
                plain.as_slice::<f64>()?.iter().map(|&key| index.get(&double_bits(key)).copied()).collect()
            }
        };
        Ok(vec![table.values.picked(&table.default, &positions, inputs[0].shape())?])
    }
}

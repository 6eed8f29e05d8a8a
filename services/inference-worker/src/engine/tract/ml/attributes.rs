//! Reading what a node says about itself. Every complaint names the node and the attribute.

use std::fmt::Display;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::tract_hir::internal::{Datum, DatumType, Tensor, TractResult};

/// Integers; none where the attribute is absent.
pub(super) fn ints<'a>(node: &'a NodeProto, name: &str) -> TractResult<&'a [i64]> {
    Ok(node.get_attr_opt_slice::<i64>(name)?.unwrap_or_default())
}

/// Floats; none where the attribute is absent.
pub(super) fn floats<'a>(node: &'a NodeProto, name: &str) -> TractResult<&'a [f32]> {
    Ok(node.get_attr_opt_slice::<f32>(name)?.unwrap_or_default())
}

/// Texts; none where the attribute is absent.
pub(super) fn texts(node: &NodeProto, name: &str) -> TractResult<Vec<String>> {
    Ok(node.get_attr_opt_vec::<String>(name)?.unwrap_or_default())
}

/// A tensor, where the attribute is present.
pub(super) fn tensor(context: &ParsingContext, node: &NodeProto, name: &str) -> TractResult<Option<Tensor>> {
    let Some(proto) = node.get_attr_opt::<&TensorProto>(name)? else { return Ok(None) };
    // tract panics here; texts have no raw form in ONNX.
    if proto.data_type == DataType::String as i32 && !proto.raw_data.is_empty() {
        return wrong(node, name, "texts as raw data");
    }
    context.load_tensor(proto).or_else(|error| wrong(node, name, format!("{error:#}"))).map(Some)
}

/// The elements of a tensor of this type.
pub(super) fn elements<T: Datum + Clone>(tensor: &Tensor) -> TractResult<Vec<T>> {
    Ok(tensor.try_as_plain_ram()?.as_slice::<T>()?.to_vec())
}

/// A tensor of these elements.
pub(super) fn tensor_of<T: Datum>(shape: &[usize], elements: Vec<T>) -> TractResult<Tensor> {
    Ok(ArrayD::from_shape_vec(shape, elements)?.into())
}

/// The complaint about an attribute.
pub(super) fn wrong<T>(node: &NodeProto, name: &str, what: impl Display) -> TractResult<T> {
    node.bail_attr(name, &what.to_string())
}

/// Complains unless the attribute has this length.
pub(super) fn length(node: &NodeProto, name: &str, found: usize, wanted: usize) -> TractResult<()> {
    if found == wanted { Ok(()) } else { wrong(node, name, format!("has {found} elements, not {wanted}")) }
}

/// The names of the classes that a classifier tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Labels {
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

impl Labels {
    /// Of the two attributes exactly one must be there, with at least two classes that differ.
    pub(super) fn read(node: &NodeProto, int_name: &str, text_name: &str) -> TractResult<Self> {
        let (ints, texts) = (ints(node, int_name)?, texts(node, text_name)?);
        match (ints.len(), texts.len()) {
            (0, 0) => wrong(node, int_name, format!("neither this nor {text_name} names the classes")),
            (0, 1) => wrong(node, text_name, "one class leaves nothing to tell apart"),
            (1, 0) => wrong(node, int_name, "one class leaves nothing to tell apart"),
            (_, 0) => Ok(Self::Ints(ints.to_vec())),
            (0, _) => Ok(Self::Texts(texts)),
            _ => wrong(node, int_name, format!("both this and {text_name} name the classes")),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    pub(super) fn data_type(&self) -> DatumType {
        match self {
            Self::Ints(_) => DatumType::I64,
            Self::Texts(_) => DatumType::String,
        }
    }

    /// A tensor of the names at these positions.
    pub(super) fn named(&self, positions: &[usize]) -> TractResult<Tensor> {
        match self {
            Self::Ints(ints) => tensor_of(&[positions.len()], positions.iter().map(|&at| ints[at]).collect()),
            Self::Texts(texts) => {
                tensor_of(&[positions.len()], positions.iter().map(|&at| texts[at].clone()).collect())
            }
        }
    }
}

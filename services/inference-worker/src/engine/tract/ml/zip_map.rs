//! `ZipMap`: scores by class.
//!
//! In ONNX it makes a sequence of one map from class to score per row, which no tensor holds. Slipway serves the scores as
//! they come in, `[rows, classes]` in FP32 under the name of the output, the classes in the order of the operator's
//! attribute. The file is read as if it declared that: see [`declare`].

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{ModelProto, NodeProto, TensorShapeProto, TypeProto, type_proto};
use tract_onnx::tract_hir::internal::{DatumType, IntoTensor as _, TValue, Tensor, TractResult, bail, ensure};

use super::attributes::Labels;
use super::operator::{Built, Form, Kernel, built, rows_of};

pub(super) const NAME: &str = "ZipMap";

pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Built {
    let classes = Labels::read(node, "classlabels_int64s", "classlabels_strings")?.len();
    built(node, NAME, ZipMap { classes })
}

/// Declares every output that a `ZipMap` makes as the tensor that is served.
pub(in super::super) fn declare(proto: &mut ModelProto) {
    let Some(graph) = &mut proto.graph else { return };
    for output in &mut graph.output {
        let maker = graph.node.iter().find(|node| {
            (&*node.domain, &*node.op_type) == (super::DOMAIN, NAME) && node.output.contains(&output.name)
        });
        let declared = output.r#type.as_ref().is_some_and(|declared| declared.value.is_some());
        let (Some(maker), false) = (maker, declared) else { continue };
        let Ok(classes) = Labels::read(maker, "classlabels_int64s", "classlabels_strings") else { continue };
        let dim = vec![
            Dimension::default(),
            Dimension { value: Some(dimension::Value::DimValue(classes.len() as i64)), ..Dimension::default() },
        ];
        output.r#type = Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: DataType::Float as i32,
                shape: Some(TensorShapeProto { dim }),
            })),
            ..TypeProto::default()
        });
    }
}

#[derive(Debug)]
struct ZipMap {
    classes: usize,
}

impl ZipMap {
    fn fits(&self, width: usize) -> TractResult<()> {
        ensure!(width == self.classes, "ZipMap names {} classes, and the input has {width}", self.classes);
        Ok(())
    }
}

impl Kernel for ZipMap {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        let (rows, width) = inputs[0].rows()?;
        if let Ok(width) = width.to_i64() {
            self.fits(width.try_into().unwrap_or_default())?;
        }
        match inputs[0].data_type {
            DatumType::F32 => Ok(vec![Form::new(DatumType::F32, [rows, self.classes.into()])]),
            other => bail!("ZipMap takes scores of single precision, not {other:?}"),
        }
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let (rows, width) = rows_of(&inputs[0])?;
        self.fits(width)?;
        let mut scores = inputs[0].clone().into_tensor();
        scores.set_shape(&[rows, width])?;
        Ok(vec![scores])
    }
}

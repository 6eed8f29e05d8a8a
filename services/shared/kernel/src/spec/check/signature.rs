//! What a model takes and gives, where its document says so.

use super::{Refusing, Spec};
use crate::model::{ModelFormat, TensorSpec};

/// Data types of the Open Inference Protocol.
const DATATYPES: [&str; 13] =
    ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"];
/// Longest name of a tensor, in bytes: names travel in every fact.
const MAX_TENSOR_NAME: usize = 256;
/// Most dimensions of a tensor: servers stop at about as many.
const MAX_DIMENSIONS: usize = 16;

pub(super) fn check(refusing: &mut Refusing, spec: &Spec) {
    let other = spec.model.format == Some(ModelFormat::Other);
    let Some(signature) = &spec.model.signature else {
        let allowed = "inputs and outputs: nothing is read of a file whose format is other";
        refusing.unless(!other, "spec.model.signature", "(absent)", allowed);
        return;
    };
    for (name, tensors) in [("inputs", &signature.inputs), ("outputs", &signature.outputs)] {
        let path = format!("spec.model.signature.{name}");
        refusing.unless(!tensors.is_empty(), &path, "[]", "at least one tensor");
        refusing.list(&path, tensors);
        for (n, tensor) in tensors.iter().enumerate() {
            tensor_spec(refusing, &format!("{path}[{n}]"), tensor);
            let earlier = tensors.iter().take(n).any(|earlier| earlier.name == tensor.name);
            refusing.unless(!earlier, &format!("{path}[{n}].name"), &tensor.name, "each name once");
        }
    }
}

fn tensor_spec(refusing: &mut Refusing, path: &str, tensor: &TensorSpec) {
    let named = (1..=MAX_TENSOR_NAME).contains(&tensor.name.len()) && !tensor.name.chars().any(char::is_control);
    let allowed = format!("1 to {MAX_TENSOR_NAME} bytes of printable text");
    refusing.unless(named, &format!("{path}.name"), &tensor.name, allowed);
    let known = DATATYPES.contains(&tensor.datatype.as_str());
    refusing.unless(known, &format!("{path}.datatype"), &tensor.datatype, DATATYPES.join(", "));
    let sized = tensor.shape.len() <= MAX_DIMENSIONS && tensor.shape.iter().all(|size| *size == -1 || *size > 0);
    let allowed = format!("at most {MAX_DIMENSIONS} sizes, each 1 or more, or -1 where any may come");
    refusing.unless(sized, &format!("{path}.shape"), format!("{:?}", tensor.shape), allowed);
}

//! What a document says that its model takes and gives: it fills in what the file does not say, and contradicts nothing that it does.

use super::{Invalid, Model};
use slipway_kernel::{TensorSpec, spec::ModelSignature};

impl Model {
    /// Takes over what its document says.
    ///
    /// # Errors
    /// [`Invalid`], when the file says otherwise.
    pub fn sign(&mut self, said: &ModelSignature) -> Result<(), Invalid> {
        // Where the file names what it takes, it names all of it; of what it gives, TorchScript names nothing.
        let names_inputs = !self.inputs.is_empty() || !self.cautions.untyped.is_empty();
        self.agrees(&self.inputs, &said.inputs, "takes", names_inputs)?;
        self.agrees(&self.outputs, &said.outputs, "gives", !self.outputs.is_empty())?;
        let names = |name: &str| said.inputs.iter().chain(&said.outputs).any(|tensor| tensor.name == name);
        let unsaid = self.cautions.untyped.iter().find(|one| one.is_unsaid && !names(&one.name));
        if let Some(unsaid) = unsaid {
            return Err(contradicted(format!("it has `{}`, which the signature does not name", unsaid.name)));
        }
        self.inputs.clone_from(&said.inputs);
        self.outputs.clone_from(&said.outputs);
        self.cautions.untyped.retain(|one| !one.is_unsaid);
        Ok(())
    }

    /// Takes over what a container around it takes and gives, which need not be what the file says: what comes before and after the model may be in it.
    pub fn wrap(&mut self, said: &ModelSignature) {
        self.inputs.clone_from(&said.inputs);
        self.outputs.clone_from(&said.outputs);
        self.cautions.untyped.clear();
    }

    fn agrees(&self, known: &[TensorSpec], said: &[TensorSpec], does: &str, names_all: bool) -> Result<(), Invalid> {
        for tensor in known {
            let found = said.iter().find(|said| said.name == tensor.name);
            let found = found.ok_or_else(|| {
                contradicted(format!("it {does} `{}`, which the signature does not name", tensor.name))
            })?;
            if found != tensor {
                return Err(contradicted(format!(
                    "it {does} {}, and the signature says {}",
                    shown(tensor),
                    shown(found)
                )));
            }
        }
        let is_known = |name: &str| {
            known.iter().any(|tensor| tensor.name == name) || self.cautions.untyped.iter().any(|one| one.name == name)
        };
        match said.iter().find(|said| names_all && !is_known(&said.name)) {
            Some(foreign) => Err(contradicted(format!("it {does} no `{}`", foreign.name))),
            None => Ok(()),
        }
    }
}

fn shown(tensor: &TensorSpec) -> String {
    format!("`{}` {} {:?}", tensor.name, tensor.datatype, tensor.shape)
}

fn contradicted(found: String) -> Invalid {
    Invalid::new(found, "correct the signature, or leave it out where the file says it all")
}

#[cfg(test)]
mod tests {
    use super::{super::Untyped, *};
    use slipway_kernel::ModelFormat;

    fn tensor(name: &str, datatype: &str, shape: &[i32]) -> TensorSpec {
        TensorSpec { name: name.into(), datatype: datatype.into(), shape: shape.to_vec() }
    }

    fn untyped(name: &str, is_unsaid: bool) -> Untyped {
        Untyped { name: name.into(), why: "is something".into(), is_unsaid }
    }

    fn said(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> ModelSignature {
        ModelSignature { inputs: inputs.to_vec(), outputs: outputs.to_vec() }
    }

    #[test]
    fn what_the_file_does_not_say_is_taken_over() {
        let mut plan = Model::of_format(ModelFormat::TensorrtPlan);
        plan.sign(&said(&[tensor("x", "FP32", &[-1, 4])], &[tensor("y", "FP32", &[-1])])).unwrap();
        assert!(plan.is_signed() && plan.inputs[0].shape == [-1, 4]);
        let mut script = Model::of_format(ModelFormat::Torchscript);
        script.cautions.untyped = vec![untyped("x", true), untyped("rate", false)];
        assert!(!script.is_signed());
        script.sign(&said(&[tensor("x", "FP32", &[-1, 4])], &[tensor("y__0", "FP32", &[-1])])).unwrap();
        assert_eq!(
            script.cautions.untyped,
            [untyped("rate", false)],
            "what is no tensor does not become one by being said to be"
        );
    }

    #[test]
    fn what_the_file_says_is_not_contradicted() {
        let mut whole = Model::of_format(ModelFormat::SavedModel);
        whole.inputs = vec![tensor("x", "FP32", &[-1, 4])];
        whole.outputs = vec![tensor("y", "FP32", &[-1])];
        let mut script = Model::of_format(ModelFormat::Torchscript);
        script.cautions.untyped = vec![untyped("x", true), untyped("z", true)];
        let (x, y) = ([tensor("x", "FP32", &[-1, 4])], [tensor("y", "FP32", &[-1])]);
        for (model, signature, word) in [
            (
                &whole,
                said(&x, &[tensor("y", "FP64", &[-1])]),
                "gives `y` FP32 [-1], and the signature says `y` FP64 [-1]",
            ),
            (&whole, said(&[tensor("x", "FP32", &[-1, 5])], &y), "says `x` FP32 [-1, 5]"),
            (&whole, said(&[x[0].clone(), tensor("z", "FP32", &[])], &y), "takes no `z`"),
            (&whole, said(&x, &[tensor("label", "FP32", &[])]), "gives `y`, which the signature does not name"),
            (&script, said(&x, &y), "has `z`, which the signature does not name"),
            (&script, said(&[tensor("q", "FP32", &[])], &y), "takes no `q`"),
        ] {
            let refused = model.clone().sign(&signature).unwrap_err().to_string();
            assert!(refused.contains(word), "{word}: {refused}");
        }
        assert_eq!(whole.clone().sign(&said(&x, &y)), Ok(()));
        let mut wrapped = script;
        wrapped.wrap(&said(&[tensor("text", "BYTES", &[-1])], &[tensor("label", "BYTES", &[-1])]));
        assert!(wrapped.is_signed() && wrapped.inputs[0].name == "text", "a container has a signature of its own");
    }
}

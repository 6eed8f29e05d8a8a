//! What Triton is given: a folder with the model and how it is to be computed, and the order to load it.

use std::path::Path;
use std::{fs, io};

use slipway_kernel::{ModelFormat, TensorSpec};

use super::{remove, unpack};
use crate::engine::device::DeviceWanted;
use crate::engine::{EngineError, LoadOptions};

/// `RepositoryModelLoad` of Triton's model repository extension.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RepositoryModelLoadRequest {
    /// The repository; empty: all of them.
    #[prost(string, tag = "1")]
    pub(super) repository_name: String,
    /// The model.
    #[prost(string, tag = "2")]
    pub(super) model_name: String,
}

/// Its answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RepositoryModelLoadResponse {}

/// The backend for models of this format and the name of the file that it reads; `None` where one file is not enough for any.
pub(super) const fn backend(format: ModelFormat) -> Option<(&'static str, &'static str)> {
    match format {
        ModelFormat::Onnx => Some(("onnxruntime", "model.onnx")),
        ModelFormat::TensorrtPlan => Some(("tensorrt", "model.plan")),
        ModelFormat::SavedModel => Some(("tensorflow", "model.savedmodel/saved_model.pb")),
        ModelFormat::Torchscript => Some(("pytorch", "model.pt")),
        ModelFormat::Safetensors | ModelFormat::Gguf | ModelFormat::Other => None,
    }
}

/// How a model lies in a repository.
pub(super) struct Layout<'a> {
    /// Its name there.
    pub(super) name: &'a str,
    /// The format of its file.
    pub(super) format: ModelFormat,
    /// Where it is to be computed.
    pub(super) device: DeviceWanted,
    /// How many runs at once, and on how many threads.
    pub(super) options: &'a LoadOptions,
    /// What it takes and gives, where its file does not say so.
    pub(super) inputs: &'a [TensorSpec],
    /// See `inputs`.
    pub(super) outputs: &'a [TensorSpec],
}

impl Layout<'_> {
    /// Puts the model there, in the place of one of the same name. A server that restarts meanwhile finds the old one, the new one or none.
    pub(super) fn write(&self, repository: &Path, artifact: &[u8]) -> Result<(), EngineError> {
        let unwritable =
            |error: io::Error| EngineError::Repository { path: repository.to_owned(), reason: error.to_string() };
        let Some((backend, file)) = backend(self.format) else {
            return Err(EngineError::Unreadable(format!(
                "Triton needs more than a file of {} to serve it",
                self.format
            )));
        };
        if self.format == ModelFormat::Torchscript && self.outputs.is_empty() {
            let wanted = "Triton has to be told what TorchScript takes and gives (worker.server.inputs and outputs)";
            return Err(EngineError::Unreadable(wanted.to_owned()));
        }
        let (place, beside) = (repository.join(self.name), repository.join(format!(".{}.part", self.name)));
        remove(&beside).map_err(unwritable)?;
        let version = beside.join("1");
        let (folder, file) =
            file.split_once('/').map_or((version.clone(), file), |(below, file)| (version.join(below), file));
        fs::create_dir_all(&folder).map_err(unwritable)?;
        unpack(artifact, &folder, file).map_err(unwritable)?;
        fs::write(beside.join("config.pbtxt"), self.config(backend)).map_err(unwritable)?;
        remove(&place).map_err(unwritable)?;
        fs::rename(&beside, &place).map_err(unwritable)
    }

    /// The model's `config.pbtxt`. It names inputs and outputs only where Triton cannot read them off the file. A batch is whatever is sent: the
    /// worker makes batches, and a second queue behind the first would only wait.
    fn config(&self, backend: &str) -> String {
        let kind = match self.device {
            DeviceWanted::Auto => "KIND_AUTO",
            DeviceWanted::Cpu => "KIND_CPU",
            DeviceWanted::Cuda => "KIND_GPU",
        };
        let mut lines = vec![
            format!("name: \"{}\"", self.name),
            format!("backend: \"{backend}\""),
            "max_batch_size: 0".to_owned(),
            format!("instance_group [ {{ count: {} kind: {kind} }} ]", self.options.threads.pool),
        ];
        if self.format == ModelFormat::Torchscript {
            lines.extend(self.inputs.iter().map(|tensor| format!("input {}", port(tensor))));
            lines.extend(self.outputs.iter().map(|tensor| format!("output {}", port(tensor))));
        }
        if self.format == ModelFormat::Onnx {
            let threads = self.options.threads.intra_op;
            lines.extend(
                [("intra_op_thread_count", threads), ("inter_op_thread_count", 1)].map(|(key, value)| {
                    format!("parameters {{ key: \"{key}\" value: {{ string_value: \"{value}\" }} }}")
                }),
            );
        }
        lines.join("\n") + "\n"
    }
}

/// A tensor in the words of `ModelInput` and `ModelOutput`.
fn port(tensor: &TensorSpec) -> String {
    let name = tensor.name.replace('\\', "\\\\").replace('"', "\\\"");
    let kind = if tensor.datatype == "BYTES" { "STRING" } else { tensor.datatype.as_str() };
    let sizes: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    format!("[ {{ name: \"{name}\" data_type: TYPE_{kind} dims: [ {} ] }} ]", sizes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Threads;
    use serde_json::{Value, json};
    use slipway_testkit::{archive, tool};
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn tensor(name: &str, datatype: &str, shape: &[i32]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), datatype: datatype.to_owned(), shape: shape.to_vec() }
    }

    fn written(format: ModelFormat, device: DeviceWanted) -> Result<(String, Vec<String>), EngineError> {
        with(format, device, &[], &[])
    }

    fn with(
        format: ModelFormat,
        device: DeviceWanted,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<(String, Vec<String>), EngineError> {
        let repository = tempfile::tempdir().unwrap();
        let options = LoadOptions { threads: Threads { pool: 2, intra_op: 3 }, ..LoadOptions::default() };
        let layout = Layout { name: "digits", format, device, options: &options, inputs, outputs };
        layout.write(repository.path(), b"an older one")?;
        layout.write(repository.path(), b"a model")?;
        let folder = repository.path().join("digits");
        let config = fs::read_to_string(folder.join("config.pbtxt")).unwrap();
        let (_, file) = backend(format).unwrap();
        assert_eq!(fs::read(folder.join("1").join(file)).unwrap(), b"a model");
        let all = fs::read_dir(repository.path()).unwrap();
        Ok((config, all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()))
    }

    #[test]
    fn a_model_lies_where_triton_looks_for_it_with_how_it_is_computed() {
        let (config, all) = written(ModelFormat::Onnx, DeviceWanted::Cpu).unwrap();
        assert_eq!(all, ["digits"], "nothing is left of what lay there before");
        assert_eq!(
            config,
            "name: \"digits\"\nbackend: \"onnxruntime\"\nmax_batch_size: 0\ninstance_group [ { count: 2 kind: KIND_CPU } ]\n\
             parameters { key: \"intra_op_thread_count\" value: { string_value: \"3\" } }\n\
             parameters { key: \"inter_op_thread_count\" value: { string_value: \"1\" } }\n"
        );
        let (config, _) = written(ModelFormat::TensorrtPlan, DeviceWanted::Cuda).unwrap();
        assert!(config.contains("backend: \"tensorrt\"") && config.contains("KIND_GPU"), "{config}");
        let (config, _) = written(ModelFormat::SavedModel, DeviceWanted::Auto).unwrap();
        assert!(config.contains("backend: \"tensorflow\"") && config.contains("KIND_AUTO"), "{config}");
    }

    #[test]
    fn the_files_of_an_archive_lie_where_they_were() {
        let artifact = archive(&[("m/saved_model.pb", b"graph"), ("m/variables/variables.index", b"index")]);
        let repository = tempfile::tempdir().unwrap();
        let layout = Layout {
            name: "digits",
            format: ModelFormat::SavedModel,
            device: DeviceWanted::Cpu,
            options: &LoadOptions::default(),
            inputs: &[],
            outputs: &[],
        };
        layout.write(repository.path(), &artifact).unwrap();
        let folder = repository.path().join("digits/1/model.savedmodel");
        assert_eq!(fs::read(folder.join("saved_model.pb")).unwrap(), b"graph");
        assert_eq!(fs::read(folder.join("variables/variables.index")).unwrap(), b"index");
        let error = layout.write(repository.path(), &artifact[..artifact.len() - 1_024]).unwrap_err().to_string();
        assert!(error.contains("it is cut short after 2 entries"), "{error}");
        assert!(folder.join("saved_model.pb").exists(), "what lay there is not touched by what is refused");
    }

    /// The message that Triton reads the file as is in its client too.
    #[test]
    fn its_own_message_reads_each_configuration() {
        const READ: &str = "import sys\n\
             from google.protobuf import json_format, text_format\n\
             from tritonclient.grpc import model_config_pb2\n\
             message = text_format.Parse(sys.stdin.read(), model_config_pb2.ModelConfig())\n\
             print(json_format.MessageToJson(message, preserving_proto_field_name=True))";
        let parsed = |config: String| -> Value {
            let mut python = Command::new(tool("python-protocol"));
            python.args(["-B", "-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut python = python.spawn().unwrap();
            python.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
            let told = python.wait_with_output().unwrap();
            assert!(told.status.success(), "{config}\n{}", String::from_utf8_lossy(&told.stderr));
            serde_json::from_slice(&told.stdout).unwrap()
        };
        let (config, _) = written(ModelFormat::Onnx, DeviceWanted::Cpu).unwrap();
        assert_eq!(
            parsed(config),
            json!({
                "name": "digits",
                "backend": "onnxruntime",
                "instance_group": [{ "count": 2, "kind": "KIND_CPU" }],
                "parameters": {
                    "intra_op_thread_count": { "string_value": "3" },
                    "inter_op_thread_count": { "string_value": "1" },
                },
            })
        );
        let kinds = [
            "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
            "BF16", "BYTES",
        ];
        let inputs: Vec<TensorSpec> = kinds.iter().map(|kind| tensor(&format!("\"{kind}\\"), kind, &[-1, 4])).collect();
        let (config, _) =
            with(ModelFormat::Torchscript, DeviceWanted::Cuda, &inputs, &[tensor("y", "INT64", &[])]).unwrap();
        let told = parsed(config);
        assert_eq!(told["instance_group"][0]["kind"], "KIND_GPU");
        for (kind, told) in kinds.iter().zip(told["input"].as_array().unwrap()) {
            let data_type = format!("TYPE_{}", if *kind == "BYTES" { "STRING" } else { *kind });
            assert_eq!(*told, json!({ "name": format!("\"{kind}\\"), "data_type": data_type, "dims": ["-1", "4"] }));
        }
        assert_eq!(told["output"], json!([{ "name": "y", "data_type": "TYPE_INT64" }]));
    }

    #[test]
    fn what_torchscript_does_not_say_is_told() {
        let inputs = [tensor("x", "FP32", &[-1, 4]), tensor("a \"b\\", "BYTES", &[2])];
        let (config, _) =
            with(ModelFormat::Torchscript, DeviceWanted::Cpu, &inputs, &[tensor("y__0", "INT64", &[-1])]).unwrap();
        assert!(
            config.ends_with(
                "input [ { name: \"x\" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]\n\
                 input [ { name: \"a \\\"b\\\\\" data_type: TYPE_STRING dims: [ 2 ] } ]\n\
                 output [ { name: \"y__0\" data_type: TYPE_INT64 dims: [ -1 ] } ]\n"
            ),
            "{config}"
        );
    }

    #[test]
    fn what_a_file_alone_does_not_say_is_refused_and_so_is_a_folder_that_cannot_be_written() {
        let error = written(ModelFormat::Gguf, DeviceWanted::Cpu).unwrap_err();
        assert!(error.to_string().contains("more than a file of gguf"), "{error}");
        let error = written(ModelFormat::Torchscript, DeviceWanted::Cpu).unwrap_err();
        assert!(error.to_string().contains("worker.server.inputs"), "{error}");
        let options = LoadOptions::default();
        let layout = Layout {
            name: "digits",
            format: ModelFormat::Onnx,
            device: DeviceWanted::Cpu,
            options: &options,
            inputs: &[],
            outputs: &[],
        };
        let error = layout.write(Path::new("/dev/null/models"), b"a model").unwrap_err();
        assert!(error.to_string().contains("/dev/null/models"), "{error}");
    }
}

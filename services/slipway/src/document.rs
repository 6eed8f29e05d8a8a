//! Reading a document from a file: YAML or JSON, with paths relative to where it lies.

use crate::failure::Failure;
use serde_json::Value;
use slipway_kernel::spec::ModelDeployment;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A spec is written by hand; a larger file is not one.
const MAX_BYTES: u64 = 1 << 20;

/// Reads and checks a document.
///
/// # Errors
/// If the file cannot be read, is neither YAML nor JSON, or holds something that is refused.
pub fn read(file: &Path) -> Result<ModelDeployment, Failure> {
    let shown = file.display();
    let mut document = value(file)?;
    let base = file.canonicalize().map_err(|error| Failure::input(format!("{shown}: {error}")))?;
    let folder = base.parent().unwrap_or(Path::new("/"));
    for pointer in ["/spec/model/uri", "/spec/validation/golden"] {
        if let Some(Value::String(uri)) = document.pointer_mut(pointer) {
            *uri = absolute(uri, folder);
        }
    }
    ModelDeployment::read(&document).map_err(|refusals| Failure::refusals(&refusals))
}

/// What a file holds, whatever it is about.
///
/// # Errors
/// If the file cannot be read, is too large for something written by hand, or is neither YAML nor JSON.
pub fn value(file: &Path) -> Result<Value, Failure> {
    let shown = file.display();
    let size = fs::metadata(file).map_err(|error| Failure::input(format!("{shown}: {error}")))?.len();
    if size > MAX_BYTES {
        return Err(Failure::input(format!("{shown} has {size} bytes; a document has at most {MAX_BYTES}")));
    }
    let text = fs::read_to_string(file).map_err(|error| Failure::input(format!("{shown}: {error}")))?;
    serde_norway::from_str(&text).map_err(|error| Failure::input(format!("{shown} is no YAML: {error}")))
}

/// `digits.onnx`, `./digits.onnx` and `../models/digits.onnx` become file URIs; what has a scheme stays as it is.
fn absolute(uri: &str, folder: &Path) -> String {
    if uri.contains("://") || uri.is_empty() {
        return uri.to_owned();
    }
    let path = folder.join(uri);
    let path = path.canonicalize().unwrap_or(path);
    format!("file://{}", path.display())
}

/// The file that an address names on this machine, if it names one.
pub(crate) fn local_file(uri: &str) -> Option<PathBuf> {
    reqwest::Url::parse(uri).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_is_read_from_where_the_document_lies() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("m.onnx"), b"x").unwrap();
        let file = folder.path().join("d.yaml");
        fs::write(&file, "metadata: { name: d }\nspec: { model: { uri: ./m.onnx } }\n").unwrap();
        let document = read(&file).unwrap();
        let wanted = format!("file://{}", folder.path().canonicalize().unwrap().join("m.onnx").display());
        assert_eq!(document.spec.model.uri, wanted);
    }

    #[test]
    fn only_addresses_of_files_name_one() {
        assert_eq!(local_file("file:///models/a%20b.onnx"), Some(PathBuf::from("/models/a b.onnx")));
        for uri in ["https://host/m.onnx", "blob://abc", "nats-object://b/m", "m.onnx", "file://host/m"] {
            assert_eq!(local_file(uri), None, "{uri}");
        }
    }

    #[test]
    fn what_is_refused_is_named_by_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("d.yaml");
        fs::write(&file, "metadata: { name: d }\nspec: { model: { uri: file:///m }, scale: { min: 0 } }\n").unwrap();
        let failure = read(&file).unwrap_err().to_string();
        assert!(failure.contains("spec.scale.min") && failure.contains("1 to 1000"), "{failure}");
        fs::write(&file, "a: [").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("no YAML"));
    }
}

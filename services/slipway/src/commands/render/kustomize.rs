//! A kustomization that names the objects.

use super::{File, file_name, readme};
use crate::{commands::manifests::yaml, failure::Failure};
use serde_json::{Value, json};
use slipway_kernel::{RevisionId, spec::ModelDeployment};

/// Where the objects are.
pub(super) const OBJECTS: &str = "objects";

/// The files of the kustomization.
pub(super) fn files(document: &ModelDeployment, revision: RevisionId, objects: &[Value]) -> Result<Vec<File>, Failure> {
    let id = document.id();
    let mut made = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        made.push(File { path: format!("{OBJECTS}/{}", file_name(number, object)), text: yaml(object)? });
    }
    let paths: Vec<&str> = made.iter().map(|file| file.path.as_str()).collect();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "metadata": { "name": id.name.to_string(), "annotations": { "slipway.dev/document": document.digest().to_string() } },
        "resources": paths,
    });
    let apply = "`kubectl apply -k` takes the folder as it is; an overlay may stand over it.";
    let mut files = vec![
        File { path: "kustomization.yaml".to_owned(), text: yaml(&kustomization)? },
        readme(&format!("Kustomization of {id}, revision {revision}"), apply),
    ];
    files.extend(made);
    Ok(files)
}

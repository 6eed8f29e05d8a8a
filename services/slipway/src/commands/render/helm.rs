//! A chart whose templates are the objects as they are: what is to be decided was decided by the document.

use super::{File, file_name, readme};
use crate::{commands::manifests::yaml, failure::Failure};
use serde_json::{Value, json};
use slipway_kernel::{RevisionId, spec::ModelDeployment};

/// Where Helm finds templates.
pub(super) const OBJECTS: &str = "templates";

/// The files of the chart.
pub(super) fn files(document: &ModelDeployment, revision: RevisionId, objects: &[Value]) -> Result<Vec<File>, Failure> {
    let id = document.id();
    let chart = json!({
        "apiVersion": "v2",
        "name": id.name.to_string(),
        "description": format!("The workers of {id}, revision {revision}, as Slipway makes them"),
        "type": "application",
        // The version of a chart has three parts, and a revision two.
        "version": format!("{}.{}.0", revision.generation, revision.revision),
        "annotations": { "slipway.dev/document": document.digest().to_string() },
    });
    let apply = "Their namespace stands in them, whatever `helm install --namespace` says; the chart has no values.";
    let mut files = vec![
        File { path: "Chart.yaml".to_owned(), text: yaml(&chart)? },
        readme(&format!("Chart of {id}, revision {revision}"), apply),
    ];
    for (number, object) in objects.iter().enumerate() {
        // What looks like a template in an object is its own.
        let text = yaml(object)?.replace("{{", r#"{{ "{{" }}"#);
        files.push(File { path: format!("{OBJECTS}/{}", file_name(number, object)), text });
    }
    Ok(files)
}

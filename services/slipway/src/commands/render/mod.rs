//! `slipway render`: the objects of a document for who keeps what a cluster has in a repository.

mod folder;
mod helm;
mod kustomize;

use super::manifests::{Manifests, manifests};
use crate::{
    cli::{Format, Global, RenderArgs, RenderFormat},
    failure::Failure,
    output::{self, Mark},
};
use serde_json::{Value, json};

/// A file in the folder that is written.
#[derive(Debug, PartialEq, Eq)]
struct File {
    /// Its path in the folder.
    path: String,
    text: String,
}

pub(crate) async fn run(args: RenderArgs, global: &Global) -> Result<(), Failure> {
    let Manifests { document, objects } = manifests(&args.file, &args.installation, global).await?;
    let files = match args.format {
        RenderFormat::Helm => helm::files(&document, args.installation.revision, &objects),
        RenderFormat::Kustomize => kustomize::files(&document, args.installation.revision, &objects),
    }?;
    folder::write(&args.to, &files)?;
    if global.output == Format::Json {
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        output::json(&json!({ "folder": args.to, "files": paths }));
    } else {
        output::line(format!("{} {} object(s) in {}", Mark::Good.sign(), objects.len(), args.to.display()));
    }
    Ok(())
}

/// The name of an object's file, in the order in which objects are made: `04-deployment.yaml`.
fn file_name(number: usize, object: &Value) -> String {
    format!("{:02}-{}.yaml", number + 1, object["kind"].as_str().unwrap_or("object").to_lowercase())
}

/// What stands beside the objects for whom finds them.
fn readme(title: &str, apply: &str) -> File {
    let text = format!(
        "# {title}\n\n\
         The objects that Slipway makes for this model, written by `slipway render`: change the document and write them anew, not these files. \
         {apply}\n\n\
         The controller adds the owner, the try and the fencing token when it makes them itself, and removes what is of a revision that it does \
         not want.\n"
    );
    File { path: "README.md".to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{RevisionId, spec::ModelDeployment};

    fn document() -> ModelDeployment {
        let document = json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m.onnx" } } });
        ModelDeployment::read(&document).unwrap()
    }

    fn objects() -> Vec<Value> {
        vec![
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "digits" } }),
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "digits" }, "data": { "a": "{{ .b }}" } }),
        ]
    }

    fn text<'a>(files: &'a [File], path: &str) -> &'a str {
        &files.iter().find(|file| file.path == path).unwrap().text
    }

    #[test]
    fn a_chart_has_the_objects_as_templates_that_say_nothing_of_their_own() {
        let files = helm::files(&document(), RevisionId::new(2, 3), &objects()).unwrap();
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["Chart.yaml", "README.md", "templates/01-service.yaml", "templates/02-configmap.yaml"]);
        let chart: Value = serde_norway::from_str(text(&files, "Chart.yaml")).unwrap();
        assert_eq!((&chart["name"], &chart["version"]), (&json!("digits"), &json!("2.3.0")));
        let escaped = text(&files, "templates/02-configmap.yaml");
        assert!(escaped.contains(r#"{{ "{{" }} .b }}"#), "{escaped}");
    }

    #[test]
    fn a_kustomization_names_each_object() {
        let files = kustomize::files(&document(), RevisionId::new(1, 1), &objects()).unwrap();
        let list: Value = serde_norway::from_str(text(&files, "kustomization.yaml")).unwrap();
        assert_eq!(list["resources"], json!(["objects/01-service.yaml", "objects/02-configmap.yaml"]));
        let object: Value = serde_norway::from_str(text(&files, "objects/02-configmap.yaml")).unwrap();
        assert_eq!(object, objects()[1]);
    }

    #[test]
    fn a_folder_is_written_anew_but_never_that_of_somebody_else() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("ours");
        let first = helm::files(&document(), RevisionId::new(1, 1), &objects()).unwrap();
        folder::write(&ours, &first).unwrap();
        let second = helm::files(&document(), RevisionId::new(1, 1), &objects()[..1]).unwrap();
        folder::write(&ours, &second).unwrap();
        let left: Vec<_> = std::fs::read_dir(ours.join("templates")).unwrap().collect();
        assert_eq!(left.len(), 1, "what is no object any more is gone");
        let theirs = folder.path().join("theirs");
        std::fs::create_dir(&theirs).unwrap();
        std::fs::write(theirs.join("notes.txt"), "mine").unwrap();
        let refused = folder::write(&theirs, &first).unwrap_err().to_string();
        assert!(refused.contains("theirs"), "{refused}");
        assert_eq!(std::fs::read_dir(&theirs).unwrap().count(), 1);
    }
}

//! The source tree as the rules see it: paths and texts, from the disk or planted by a test.

use std::{collections::BTreeSet, fs, path::Path};

/// One file.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All files, and the names of the top level.
pub(crate) struct Tree {
    pub(crate) top: BTreeSet<String>,
    pub(crate) files: Vec<Source>,
}

/// Files the rules read.
const READ: [&str; 4] = [".rs", "Cargo.toml", "Cargo.lock", "README.md"];
/// Folders that hold what is built or fetched, at any depth.
const BUILT: [&str; 3] = ["target", "node_modules", "__pycache__"];

impl Tree {
    /// The repository's. What `.gitignore` names at the top is no part of it.
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap();
        let ignored: BTreeSet<&str> = ignored.lines().map(|line| line.trim_matches('/')).chain([".git"]).collect();
        let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let top: BTreeSet<String> = names.filter(|name| !ignored.contains(name.as_str())).collect();
        let mut files = Vec::new();
        for name in &top {
            walk(root, name, &mut files);
        }
        assert!(files.len() > 100, "the tree was not read");
        Self { top, files }
    }

    /// A planted one.
    pub(crate) fn planted(files: &[(&str, &str)]) -> Self {
        let top = files.iter().map(|(path, _)| path.split('/').next().unwrap().to_owned()).collect();
        let files = files.iter().map(|(path, text)| Source { path: (*path).to_owned(), text: (*text).to_owned() });
        Self { top, files: files.collect() }
    }

    /// Files whose path begins with `prefix` and ends with `suffix`.
    pub(crate) fn files<'a>(&'a self, prefix: &'a str, suffix: &'a str) -> impl Iterator<Item = &'a Source> {
        self.files.iter().filter(move |file| file.path.starts_with(prefix) && file.path.ends_with(suffix))
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Source> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The nine services, by folder name.
    pub(crate) fn services(&self) -> Vec<&str> {
        let manifests = self.files.iter().map(|file| file.path.as_str());
        let folders = manifests.filter_map(|path| path.strip_prefix("services/")?.strip_suffix("/Cargo.toml"));
        folders.filter(|name| !name.contains('/') && *name != "slipway").collect()
    }
}

fn walk(root: &Path, path: &str, files: &mut Vec<Source>) {
    let full = root.join(path);
    let name = path.rsplit('/').next().unwrap();
    if full.is_dir() {
        if BUILT.contains(&name) {
            return;
        }
        let entries = fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut entries: Vec<String> = entries.collect();
        entries.sort();
        for entry in entries {
            walk(root, &format!("{path}/{entry}"), files);
        }
    } else if READ.iter().any(|suffix| path.ends_with(suffix)) {
        files.push(Source { path: path.to_owned(), text: fs::read_to_string(&full).unwrap() });
    }
}

#[test]
fn the_tree_knows_all_nine_services() {
    let services = crate::here();
    let wanted = [
        "controller",
        "inference-worker",
        "ingress",
        "observability",
        "platform-selector",
        "provisioner",
        "security",
        "sink-writer",
        "validator",
    ];
    assert_eq!(services.services(), wanted);
}

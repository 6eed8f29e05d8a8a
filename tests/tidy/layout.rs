//! What stands where, and what it is called.

use crate::{here, hold, tree::Tree};

/// All that the top level may hold.
const TOP: [&str; 16] = [
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "charts",
    "clippy.toml",
    "infra",
    "loadtest",
    "proto",
    "rustfmt.toml",
    "services",
    "tests",
];
/// What of it need not be there yet.
const LATER: [&str; 1] = ["charts"];
/// Rooms of `services/` that are no service.
const NO_SERVICE: [&str; 3] = ["README.md", "shared", "slipway"];
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = ["common", "util", "utils", "helper", "helpers", "manager", "managers", "misc"];
/// A main does three things: parse, load, boot.
const MAIN_LINES: usize = 30;
/// A file has one subject.
const FILE_LINES: usize = 700;

fn strange_top_level(tree: &Tree) -> Vec<String> {
    let strangers = tree
        .top
        .iter()
        .filter(|name| !TOP.contains(&name.as_str()))
        .map(|name| format!("{name} has no place at the top"));
    let missing = TOP
        .iter()
        .filter(|name| !LATER.contains(name) && !tree.top.contains(**name))
        .map(|name| format!("{name} is missing"));
    strangers.chain(missing).collect()
}

fn incomplete_services(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for service in tree.services() {
        for file in ["README.md", "src/lib.rs", "src/main.rs", "src/config.rs"] {
            if tree.get(&format!("services/{service}/{file}")).is_none() {
                breaches.push(format!("services/{service} has no {file}"));
            }
        }
    }
    let known = tree.services();
    let folders = tree.files("services/", "").filter_map(|file| file.path.split('/').nth(1));
    for folder in folders.filter(|folder| !NO_SERVICE.contains(folder) && !known.contains(folder)) {
        breaches.push(format!("services/{folder} is no service"));
    }
    breaches.sort();
    breaches.dedup();
    breaches
}

fn long_mains(tree: &Tree) -> Vec<String> {
    let mains = tree.files("", "/src/main.rs").map(|file| (file, file.text.lines().count()));
    mains
        .filter(|(_, lines)| *lines > MAIN_LINES)
        .map(|(file, lines)| format!("{}: {lines} lines, at most {MAIN_LINES}", file.path))
        .collect()
}

fn long_files(tree: &Tree) -> Vec<String> {
    let files = tree.files("services/", ".rs").filter(|file| file.path.contains("/src/"));
    let counted = files.map(|file| (file, file.text.lines().count()));
    counted
        .filter(|(_, lines)| *lines >= FILE_LINES)
        .map(|(file, lines)| format!("{}: {lines} lines, fewer than {FILE_LINES}", file.path))
        .collect()
}

fn empty_names(tree: &Tree) -> Vec<String> {
    let empty = |name: &str| EMPTY_NAMES.contains(&name.trim_end_matches(".rs").trim_start_matches("slipway-"));
    let files = tree.files.iter().filter(|file| file.path.ends_with(".rs") || file.path.ends_with("Cargo.toml"));
    files
        .filter(|file| file.path.split('/').any(empty))
        .map(|file| format!("{}: a name that says nothing", file.path))
        .collect()
}

fn undocumented_crates(tree: &Tree) -> Vec<String> {
    let roots = tree.files("", "/src/lib.rs").filter(|file| !file.text.starts_with("//! "));
    roots.map(|file| format!("{}: says not what it is for", file.path)).collect()
}

#[test]
fn the_top_level_holds_what_a_stranger_looks_for_and_nothing_else() {
    hold(&strange_top_level(&here()));
}

#[test]
fn every_service_has_a_readme_a_library_a_main_and_a_config() {
    hold(&incomplete_services(&here()));
}

#[test]
fn every_main_fits_on_a_screen() {
    hold(&long_mains(&here()));
}

#[test]
fn every_file_has_one_subject() {
    hold(&long_files(&here()));
}

#[test]
fn every_name_says_what_is_inside() {
    hold(&empty_names(&here()));
}

#[test]
fn every_crate_says_what_it_is_for() {
    hold(&undocumented_crates(&here()));
}

#[test]
fn what_is_out_of_place_is_found() {
    let long = "x\n".repeat(800);
    let tree = Tree::planted(&[
        ("notes.md", ""),
        ("services/x/Cargo.toml", ""),
        ("services/x/src/main.rs", &long),
        ("services/x/src/utils.rs", ""),
        ("services/x/src/helpers/a.rs", ""),
        ("services/x/src/lib.rs", "use std::io;\n"),
        ("services/stray/README.md", ""),
    ]);
    let top = strange_top_level(&tree);
    assert!(
        top.contains(&"notes.md has no place at the top".to_owned())
            && top.contains(&"README.md is missing".to_owned()),
        "{top:?}"
    );
    let services = incomplete_services(&tree);
    assert!(services.contains(&"services/x has no README.md".to_owned()), "{services:?}");
    assert!(services.contains(&"services/stray is no service".to_owned()), "{services:?}");
    assert_eq!((long_mains(&tree).len(), long_files(&tree).len()), (1, 1));
    assert_eq!(empty_names(&tree).len(), 2);
    assert_eq!(undocumented_crates(&tree).len(), 1);
}

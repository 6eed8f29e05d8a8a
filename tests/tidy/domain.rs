//! Decisions are pure: the kernel and every `domain/` know no clock, no randomness, no network, no file and no other service.

use crate::{
    code::{before_tests, lines_with, split},
    here, hold,
    tree::{Source, Tree},
};
use toml::Table;

/// Libraries that only compute.
const PURE: [&str; 16] = [
    "slipway-kernel",
    "serde",
    "serde_json",
    "serde_path_to_error",
    "serde_ignored",
    "schemars",
    "thiserror",
    "sha2",
    "hex",
    "base64",
    "subtle",
    "toml",
    "serde_norway",
    "ipnet",
    "flate2",
    // Its headers only.
    "tar",
];

/// What a decision may not do, as words of code.
const IMPURE: [(&str, &str); 18] = [
    ("async", "waits"),
    ("await", "waits"),
    ("std::fs", "reads files"),
    // Addresses are data, sockets are not.
    ("TcpStream", "uses the network"),
    ("TcpListener", "uses the network"),
    ("UdpSocket", "uses the network"),
    ("ToSocketAddrs", "uses the network"),
    ("std::env", "reads the environment"),
    ("std::process", "starts or ends processes"),
    ("std::thread", "uses threads"),
    ("std::io", "does input or output"),
    ("Instant", "reads the clock"),
    ("SystemTime", "reads the clock"),
    ("tokio", "waits"),
    ("rand", "throws dice"),
    ("println!", "prints"),
    ("eprintln!", "prints"),
    ("static mut", "keeps state"),
];

fn is_pure_room(path: &str) -> bool {
    let kernel = path.starts_with("services/shared/kernel/src/");
    let domain = path.starts_with("services/") && (path.contains("/src/domain/") || path.ends_with("/src/domain.rs"));
    kernel || domain
}

/// The code of a pure file without its tests; files that are only tests have none.
fn pure_files(tree: &Tree) -> Vec<(&Source, String)> {
    let files = tree.files("services/", ".rs").filter(|file| is_pure_room(&file.path));
    let only_tests = |file: &&Source| file.path.ends_with("/tests.rs") || is_test_module(tree, &file.path);
    files.filter(|file| !only_tests(file)).map(|file| (file, split(before_tests(&file.text)).code)).collect()
}

/// Whether the file is declared as `#[cfg(test)] mod NAME;` by its parent.
fn is_test_module(tree: &Tree, path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap();
    let name = file.trim_end_matches(".rs");
    let parents = [format!("{folder}/mod.rs"), format!("{folder}/lib.rs"), format!("{folder}.rs")];
    parents.iter().filter_map(|parent| tree.get(parent)).any(|parent| {
        parent.text.contains(&format!("#[cfg(test)]\nmod {name};"))
            || parent.text.contains(&format!("#[cfg(test)]\npub(crate) mod {name};"))
            || parent.text.contains(&format!("#[cfg(test)]\npub(super) mod {name};"))
    })
}

fn impure_words(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for (file, code) in pure_files(tree) {
        for (word, does) in IMPURE {
            for line in lines_with(&code, word) {
                breaches.push(format!("{}:{line}: `{word}`: a decision never {does}", file.path));
            }
        }
    }
    breaches
}

/// Libraries of the service that do more than compute, named in its `domain/`.
fn impure_libraries(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for (file, code) in pure_files(tree) {
        let Some((service, _)) = file.path.split_once("/src/") else { continue };
        let Some(manifest) = tree.get(&format!("{service}/Cargo.toml")) else { continue };
        let manifest: Table = manifest.text.parse().unwrap();
        let libraries = manifest.get("dependencies").and_then(|table| table.as_table()).into_iter().flatten();
        for (library, _) in libraries.filter(|(library, _)| !PURE.contains(&library.as_str())) {
            let name = format!("{}::", library.replace('-', "_"));
            let uses = lines_with(&code, &name).into_iter().filter(|line| {
                // `super::rate::` and the like are own modules.
                let text = code.lines().nth(line - 1).unwrap_or_default();
                !text.contains(&format!("::{name}"))
            });
            for line in uses {
                breaches.push(format!("{}:{line}: a decision names {library}", file.path));
            }
        }
    }
    breaches
}

/// Paths that leave `domain/` into the shell of the same service.
fn leaves_the_domain(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for (file, code) in pure_files(tree) {
        let Some((_, inside)) = file.path.split_once("/src/domain/") else { continue };
        for (at, _) in code.match_indices("crate::") {
            let follows = &code[at + 7..];
            if !follows.starts_with("domain::") && !follows.starts_with("domain}") && !follows.starts_with("domain,") {
                let line = code[..at].matches('\n').count() + 1;
                breaches.push(format!("{}:{line}: `crate::{}` is outside of domain", file.path, word(follows)));
            }
        }
        // `domain/mod.rs` is one below the root, `domain/a.rs` and `domain/a/mod.rs` two, `domain/a/b.rs` three.
        let depth = inside.matches('/').count() + usize::from(!inside.ends_with("mod.rs")) + 1;
        let too_far = "super::".repeat(depth);
        for line in lines_with(&code, &too_far) {
            breaches.push(format!("{}:{line}: `{too_far}` is outside of domain", file.path));
        }
    }
    breaches
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

fn without_domain(tree: &Tree) -> Vec<String> {
    let has = |service: &&str| {
        let folder = format!("services/{service}/src/domain");
        tree.files(&folder, ".rs").next().is_some()
    };
    tree.services()
        .into_iter()
        .filter(|service| !has(service))
        .map(|service| format!("{service} has no domain/"))
        .collect()
}

#[test]
fn a_decision_waits_for_nothing_and_touches_nothing() {
    hold(&impure_words(&here()));
}

#[test]
fn a_decision_names_the_kernel_and_libraries_that_only_compute() {
    hold(&impure_libraries(&here()));
}

#[test]
fn a_decision_does_not_know_the_shell_around_it() {
    hold(&leaves_the_domain(&here()));
}

#[test]
fn every_service_keeps_its_decisions_in_a_domain() {
    hold(&without_domain(&here()));
}

#[test]
fn an_impure_decision_is_found() {
    let tree = Tree::planted(&[
        (
            "services/x/Cargo.toml",
            "[package]\nname='x'\n[dependencies]\nslipway-bus.workspace=true\nserde.workspace=true\n",
        ),
        ("services/x/src/domain/mod.rs", "use super::config::Config;\nuse slipway_bus::Bus;\nuse serde::Serialize;\n"),
        (
            "services/x/src/domain/due.rs",
            "// Instant is fine in a comment\nuse crate::{error::Error};\nuse crate::domain::a;\nfn f() { let _ = std::time::Instant::now(); }\n\
             #[cfg(test)]\nmod tests { async fn g() {} }\n",
        ),
        ("services/shared/kernel/src/lib.rs", "async fn f() {}\n"),
    ]);
    assert_eq!(impure_words(&tree).len(), 2, "{:?}", impure_words(&tree));
    assert_eq!(impure_libraries(&tree), ["services/x/src/domain/mod.rs:2: a decision names slipway-bus"]);
    assert_eq!(leaves_the_domain(&tree).len(), 2, "{:?}", leaves_the_domain(&tree));
    assert!(without_domain(&tree).is_empty());
    let bare = Tree::planted(&[("services/x/Cargo.toml", ""), ("services/x/src/lib.rs", "")]);
    assert_eq!(without_domain(&bare), ["x has no domain/"]);
}

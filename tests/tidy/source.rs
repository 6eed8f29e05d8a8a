//! What may not be written, or not there.

use crate::{
    code::{before_tests, lines_with, split},
    here, hold,
    tree::{Source, Tree},
};

/// The room of the subjects: what they are, and who may say and hear them.
const TOPOLOGY: [&str; 2] = ["services/shared/bus/src/topology", "services/shared/bus/src/permissions"];
/// How subjects begin.
const SUBJECTS: [&str; 10] = [
    "slipway.lifecycle",
    "slipway.intake",
    "slipway.inference.",
    "slipway.results.",
    "slipway.dead.",
    "slipway.nudge.",
    "slipway.ask.",
    "$KV.",
    "$O.",
    "$JS.ACK",
];
/// Protobuf's full names begin like subjects.
const MESSAGES: [&str; 2] = ["slipway.inference.v1", "slipway.v1"];
/// Libraries that must not come in, not even through others: their builds need C tool chains, their TLS is a second one.
const UNWANTED: [&str; 5] = ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"];

/// Product code: not tests, not the kit they stand on.
fn product(tree: &Tree) -> impl Iterator<Item = &Source> {
    let sources = tree.files.iter().filter(|file| file.path.ends_with(".rs") && file.path.contains("/src/"));
    sources.filter(|file| !file.path.starts_with("services/shared/testkit/") && !file.path.ends_with("/tests.rs"))
}

fn subjects_elsewhere(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in product(tree).filter(|file| !TOPOLOGY.iter().any(|room| file.path.starts_with(room))) {
        for (line, text) in split(before_tests(&file.text)).texts {
            let subject = SUBJECTS.iter().any(|subject| text.starts_with(subject));
            if subject && !MESSAGES.iter().any(|message| text.starts_with(message)) {
                breaches.push(format!("{}:{line}: subject \"{text}\"", file.path));
            }
        }
    }
    breaches
}

fn unfinished(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.files("", ".rs") {
        let code = split(&file.text).code;
        for word in ["todo!", "unimplemented!", "dbg!"] {
            for line in lines_with(&code, word) {
                breaches.push(format!("{}:{line}: {word}", file.path));
            }
        }
    }
    breaches
}

fn unwanted_libraries(tree: &Tree) -> Vec<String> {
    let lock = tree.get("Cargo.lock").map_or("", |file| file.text.as_str());
    let named = |library: &&&str| lock.contains(&format!("name = \"{library}\"\n"));
    UNWANTED.iter().filter(named).map(|library| format!("Cargo.lock has {library}")).collect()
}

fn machine_paths(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in &tree.files {
        for (number, line) in file.text.lines().enumerate() {
            // Written apart so that this file does not find itself.
            if [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")]
                .iter()
                .any(|path| line.contains(path))
            {
                breaches.push(format!("{}:{}: a path of somebody's machine", file.path, number + 1));
            }
        }
    }
    breaches
}

#[test]
fn subjects_are_written_in_the_topology_only() {
    hold(&subjects_elsewhere(&here()));
}

#[test]
fn nothing_is_left_to_do_in_the_code() {
    hold(&unfinished(&here()));
}

#[test]
fn no_library_brings_a_second_tls() {
    let tree = here();
    assert!(tree.get("Cargo.lock").is_some());
    hold(&unwanted_libraries(&tree));
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    hold(&machine_paths(&here()));
}

#[test]
fn what_may_not_be_written_is_found() {
    let tree = Tree::planted(&[
        (
            "services/x/src/a.rs",
            "//! slipway.lifecycle.> in a comment\nconst A: &str = \"slipway.lifecycle.default\";\n\
             const B: &str = \"slipway.inference.v1.InferenceRequest\";\nfn f() { todo!() }\n\n#[cfg(test)]\nmod tests {\n    const C: &str = \"slipway.intake.x\";\n}\n",
        ),
        ("services/shared/bus/src/topology/subjects.rs", "const A: &str = \"slipway.lifecycle.>\";\n"),
        ("Cargo.lock", "[[package]]\nname = \"openssl\"\n"),
        ("services/x/README.md", concat!("see /ro", "ot/notes\n")),
    ]);
    assert_eq!(subjects_elsewhere(&tree), ["services/x/src/a.rs:2: subject \"slipway.lifecycle.default\""]);
    assert_eq!(unfinished(&tree), ["services/x/src/a.rs:4: todo!"]);
    assert_eq!(unwanted_libraries(&tree), ["Cargo.lock has openssl"]);
    assert_eq!(machine_paths(&tree).len(), 1);
}

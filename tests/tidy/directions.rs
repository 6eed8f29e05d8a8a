//! Who may name whom.

use crate::{here, hold, tree::Tree};
use std::collections::BTreeSet;
use toml::Table;

/// What a crate of the workspace may depend on besides the kernel. `None`: on any.
fn may_name(package: &str) -> Option<&'static [&'static str]> {
    const SERVICE: &[&str] = &[
        "slipway-kernel",
        "slipway-proto",
        "slipway-oip",
        "slipway-gpu",
        "slipway-cluster",
        "slipway-bus",
        "slipway-runtime",
    ];
    Some(match package {
        "slipway-kernel" => &[],
        // The messages of the Open Inference Protocol, and nothing of how Slipway answers them.
        "slipway-loadtest" => &["slipway-proto"],
        "slipway-proto" | "slipway-gpu" | "slipway-cluster" | "slipway-runtime" => &["slipway-kernel"],
        "slipway-oip" => &["slipway-kernel", "slipway-proto"],
        "slipway-bus" => &["slipway-kernel", "slipway-proto", "slipway-runtime"],
        "slipway-testkit" => &["slipway-kernel", "slipway-proto", "slipway-bus", "slipway-runtime"],
        // The validator loads what it validates with the same generator that people use.
        "slipway-validator" => {
            &["slipway-kernel", "slipway-proto", "slipway-bus", "slipway-runtime", "slipway-loadtest"]
        }
        // What reads inputs from outside and needs no server.
        "slipway-fuzz" => &["slipway-kernel", "slipway-proto", "slipway-oip"],
        // The command line is the one crate that names services; the tests name whatever they test.
        "slipway" | "slipway-tests" => return None,
        _ => SERVICE,
    })
}

/// Libraries that belong to one room, and the crates that are that room.
const ROOMS: [(&str, &[&str]); 10] = [
    ("async-nats", &["slipway-bus", "slipway-testkit"]),
    ("sqlx", &["slipway-sink-writer", "slipway-testkit"]),
    // The command line makes the Secrets of a cluster and reads those of the operator.
    ("kube", &["slipway-cluster", "slipway-controller", "slipway-provisioner", "slipway"]),
    ("k8s-openapi", &["slipway-cluster", "slipway-controller", "slipway-provisioner", "slipway"]),
    // The selector reads models, the worker runs them.
    ("tract-onnx", &["slipway-inference-worker", "slipway-platform-selector"]),
    ("ort", &["slipway-inference-worker"]),
    ("tract-cuda", &["slipway-inference-worker"]),
    ("cudarc", &["slipway-inference-worker"]),
    ("nvml-wrapper", &["slipway-gpu"]),
    (FUZZER, &["slipway-fuzz"]),
];

/// Drives the fuzz targets. It is compiled C++, of use on a nightly toolchain only.
const FUZZER: &str = "libfuzzer-sys";

struct Package {
    path: String,
    name: String,
    /// Those of the product.
    normal: BTreeSet<String>,
    /// Those of its tests.
    dev: BTreeSet<String>,
}

fn packages(tree: &Tree) -> Vec<Package> {
    let manifests = tree.files("", "Cargo.toml").filter(|file| file.path != "Cargo.toml");
    let read = |table: &Table, key: &str| {
        let of = |table: &Table| table.get(key).and_then(|t| t.as_table()).cloned().unwrap_or_default();
        // Dependencies of one platform count like all others.
        let targets = table.get("target").and_then(|t| t.as_table()).cloned().unwrap_or_default();
        let targeted = targets.values().filter_map(|target| target.as_table()).flat_map(of);
        of(table).into_iter().chain(targeted).map(|(name, _)| name).collect::<BTreeSet<String>>()
    };
    let package = |file: &crate::tree::Source| {
        let table: Table = file.text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.path));
        let name = table["package"]["name"].as_str().unwrap().to_owned();
        let mut normal = read(&table, "dependencies");
        normal.extend(read(&table, "build-dependencies"));
        Package { path: file.path.clone(), name, normal, dev: read(&table, "dev-dependencies") }
    };
    manifests.map(package).collect()
}

fn wrong_directions(tree: &Tree) -> Vec<String> {
    let packages = packages(tree);
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut breaches = Vec::new();
    for package in &packages {
        let Some(allowed) = may_name(&package.name) else { continue };
        for named in package.normal.iter().chain(&package.dev).filter(|name| ours.contains(name.as_str())) {
            let for_tests = package.dev.contains(named) && named == "slipway-testkit";
            if !allowed.contains(&named.as_str()) && !for_tests {
                breaches.push(format!("{}: {} may not name {named}", package.path, package.name));
            }
        }
        if package.normal.contains("slipway-testkit") {
            breaches.push(format!("{}: the testkit is for tests", package.path));
        }
    }
    breaches
}

fn out_of_their_rooms(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in packages(tree) {
        for (library, rooms) in ROOMS {
            let named = package.normal.contains(library) || package.dev.contains(library);
            if named && !rooms.contains(&package.name.as_str()) {
                breaches.push(format!("{}: {library} is for {} alone", package.path, rooms.join(" and ")));
            }
        }
    }
    breaches
}

fn versions_of_their_own(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.files("", "Cargo.toml").filter(|file| file.path != "Cargo.toml") {
        let table: Table = file.text.parse().unwrap();
        for key in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in table.get(key).and_then(|t| t.as_table()).into_iter().flatten() {
                let inherited = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                let adds = value.get("features").is_some();
                let by_path = value.get("path").is_some() && value.get("version").is_none();
                if adds || !(inherited || by_path) {
                    breaches.push(format!("{}: {name} must be `workspace = true` without features", file.path));
                }
            }
        }
    }
    breaches
}

/// A fuzzer that a build without the wish for one would compile: not optional, on by default, or wanted by a program that does not
/// say so.
fn fuzzers_in_every_build(tree: &Tree) -> Vec<String> {
    let names = |value: Option<&toml::Value>| {
        let list = value.and_then(toml::Value::as_array).into_iter().flatten();
        list.filter_map(toml::Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut breaches = Vec::new();
    for file in tree.files("", "Cargo.toml").filter(|file| file.path != "Cargo.toml") {
        let table: Table = file.text.parse().unwrap();
        let Some(fuzzer) = table.get("dependencies").and_then(|dependencies| dependencies.get(FUZZER)) else {
            continue;
        };
        if fuzzer.get("optional").and_then(toml::Value::as_bool) != Some(true) {
            breaches.push(format!("{}: {FUZZER} must be optional", file.path));
        }
        let features = table.get("features").and_then(toml::Value::as_table);
        let brings = |feature: &str| {
            let list = names(features.and_then(|features| features.get(feature)));
            list.iter().any(|name| name.trim_start_matches("dep:") == FUZZER)
        };
        let wishes: Vec<&String> = features.into_iter().flat_map(Table::keys).filter(|name| brings(name)).collect();
        let by_default = names(features.and_then(|features| features.get("default")));
        if brings("default") || wishes.iter().any(|wish| by_default.contains(wish)) {
            breaches.push(format!("{}: {FUZZER} is on by default", file.path));
        }
        for program in table.get("bin").and_then(toml::Value::as_array).into_iter().flatten() {
            let required = names(program.get("required-features"));
            if !wishes.iter().any(|wish| required.contains(wish)) {
                breaches.push(format!("{}: {} is built without a fuzzer", file.path, program["name"]));
            }
        }
    }
    breaches
}

#[test]
fn every_crate_names_only_those_below_it() {
    hold(&wrong_directions(&here()));
}

#[test]
fn brokers_databases_and_engines_are_named_in_their_own_room_only() {
    hold(&out_of_their_rooms(&here()));
}

#[test]
fn every_version_and_feature_stands_in_the_workspace() {
    hold(&versions_of_their_own(&here()));
}

#[test]
fn no_fuzzer_is_in_a_build_that_does_not_ask_for_one() {
    let tree = here();
    assert!(tree.get("tests/fuzz/Cargo.toml").is_some_and(|file| file.text.contains(FUZZER)));
    hold(&fuzzers_in_every_build(&tree));
}

#[test]
fn a_fuzzer_in_every_build_is_found() {
    let breaches = |rest: &str| {
        let manifest = format!("[package]\nname = \"slipway-fuzz\"\n{rest}");
        fuzzers_in_every_build(&Tree::planted(&[("tests/fuzz/Cargo.toml", &manifest)])).join("\n")
    };
    let optional = "[dependencies]\nlibfuzzer-sys = { workspace = true, optional = true }\n[[bin]]\nname = \"json\"\n";
    let wish = "required-features = [\"fuzzer\"]\n[features]\nfuzzer = [\"dep:libfuzzer-sys\"]\n";
    assert_eq!(breaches(&format!("{optional}{wish}")), "");
    assert!(breaches("[dependencies]\nlibfuzzer-sys.workspace = true\n").contains("must be optional"));
    assert!(breaches(optional).contains("\"json\" is built without a fuzzer"));
    assert!(breaches(&format!("{optional}{wish}default = [\"fuzzer\"]\n")).contains("on by default"));
}

#[test]
fn a_wrong_direction_is_found() {
    let manifest = |name: &str, rest: &str| format!("[package]\nname = \"{name}\"\n{rest}");
    let ingress = manifest(
        "slipway-ingress",
        "[dev-dependencies]\nslipway-controller.workspace = true\nslipway-testkit.workspace = true\n",
    );
    let kernel = manifest("slipway-kernel", "[dependencies]\nslipway-proto.workspace = true\n");
    let worker = manifest(
        "slipway-inference-worker",
        "[target.'cfg(unix)'.dependencies]\nsqlx = { version = \"1\", features = [\"x\"] }\n",
    );
    let (controller, proto) = (manifest("slipway-controller", ""), manifest("slipway-proto", ""));
    let tree = Tree::planted(&[
        ("services/ingress/Cargo.toml", &ingress),
        ("services/shared/kernel/Cargo.toml", &kernel),
        ("services/inference-worker/Cargo.toml", &worker),
        ("services/controller/Cargo.toml", &controller),
        ("proto/Cargo.toml", &proto),
    ]);
    let found = wrong_directions(&tree).join("\n");
    assert!(found.contains("slipway-ingress may not name slipway-controller"), "{found}");
    assert!(found.contains("slipway-kernel may not name slipway-proto"), "{found}");
    assert_eq!(wrong_directions(&tree).len(), 2, "{found}");
    assert_eq!(out_of_their_rooms(&tree).len(), 1);
    let own =
        manifest("slipway-x", "[dependencies]\nserde = \"1\"\ntokio = { workspace = true, features = [\"full\"] }\n");
    assert_eq!(versions_of_their_own(&Tree::planted(&[("services/x/Cargo.toml", &own)])).len(), 2);
}

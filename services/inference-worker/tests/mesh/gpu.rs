//! The worker's program looks for a GPU on a machine that has none, a broken driver, or one that a test made up; and what a worker
//! makes of that.

mod driver;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use driver::{Driver, Form};
use slipway_bus::WorkerState;
use slipway_inference_worker::engine::device::{Device, FLAG, Told};
use slipway_kernel::{Finding, FindingKind};

use crate::harness::{INSTANCE, Mesh, PATIENCE};
use crate::process::{spawn_with, terminate};

/// Runs the program with this folder of libraries before those of the system.
fn worker(flag: &str, libraries: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slipway-inference-worker"))
        .arg(flag)
        .env_clear()
        .env("LD_LIBRARY_PATH", libraries)
        .output()
        .unwrap()
}

fn told(libraries: &Path) -> Told {
    let output = worker(FLAG, libraries);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn none(libraries: &Path) -> String {
    match told(libraries) {
        Told::None(reason) => reason,
        Told::Device(device) => panic!("{device:?}"),
    }
}

/// Whether this machine has a driver, on which the absence of one cannot be shown.
fn has_driver() -> bool {
    Path::new("/proc/driver/nvidia/version").exists()
}

#[test]
fn a_machine_without_a_driver_says_which_library_it_lacks() {
    if has_driver() {
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let reason = none(empty.path());
    assert!(reason.contains("libcuda.so.1"), "{reason}");
    assert!(!reason.contains('\n'));
}

#[test]
fn a_driver_without_a_device_is_told_by_its_own_answer() {
    let reason = none(Driver::of(Form::NoDevice).folder());
    assert!(reason.contains("cuInit returned 100"), "{reason}");
}

#[test]
fn a_library_that_lacks_the_symbols_of_a_driver_is_told() {
    let reason = none(Driver::of(Form::Empty).folder());
    assert!(reason.contains("symbol cuInit is missing"), "{reason}");
}

#[test]
fn a_driver_that_aborts_ends_who_asked_it() {
    use std::os::unix::process::ExitStatusExt as _;
    let output = worker(FLAG, Driver::of(Form::Aborts).folder());
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_device_is_told_with_what_the_driver_says_of_it() {
    let Told::Device(device) = told(Driver::of(Form::OneDevice).folder()) else { panic!("there is one") };
    let Device { facts, tract, .. } = device;
    assert_eq!((facts.name.as_str(), facts.compute_capability.as_str()), ("Made-up 4000", "8.9"));
    assert_eq!((facts.memory_bytes, facts.memory_free_bytes), (4 << 30, 3 << 30));
    assert_eq!(facts.uuid, "GPU-abababab-abab-abab-abab-abababababab");
    // The driver is there, and what tract needs beside it is not.
    let missing = tract.unwrap();
    assert!(missing.contains("cudart"), "{missing}");
}

#[test]
fn the_engines_are_told_with_the_reason_why_none_is_on_a_gpu() {
    let told = |form: Form| -> serde_json::Value {
        let output = worker("--engines", Driver::of(form).folder());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let aborted = told(Form::Aborts);
    assert!(aborted["gpuNote"].as_str().unwrap().contains("signal: 6"), "{aborted}");
    let made_up = told(Form::OneDevice);
    assert_eq!(made_up["gpu"], "Made-up 4000 (4Gi, compute capability 8.9)");
    for told in [aborted, made_up] {
        let engines = told["engines"].as_array().unwrap();
        assert!(engines.iter().any(|name| name == "tract"), "{told}");
        assert!(engines.iter().all(|name| !name.as_str().unwrap().ends_with("-cuda")), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gpu_that_is_demanded_and_not_there_ends_the_worker_with_the_reason() {
    let (mesh, config) = Mesh::start("digits-v1").await;
    let driver = Driver::of(Form::NoDevice);
    let mut child = spawn_with(&mesh, &config, INSTANCE, "device = \"cuda\"", Some(driver.folder()));
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    let findings = fs::read(mesh.data.path().join("run").join(format!("{INSTANCE}.findings.json"))).unwrap();
    let findings: Vec<Finding> = serde_json::from_slice(&findings).unwrap();
    assert_eq!(findings[0].kind, FindingKind::InfrastructureUnsuitable);
    assert!(findings[0].message.contains("cuInit returned 100"), "{}", findings[0].message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_aborts_leaves_the_worker_on_the_cpu_and_the_registry_says_so() {
    let (mesh, config) = Mesh::start("digits-v1").await;
    let driver = Driver::of(Form::Aborts);
    let mut child = spawn_with(&mesh, &config, INSTANCE, "device = \"auto\"", Some(driver.folder()));
    mesh.grant();
    let record = mesh.until(WorkerState::Ready).await;
    let engine = &record.detail["engine"];
    assert_eq!(engine["device"], "cpu");
    assert!(engine["deviceReason"].as_str().unwrap().contains("signal: 6"), "{engine}");
    assert_eq!(terminate(&mut child).await, Some(0));
}

/// The device is real as far as can be asked, and no engine finds what it needs there: each says what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gpu_without_the_libraries_leaves_the_worker_on_the_cpu_with_the_reason_of_each_engine() {
    let (mesh, config) = Mesh::start("digits-v1").await;
    let driver = Driver::of(Form::OneDevice);
    let mut child = spawn_with(&mesh, &config, INSTANCE, "device = \"auto\"", Some(driver.folder()));
    mesh.grant();
    let record = mesh.until(WorkerState::Ready).await;
    let reason = record.detail["engine"]["deviceReason"].as_str().unwrap();
    for part in ["Made-up 4000 (4Gi, compute capability 8.9) does not serve it", "onnxruntime-cuda: ", "tract-cuda: "] {
        assert!(reason.contains(part), "{part} in {reason}");
    }
    assert_eq!(terminate(&mut child).await, Some(0));
}

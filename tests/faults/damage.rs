//! Logs that were changed, truncated or put back while the broker stood still. What is lost is named and flagged; its neighbour goes on.

use crate::{
    CONVERGES, alone,
    mesh::{document, hand_in, holds_together, released},
};
use slipway_bus::{Bus, Principal};
use slipway_testkit::{DataFolder, Mesh, eventually};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const LONG: Duration = Duration::from_secs(120);

fn files(below: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![below.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The last block file of the log.
fn block(folder: &DataFolder) -> PathBuf {
    let is_block = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "blk")
            && path.to_string_lossy().contains("/streams/LIFECYCLE/msgs/")
    };
    files(&folder.path().join("nats")).into_iter().rfind(is_block).expect("the log has a block file")
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

/// A mesh in which `near` was released, then `digits`, and the ledger knows both.
async fn two_released() -> Mesh {
    let mesh = Mesh::start().await;
    release(mesh.folder(), "near", "near-1").await;
    release(mesh.folder(), "digits", "digits-1").await;
    let _ = mesh.folder().cli(["log", "verify"]).await.ok();
    mesh
}

async fn release(folder: &DataFolder, name: &str, tag: &str) {
    let view = folder.bus(Principal::Operator).await.log().follow().await.unwrap();
    let _ = hand_in(folder, &document(name, "digits-v1"), tag).await.ok();
    released(&view, name, LONG).await;
}

/// The damage is told with exit code 1, each lost fact by name, and only `digits` is flagged.
async fn told(folder: &DataFolder) -> (BTreeSet<String>, Bus) {
    let ran = folder.cli(["log", "verify", "--output", "json"]).await;
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.stdout, ran.stderr);
    let verdict = &ran.json_lines()[0];
    let subjects = verdict["damages"].as_array().unwrap().iter();
    let named: BTreeSet<String> = subjects.map(|damage| damage["subject"].as_str().unwrap().to_owned()).collect();
    assert!(named.iter().all(|subject| subject.contains(".default.digits.")), "a neighbour is damaged: {named:?}");
    let bus = folder.bus(Principal::Operator).await;
    eventually(Duration::from_secs(30), || async {
        let flags: Vec<_> = bus.flags().list().await.unwrap().into_keys().collect();
        if flags == [crate::id("digits")] { Ok(()) } else { Err(format!("flagged: {flags:?}")) }
    })
    .await;
    (named, bus)
}

/// A demand for the flagged deployment leads to no decision; one for its neighbour, handed in later, is carried out. So every service
/// has seen the first and let it be.
async fn nothing_is_decided(folder: &DataFolder, bus: &Bus) {
    let view = bus.log().follow().await.unwrap();
    let before: BTreeSet<String> = view.facts(&crate::id("digits")).iter().map(|fact| fact.key.to_string()).collect();
    let ran = hand_in(folder, &document("digits", "digits-v2"), "digits-2").await;
    println!("a demand for a flagged deployment: exit code {:?} {}", ran.code, ran.stderr.trim());
    let _ = hand_in(folder, &document("near", "digits-v2"), "near-2").await.ok();
    view.wait_until(&crate::id("near"), CONVERGES, |folded| {
        folded.deployment.serving().is_some_and(|serving| serving.generation.0 == 2)
    })
    .await
    .expect("the neighbour goes on");
    holds_together(&view, "near");
    let facts = view.facts(&crate::id("digits"));
    let decided: Vec<String> = facts
        .iter()
        .filter(|fact| !before.contains(&fact.key.to_string()) && fact.answer.name() != "requested")
        .map(|fact| format!("{} {}", fact.key, fact.answer.name()))
        .collect();
    assert_eq!(decided, [""; 0], "decided on a damaged log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_named_and_its_deployment_stands_still_while_its_neighbour_goes_on() {
    let _alone = alone().await;
    let mut mesh = two_released().await;
    assert!(mesh.stop().await.success());
    let block = block(mesh.folder());
    let mut bytes = fs::read(&block).unwrap();
    let subject = b"slipway.lifecycle.default.digits.1.1.plan.0";
    let at = bytes.windows(subject.len()).position(|window| window == subject).expect("the fact is in the block");
    // Inside its JSON.
    let inside =
        bytes[at..].windows(9).position(|window| window == b"{\"plan\":{").expect("the payload follows") + at + 14;
    bytes[inside] ^= 0x04;
    fs::write(&block, bytes).unwrap();
    mesh.start_again().await;
    let (named, bus) = told(mesh.folder()).await;
    assert!(named.contains("slipway.lifecycle.default.digits.1.1.plan.0"), "{named:?}");
    println!("one bit flipped: {} fact(s) named", named.len());
    nothing_is_decided(mesh.folder(), &bus).await;
}

/// What was lost at the end of the log may be answered again in the moment between the start of its service and the first verification
/// after the start, and is then told as altered instead of lost. From the alarm on nothing is decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_block_is_named_and_nothing_is_decided_from_the_alarm_on() {
    let _alone = alone().await;
    let mut mesh = two_released().await;
    assert!(mesh.stop().await.success());
    let file = block(mesh.folder());
    let length = fs::metadata(&file).unwrap().len();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - 100).unwrap();
    mesh.start_again().await;
    let (named, bus) = told(mesh.folder()).await;
    assert!(named.contains("slipway.lifecycle.default.digits.1.1.release.0"), "{named:?}");
    println!("last block truncated: {} fact(s) named", named.len());
    nothing_is_decided(mesh.folder(), &bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_put_back_is_told_by_every_fact_it_lacks() {
    let _alone = alone().await;
    let mut mesh = Mesh::start().await;
    release(mesh.folder(), "near", "near-1").await;
    assert!(mesh.stop().await.success());
    let store = mesh.folder().path().join("nats");
    let backup = tempfile::tempdir().unwrap();
    copy(&store, backup.path());
    mesh.start_again().await;
    release(mesh.folder(), "digits", "digits-1").await;
    let _ = mesh.folder().cli(["log", "verify"]).await.ok();
    let view = mesh.folder().bus(Principal::Operator).await.log().follow().await.unwrap();
    let there = view.facts(&crate::id("digits")).len();
    assert!(mesh.stop().await.success());
    fs::remove_dir_all(&store).unwrap();
    copy(backup.path(), &store);
    mesh.start_again().await;
    let (named, bus) = told(mesh.folder()).await;
    assert_eq!(named.len(), there, "{named:?}");
    println!("an old backup: {there} facts named");
    nothing_is_decided(mesh.folder(), &bus).await;
}

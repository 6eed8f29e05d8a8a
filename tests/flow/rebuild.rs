//! `slipway log --output json` is the whole truth.

use crate::{alone, documents::Document, facts::Facts, id};
use slipway_bus::Principal;
use slipway_testkit::Mesh;

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_log_alone_rebuilds_the_same_state() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    Document::digits("digits", "digits-v1").deploy(folder).await.ok();
    folder.cli(["revalidate", "digits", "--reason", "once more"]).await.ok();
    let bus = folder.bus(Principal::Operator).await;
    crate::facts::wait_until(&bus, "digits", 90, |d| d.facts().filter(|f| f.answer.name() == "validated").count() == 2)
        .await;
    folder.cli(["retire", "digits", "--reason", "done"]).await.ok();
    crate::facts::wait_until(&bus, "digits", 90, |d| d.phase() == slipway_kernel::Phase::Retired).await;

    let printed = Facts::read(folder, "digits").await;
    let view = bus.log().follow().await.unwrap();
    let held = view.get(&id("digits")).unwrap();
    assert_eq!(printed.deployment, held.deployment);
    // Backwards it is the same: order is in the facts.
    let backwards = slipway_kernel::fold(&id("digits"), printed.facts.iter().rev().cloned());
    assert_eq!(backwards, held.deployment);
    for line in &printed.lines {
        assert!(
            line.kind.starts_with("dev.slipway.") && !line.actor.is_empty() && line.time.ends_with('Z'),
            "{line:?}"
        );
    }
}

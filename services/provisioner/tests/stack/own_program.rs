//! A program of one's own: the same contract, without OpenTofu.

use crate::workshop::{Workshop, until};
use serde_json::{Value, json};
use slipway_provisioner::{
    domain::stack::{Action, Event, Why},
    stack::{EngineKind, NotDone, StackConfig},
};
use std::fs;

fn workshop() -> Workshop {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/own-program");
    let config =
        StackConfig { engine: EngineKind::Command, program: vec![program.to_owned()], ..StackConfig::default() };
    let mut workshop = Workshop::new(config);
    workshop.config.module = workshop.folder.path().to_owned();
    workshop
}

#[tokio::test]
async fn its_lines_are_heard_and_what_it_made_is_left_alone_and_removed() {
    let workshop = workshop().open();
    let made = workshop.make().await.unwrap();
    assert_eq!((made.changed, Value::from(made.outputs)), (1, json!({ "pool": "it" })));
    let begun =
        |event: &Event| matches!(event, Event::Begun { address, action: Action::Create } if address == "script.pool");
    let done = |event: &Event| matches!(event, Event::Done { seconds, .. } if *seconds > 0.0);
    assert_eq!((workshop.heard.count(begun), workshop.heard.count(done)), (1, 1));
    let again = workshop.make().await.unwrap();
    assert_eq!((again.changed, Value::from(again.outputs)), (0, json!({ "pool": "it" })));
    assert_eq!(workshop.drifted().await, [""; 0]);
    assert_eq!(workshop.remove().await.unwrap(), ["script.pool"]);
    assert_eq!(workshop.remove().await.unwrap(), [""; 0]);
    assert_eq!(workshop.journal(), ["create", "delete"]);
}

#[tokio::test]
async fn its_words_tell_why_it_refuses() {
    let workshop = workshop().open();
    fs::write(workshop.path("refused"), "Quota NVIDIA_L4_GPUS exceeded. Limit: 0.0").unwrap();
    let Err(NotDone::Refused(refused)) = workshop.make().await else { panic!("it is refused") };
    assert_eq!(
        (refused.why, refused.said.as_slice()),
        (Why::Quota, ["creating the pool: Quota NVIDIA_L4_GPUS exceeded. Limit: 0.0".to_owned()].as_slice())
    );
}

#[tokio::test]
async fn it_is_not_asked_to_do_what_the_guard_refuses() {
    let workshop = workshop().open();
    fs::write(workshop.path("replace"), "").unwrap();
    let Err(NotDone::Guarded(words)) = workshop.make().await else { panic!("the guard lets it not") };
    assert_eq!(words, ["script.pool would be replaced"]);
    assert!(workshop.journal().is_empty());
}

#[tokio::test]
async fn told_to_stop_it_finishes_and_the_next_waits_for_it() {
    let workshop = workshop();
    tokio::select! {
        made = workshop.make() => panic!("it was to be stopped: {made:?}"),
        () = until(|| !workshop.journal().is_empty()) => {}
    }
    assert_eq!(workshop.make().await.unwrap().changed, 0);
    assert_eq!(workshop.journal(), ["create", "stopped"]);
}

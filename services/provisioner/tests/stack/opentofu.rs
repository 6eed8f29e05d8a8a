//! OpenTofu with a module that needs no provider and behaves like one that does. Each outcome that an apply in a cloud can have.

use crate::workshop::{Workshop, is_begun, lines, machine, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use slipway_provisioner::{
    domain::stack::{Action, Event, Why},
    stack::{NotDone, StackConfig},
};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

const POOL: &str = "terraform_data.pool";
const ROLE: &str = "terraform_data.role";
/// As AWS says it.
const QUOTA: &str =
    "api error VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 4 allows";
/// As Google says it.
const CAPACITY: &str = "Error code ZONE_RESOURCE_POOL_EXHAUSTED: The zone does not have enough resources available";

/// The newest that was built beside the test cluster's programs, else that of the `PATH`.
pub fn tofu() -> String {
    let tools = slipway_testkit::workspace().join(".tools");
    let folders = std::fs::read_dir(tools).into_iter().flatten().flatten().map(|entry| entry.path());
    let built =
        folders.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kubernetes-")));
    let mut built: Vec<PathBuf> = built.map(|path| path.join("bin/tofu")).filter(|path| path.is_file()).collect();
    built.sort_by_key(|path| path.metadata().and_then(|file| file.modified()).ok());
    let found = built.pop().unwrap_or_else(|| slipway_testkit::tool("tofu"));
    found.display().to_string()
}

pub fn module(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stack/modules").join(name)
}

/// Settings by which each stack has a state in its workshop.
pub fn config(state: &str) -> StackConfig {
    StackConfig {
        program: vec![tofu()],
        module: module("pool"),
        backend: vec![format!("path={state}/{{stack}}.tfstate")],
        ..StackConfig::default()
    }
}

fn workshop() -> Workshop {
    let mut workshop = Workshop::new(StackConfig::default());
    let state = workshop.path("state").display().to_string();
    workshop.config =
        StackConfig { lock_timeout: workshop.config.lock_timeout, cloud: workshop.config.cloud, ..config(&state) };
    workshop
}

/// What the state says of a resource.
fn in_state(workshop: &Workshop, name: &str) -> Option<Value> {
    let text = std::fs::read(workshop.path("state/digits-0a1b2c3d.tfstate")).ok()?;
    let state: Value = serde_json::from_slice(&text).unwrap();
    state["resources"].as_array()?.iter().find(|resource| resource["name"] == name).cloned()
}

/// The program, by hand, in the stack's own folder.
fn by_hand(workshop: &Workshop, arguments: &[&str]) -> Command {
    let mut command = Command::new(tofu());
    command.arg(format!("-chdir={}", workshop.config.module.display())).args(arguments);
    command.env("TF_DATA_DIR", workshop.path("stack/data"));
    command
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn each_resources_progress_is_heard_while_it_is_made() {
    let workshop = workshop();
    let going =
        |event: &Event| matches!(event, Event::Going { address, seconds } if address == POOL && *seconds >= 9.0);
    let (made, ()) = tokio::join!(workshop.make(), async {
        workshop.heard.until(going).await;
        workshop.open_now();
    });
    let made = made.unwrap();
    assert_eq!((made.changed, made.choice), (2, 0));
    // What is secret is not given.
    assert_eq!(Value::from(made.outputs), json!({ "machine": "small" }));
    let heard = workshop.heard.all();
    for address in [ROLE, POOL] {
        let mut told: Vec<&str> = heard
            .iter()
            .filter_map(|event| match event {
                Event::Planned { address: of, action: Action::Create, .. } if of == address => Some("planned"),
                Event::Begun { address: of, action: Action::Create } if of == address => Some("begun"),
                Event::Done { address: of, action: Action::Create, .. } if of == address => Some("done"),
                _ => None,
            })
            .collect();
        // A plan that is applied is said again.
        told.dedup();
        assert_eq!(told, ["planned", "begun", "done"], "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn what_is_there_is_left_alone_and_told_again() {
    let workshop = workshop().open();
    workshop.make().await.unwrap();
    let again = workshop.make().await.unwrap();
    assert_eq!((again.changed, Value::from(again.outputs)), (0, json!({ "machine": "small" })));
    assert_eq!(workshop.journal(), ["small"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn a_refusal_is_told_in_the_vendors_words() {
    let mut workshop = workshop().open();
    workshop.variables["refused"] = json!({ "small": QUOTA });
    let Err(NotDone::Refused(refused)) = workshop.make().await else { panic!("it is refused") };
    assert_eq!(refused.why, Why::Quota);
    assert!(refused.said[0].contains(QUOTA), "{:?}", refused.said);
    assert_eq!(workshop.heard.count(|event| matches!(event, Event::Failed { address, .. } if address == POOL)), 1);
    // It is told before anything is done, and is for good.
    workshop.variables["forbidden"] = json!({ "small": "there is no such machine" });
    let Err(NotDone::Refused(refused)) = workshop.make().await else { panic!("it is refused") };
    assert_eq!(refused.why, Why::Wrong);
    assert!(refused.said[0].contains("there is no such machine"), "{:?}", refused.said);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn where_quota_or_capacity_is_refused_the_next_choice_is_taken_and_kept() {
    let mut workshop = workshop().open();
    workshop.variables["refused"] = json!({ "dear": QUOTA, "rare": CAPACITY });
    workshop.config.choices = ["dear", "rare", "cheap"].map(machine).into();
    let made = workshop.make().await.unwrap();
    assert_eq!((made.choice, made.outputs["machine"].as_str()), (2, Some("cheap")));
    assert!(made.passed_over[0].contains(QUOTA) && made.passed_over[1].contains(CAPACITY), "{:?}", made.passed_over);
    // Whoever comes next begins with the first again, which would replace what serves.
    let again = workshop.make().await.unwrap();
    assert_eq!((again.choice, again.changed), (2, 0));
    assert_eq!(workshop.journal(), ["dear", "rare", "cheap"]);
    assert_eq!(workshop.drifted().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn one_that_is_killed_is_tried_again_from_what_its_state_says() {
    let mut workshop = workshop().open();
    // A first try leaves the role, and a pool that is half made.
    workshop.variables["refused"] = json!({ "small": QUOTA });
    assert!(workshop.make().await.is_err());
    assert!(in_state(&workshop, "role").is_some());
    workshop.variables["refused"] = json!({});
    std::fs::remove_file(workshop.path("open")).unwrap();
    let (made, ()) = tokio::join!(workshop.make(), async {
        until(|| workshop.journal().len() == 2).await;
        kill_process(Pid::from_raw(workshop.pid()).unwrap(), Signal::KILL).unwrap();
    });
    let Err(NotDone::Refused(refused)) = made else { panic!("{made:?}") };
    assert_eq!(refused.why, Why::Passing);
    // What the one that was killed had begun goes on by itself for a moment, as it would at a vendor.
    workshop.open_now();
    assert_eq!(workshop.make().await.unwrap().changed, 1, "the role was made before, and is not again");
    assert!(in_state(&workshop, "pool").is_some());
    assert_eq!(workshop.make().await.unwrap().changed, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn one_that_is_told_to_stop_ends_by_itself_and_the_next_waits_for_it() {
    let workshop = workshop();
    tokio::select! {
        made = workshop.make() => panic!("it was to be stopped: {made:?}"),
        () = until(|| !workshop.journal().is_empty()) => {}
    }
    // The future is gone, the program is not.
    assert!(workshop.path("stack/running.json").exists());
    workshop.open_now();
    let made = workshop.make().await.unwrap();
    assert_eq!(made.outputs["machine"], "small");
    assert!(!workshop.journal().contains(&"two".to_owned()), "{:?}", workshop.journal());
    assert_eq!(workshop.make().await.unwrap().changed, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn a_state_that_somebody_else_has_locked_is_left_to_him() {
    let workshop = workshop();
    // Somebody else, elsewhere: he has a folder of his own and the same state.
    let elsewhere = workshop.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let at = |arguments: &[&str]| {
        let mut command = by_hand(&workshop, arguments);
        command.env("TF_DATA_DIR", &elsewhere);
        command
    };
    let state = format!("-backend-config=path={}", workshop.path("state/digits-0a1b2c3d.tfstate").display());
    assert!(at(&["init", "-input=false", &state]).output().unwrap().status.success());
    let folder = format!("-var=folder={}", workshop.folder.path().display());
    let mut other = at(&["apply", "-auto-approve", "-input=false", "-var=name=digits-0a1b2c3d", &folder])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(|| !workshop.journal().is_empty()).await;
    let Err(NotDone::Refused(refused)) = workshop.make().await else { panic!("it is locked") };
    assert_eq!(refused.why, Why::Locked);
    assert!(refused.said[0].contains("Lock Info"), "{:?}", refused.said);
    workshop.open_now();
    assert!(other.wait().unwrap().success());
    assert_eq!(workshop.make().await.unwrap().changed, 0);
    assert_eq!(workshop.journal(), ["small"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn drift_is_found_and_only_told() {
    let workshop = workshop().open();
    workshop.make().await.unwrap();
    assert_eq!(workshop.drifted().await, [""; 0]);
    // Else it lies in the module's folder.
    let backup = format!("-backup={}", workshop.path("backup").display());
    let removed = by_hand(&workshop, &["state", "rm", &backup, ROLE]).output().unwrap();
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!(workshop.drifted().await, ["terraform_data.role would be made", "terraform_data.pool would be changed"]);
    assert!(in_state(&workshop, "role").is_none(), "it was looked at, and not mended");
    assert_eq!(workshop.make().await.unwrap().changed, 2);
    assert_eq!(workshop.drifted().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn a_plan_that_would_replace_what_serves_is_not_applied() {
    let mut workshop = workshop().open();
    workshop.make().await.unwrap();
    workshop.variables["machine"] = json!("large");
    let Err(NotDone::Guarded(words)) = workshop.make().await else { panic!("the guard lets it not") };
    assert_eq!(words, ["terraform_data.pool would be replaced"]);
    assert_eq!(workshop.journal(), ["small"]);
    workshop.config.may_remove = true;
    assert_eq!(workshop.make().await.unwrap().outputs["machine"], "large");
    workshop.config.kinds = vec!["aws_*".into()];
    workshop.variables["machine"] = json!("huge");
    let Err(NotDone::Guarded(words)) = workshop.make().await else { panic!("the guard lets it not") };
    assert_eq!(words, ["terraform_data.pool is a terraform_data, which is not among aws_*"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn what_was_made_is_removed_and_what_is_not_there_is_no_failure() {
    let workshop = workshop().open();
    assert_eq!(workshop.remove().await.unwrap(), [""; 0]);
    workshop.make().await.unwrap();
    let mut removed = workshop.remove().await.unwrap();
    removed.sort();
    assert_eq!(removed, [POOL, ROLE]);
    assert!(in_state(&workshop, "pool").is_none() && in_state(&workshop, "role").is_none());
    assert!(workshop.heard.count(|event| matches!(event, Event::Done { action: Action::Delete, .. })) == 2);
    assert_eq!(workshop.remove().await.unwrap(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn a_module_whose_stacks_would_share_a_state_is_not_used() {
    let mut workshop = workshop();
    workshop.config.module = module("stateless");
    let Err(NotDone::Unusable(words)) = workshop.make().await else { panic!("it is not used") };
    assert!(words.contains("`backend` block"), "{words}");
    assert!(lines(&workshop.path("stack/plan.jsonl")).is_empty());
    workshop.config.program = vec!["/nowhere/tofu".into()];
    assert!(matches!(workshop.make().await, Err(NotDone::Unusable(words)) if words.contains("/nowhere/tofu")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenTofu: `make test-infra`"]
async fn a_pool_is_begun_once_however_often_it_is_asked_for() {
    let workshop = workshop();
    let first = workshop.make();
    tokio::pin!(first);
    tokio::select! {
        made = &mut first => panic!("{made:?}"),
        () = workshop.heard.until(|event| is_begun(event, POOL)) => {}
    }
    // Another who came to the same folder, as one who was overtaken would.
    let (first, second, ()) = tokio::join!(first, workshop.make(), async {
        until(|| workshop.path("open").exists() || !workshop.journal().is_empty()).await;
        workshop.open_now();
    });
    first.unwrap();
    assert_eq!(second.unwrap().changed, 0);
    assert_eq!(workshop.journal(), ["small"]);
}

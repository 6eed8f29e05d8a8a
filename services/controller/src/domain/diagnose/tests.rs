use super::*;

const START: Timestamp = Timestamp(1_000_000);

fn after(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

fn said(word: &str, sentence: &str) -> Said {
    Said { word: word.into(), sentence: sentence.into() }
}

fn pod() -> Pod {
    Pod { name: "digits-2-1-aa-x".into(), since: START, phase: "Pending".into(), ..Pod::default() }
}

fn waiting(word: &str, sentence: &str) -> Pod {
    Pod { waiting: Some(said(word, sentence)), ..pod() }
}

fn unscheduled(sentence: &str) -> Pod {
    Pod { unscheduled: Some(said("Unschedulable", sentence)), ..pod() }
}

fn died(word: &str, code: i32, message: &str, restarts: u32) -> Pod {
    let ended = Some(Ended { word: word.into(), code, message: message.into(), is_server: false });
    Pod { ended, restarts, waiting: Some(said("CrashLoopBackOff", "back-off 10s")), ..pod() }
}

fn not_made(sentence: &str) -> Workload {
    Workload { not_made: Some(said("FailedCreate", sentence)), since: START, is_late: false }
}

/// One row: what is seen, after how many seconds, and what it is.
type Row = (Workload, Vec<Pod>, u64, Option<(FindingKind, Cause)>, bool);

#[test]
fn a_model_server_that_ends_is_not_taken_for_the_worker() {
    for (word, code) in [("Error", 1), ("OOMKilled", 137)] {
        let mut pod = died(word, code, "no module named x", 3);
        pod.ended.as_mut().unwrap().is_server = true;
        let found = diagnose(&Workload::default(), &[pod], after(5)).findings;
        assert!(found[0].message.starts_with("the model server beside the worker"), "{}", found[0].message);
    }
}

#[test]
fn each_reason_is_the_finding_that_revise_can_act_on() {
    use Cause::{Deterministic, Transient};
    use FindingKind as Kind;
    let none = Workload::default;
    let rows: Vec<Row> = vec![
        (none(), vec![pod()], 5, None, false),
        (none(), vec![waiting("ContainerCreating", "")], 5, None, false),
        (
            none(),
            vec![waiting("InvalidImageName", "couldn't parse")],
            0,
            Some((Kind::ImageUnavailable, Deterministic)),
            true,
        ),
        (
            none(),
            vec![waiting("ErrImageNeverPull", "is not present")],
            0,
            Some((Kind::ImageUnavailable, Deterministic)),
            true,
        ),
        (
            none(),
            vec![waiting("ImagePullBackOff", "dial tcp: timeout")],
            30,
            Some((Kind::ImageUnavailable, Transient)),
            false,
        ),
        (
            none(),
            vec![waiting("ImagePullBackOff", "dial tcp: timeout")],
            60,
            Some((Kind::ImageUnavailable, Transient)),
            true,
        ),
        (
            none(),
            vec![waiting("ErrImagePull", "manifest unknown")],
            60,
            Some((Kind::ImageUnavailable, Deterministic)),
            true,
        ),
        (
            none(),
            vec![waiting("CreateContainerConfigError", r#"secret "key" not found"#)],
            20,
            Some((Kind::SecretMissing, Deterministic)),
            true,
        ),
        (
            none(),
            vec![waiting("RunContainerError", "exec: no such file")],
            20,
            Some((Kind::Misconfigured, Deterministic)),
            true,
        ),
        (
            none(),
            vec![unscheduled("0/1 nodes are available: 1 Insufficient memory.")],
            10,
            Some((Kind::Unschedulable, Deterministic)),
            false,
        ),
        (
            none(),
            vec![unscheduled("0/1 nodes are available: 1 Insufficient memory.")],
            60,
            Some((Kind::Unschedulable, Deterministic)),
            true,
        ),
        (
            none(),
            vec![unscheduled("pod has unbound immediate PersistentVolumeClaims")],
            120,
            Some((Kind::DependencyUnavailable, Transient)),
            true,
        ),
        (none(), vec![died("OOMKilled", 137, "", 1)], 1, Some((Kind::OutOfMemory, Deterministic)), true),
        (none(), vec![died("Error", 101, "panicked at", 1)], 1, Some((Kind::Crashed, Deterministic)), false),
        (none(), vec![died("Error", 101, "panicked at", MAX_DEATHS)], 1, Some((Kind::Crashed, Deterministic)), true),
        (
            not_made("pods is forbidden: exceeded quota: small"),
            vec![],
            20,
            Some((Kind::Unschedulable, Deterministic)),
            true,
        ),
        (
            not_made("pods \"a\" is forbidden: no PriorityClass with name models was found"),
            vec![],
            20,
            Some((Kind::Misconfigured, Deterministic)),
            true,
        ),
        (
            not_made("violates PodSecurity \"restricted\""),
            vec![],
            5,
            Some((Kind::PolicyViolation, Deterministic)),
            true,
        ),
        (
            not_made("admission webhook \"a\" denied the request"),
            vec![],
            5,
            Some((Kind::PolicyViolation, Deterministic)),
            true,
        ),
        (
            not_made("maximum memory usage per Container is 64Mi"),
            vec![],
            5,
            Some((Kind::PolicyViolation, Deterministic)),
            true,
        ),
        (
            not_made("is forbidden: unable to create new content because it is being terminated"),
            vec![],
            5,
            Some((Kind::Misconfigured, Deterministic)),
            true,
        ),
        (Workload { is_late: true, ..none() }, vec![pod()], 0, Some((Kind::StartTimeout, Deterministic)), true),
        (
            none(),
            vec![Pod { lost_node: Some("node-2".into()), phase: "Running".into(), ..pod() }],
            60,
            Some((Kind::DependencyUnavailable, Transient)),
            false,
        ),
        (
            none(),
            vec![Pod { reason: Some(said("Evicted", "low on resource: memory")), phase: "Failed".into(), ..pod() }],
            60,
            Some((Kind::Unschedulable, Transient)),
            false,
        ),
    ];
    for (workload, pods, seconds, expected, settled) in rows {
        let diagnosis = diagnose(&workload, &pods, after(seconds));
        let first = diagnosis.findings.first().map(|finding| (finding.kind, finding.cause));
        assert_eq!((first, diagnosis.is_settled), (expected, settled), "{workload:?} {pods:?}: {diagnosis:?}");
    }
}

#[test]
fn volumes_and_secrets_that_are_not_there_are_told_apart() {
    let with =
        |sentence: &str| Pod { warnings: vec![said("FailedMount", sentence)], ..waiting("ContainerCreating", "") };
    let secret =
        diagnose(&Workload::default(), &[with(r#"MountVolume.SetUp failed: secret "key" not found"#)], after(20));
    assert_eq!((secret.findings[0].kind, secret.is_settled), (FindingKind::SecretMissing, true));
    let disk = diagnose(&Workload::default(), &[with("timed out waiting for the condition")], after(20));
    assert_eq!((disk.findings[0].kind, disk.is_settled), (FindingKind::DependencyUnavailable, false));
}

#[test]
fn a_worker_is_believed_what_it_says_of_itself() {
    let own = vec![Finding::deterministic(FindingKind::ArtifactInvalid, "no model")];
    let text = serde_json::to_string(&own).unwrap();
    let diagnosis = diagnose(&Workload::default(), &[died("Error", 1, &text, 0)], after(1));
    assert_eq!(diagnosis.findings[0].kind, FindingKind::ArtifactInvalid);
    assert!(diagnosis.is_settled, "it will say the same again");
}

#[test]
fn workers_that_fail_alike_are_one_finding_with_the_evidence_of_all() {
    let pods = [died("OOMKilled", 137, "", 1), Pod { name: "other".into(), ..died("OOMKilled", 137, "", 2) }];
    let diagnosis = diagnose(&Workload::default(), &pods, after(1));
    assert_eq!(diagnosis.findings.len(), 1);
    assert!(diagnosis.findings[0].evidence.contains(&"pod:other".to_owned()), "{diagnosis:?}");
}

#[test]
fn the_constraint_that_keeps_it_from_a_node_is_named() {
    for (sentence, word) in [
        ("0/3 nodes are available: 3 Insufficient cpu.", "(processor time)"),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {a: b}.", "(taint)"),
        (
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            "(node selector or affinity)",
        ),
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", "(GPU)"),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "(volume)"),
    ] {
        let diagnosis = diagnose(&Workload::default(), &[unscheduled(sentence)], after(60));
        assert!(diagnosis.findings[0].message.contains(word), "{diagnosis:?}");
    }
}

#[test]
fn a_volume_that_is_not_there_is_no_matter_of_the_plan_in_whichever_words_of_the_scheduler() {
    for sentence in [
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
        r#"0/1 nodes are available: persistentvolumeclaim "models-0" not found."#,
        "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
        "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.",
        "0/1 nodes are available: 1 node(s) did not have enough free storage.",
        "0/1 nodes are available: 1 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s).",
        "0/1 nodes are available: 1 node(s) had no available volume zone.",
    ] {
        let early = diagnose(&Workload::default(), &[unscheduled(sentence)], after(60));
        assert!(!early.is_settled, "{sentence}");
        let late = diagnose(&Workload::default(), &[unscheduled(sentence)], after(120));
        let finding = &late.findings[0];
        assert_eq!((finding.kind, finding.cause), (FindingKind::DependencyUnavailable, Cause::Transient), "{sentence}");
        assert!(late.is_settled && finding.message.contains("(volume)"), "{late:?}");
    }
}

#[test]
fn a_cluster_that_has_promised_a_node_is_given_its_time() {
    let waits = Pod { warnings: vec![said("TriggeredScaleUp", "1->2")], ..unscheduled("Insufficient cpu") };
    assert!(!diagnose(&Workload::default(), std::slice::from_ref(&waits), after(200)).is_settled);
    assert!(diagnose(&Workload::default(), &[waits], after(300)).is_settled);
}

#[test]
fn who_ends_by_himself_while_starting_is_told_from_who_is_ended_for_it() {
    let unready = said("Unhealthy", "Startup probe failed: connection refused");
    for (code, kind) in [
        (1, FindingKind::Crashed),
        (101, FindingKind::Crashed),
        (0, FindingKind::StartTimeout),
        (137, FindingKind::StartTimeout),
    ] {
        let pod = Pod { warnings: vec![unready.clone()], ..died("Error", code, "", MAX_DEATHS) };
        let diagnosis = diagnose(&Workload::default(), &[pod], after(60));
        assert_eq!(diagnosis.findings[0].kind, kind, "exit code {code}");
    }
}

#[test]
fn what_a_node_puts_out_again_and_again_will_not_stay() {
    let out = |sentence: &str| Pod { reason: Some(said("Evicted", sentence)), phase: "Failed".into(), ..pod() };
    let pressed = |count| diagnose(&Workload::default(), &vec![out("low on resource: memory"); count], after(60));
    assert_eq!([1, 2, 3].map(|count| pressed(count).is_settled), [false, false, true]);
    let diagnosis =
        diagnose(&Workload::default(), &[out("local ephemeral storage usage exceeds the total limit")], after(0));
    let first = &diagnosis.findings[0];
    assert_eq!(
        (first.kind, first.cause, diagnosis.is_settled),
        (FindingKind::Misconfigured, Cause::Deterministic, true)
    );
}

#[test]
fn a_pod_that_is_too_small_for_its_first_process_lacks_memory() {
    let sentence = "container init was OOM-killed (memory limit too low?)";
    let pod = Pod { warnings: vec![said("FailedCreatePodSandBox", sentence)], ..waiting("ContainerCreating", "") };
    let diagnosis = diagnose(&Workload::default(), &[pod], after(0));
    assert_eq!((diagnosis.findings[0].kind, diagnosis.is_settled), (FindingKind::OutOfMemory, true));
}

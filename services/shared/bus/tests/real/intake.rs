//! The intake: signed, answered once, kept while no gate is up.

use super::support::{LONG, key};
use async_nats::{HeaderMap, Request};
use async_trait::async_trait;
use serde_json::{Value, json};
use slipway_bus::{
    Bus, Command, Credential, DutyError, Gate, IntakeAnswer, IntakeError, IntakeMessage, Principal, Verb,
};
use slipway_kernel::{Service, Slot};
use slipway_runtime::Frame;
use slipway_testkit::{NatsServer, eventually, frame};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

#[derive(Clone, Default)]
struct Double {
    seen: Arc<Mutex<Vec<IntakeMessage>>>,
    stumbles: Arc<Mutex<u32>>,
}

#[async_trait]
impl Gate for Double {
    async fn handle(&self, message: &IntakeMessage) -> Result<IntakeAnswer, DutyError> {
        self.seen.lock().unwrap().push(message.clone());
        {
            let mut stumbles = self.stumbles.lock().unwrap();
            if *stumbles > 0 {
                *stumbles -= 1;
                return Err(DutyError::transient(std::io::Error::other("the log is away")));
            }
        }
        match message.credential {
            Credential::Verified(_) => Ok(IntakeAnswer::accepted(&key("digits", Slot::Request, 0), "ok")),
            _ => Ok(IntakeAnswer::refused("unauthenticated", "sign it")),
        }
    }
}

async fn gate(server: &NatsServer) -> (Double, Frame) {
    let double = Double::default();
    let frame = frame(Service::Controller.into());
    let bus = server.bus_in(Service::Controller.into(), &frame).await;
    tokio::spawn({
        let (double, frame) = (double.clone(), frame.clone());
        async move { bus.intake().serve(&frame, double).await.unwrap() }
    });
    (double, frame)
}

fn command(id: &str) -> Command {
    Command {
        namespace: "default".parse().unwrap(),
        verb: Verb::Deploy,
        source: "test".to_owned(),
        id: id.to_owned(),
        data: json!({ "a": 1 }),
    }
}

async fn send(bus: &Bus, command: Command) -> IntakeAnswer {
    bus.intake().send(&command, LONG).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_demand_is_answered_and_its_repetition_changes_nothing() {
    let server = NatsServer::secured().await;
    let (gate, _frame) = gate(&server).await;
    let client = server.bus(Principal::Client).await;
    let first = send(&client, command("1")).await;
    assert_eq!(first.subject.as_deref(), Some("slipway.lifecycle.default.digits.1.0.request.0"));
    assert_eq!(send(&client, command("1")).await, first);
    {
        let seen = gate.seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        assert!(
            matches!(&seen[0].credential, Credential::Verified(key) if Some(&key.public) == client.identity().as_ref())
        );
        assert_eq!(seen[0].envelope.kind, "dev.slipway.deploy.v1");
    }
    let other = Command { data: json!({ "a": 2 }), ..command("1") };
    assert_eq!(send(&client, other).await.error.as_deref(), Some("id-reused"));
    let namespace = "default".parse().unwrap();
    assert_eq!(client.intake().answer(&namespace, "test", "1").await.unwrap(), Some(first));
    assert_eq!(client.intake().answer(&namespace, "test", "2").await.unwrap(), None);
    // The second way has nothing left to do.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(gate.seen.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demand_sent_while_no_gate_is_up_is_carried_out_later() {
    let server = NatsServer::secured().await;
    let client = server.bus(Principal::Client).await;
    let unanswered = client.intake().send(&command("1"), Duration::from_millis(300)).await;
    assert!(matches!(unanswered, Err(IntakeError::NoAnswer(_))));
    let (gate, _frame) = gate(&server).await;
    *gate.stumbles.lock().unwrap() = 1;
    let namespace = "default".parse().unwrap();
    let answer = eventually(LONG, || async { client.intake().answer(&namespace, "test", "1").await.unwrap() }).await;
    assert!(answer.accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_cannot_answer_for_somebodys_id() {
    let server = NatsServer::ready().await;
    let (gate, _frame) = gate(&server).await;
    // Without permissions there is no key, so nothing is signed.
    let client = server.bus(Principal::Client).await;
    assert_eq!(send(&client, command("1")).await.error.as_deref(), Some("unauthenticated"));
    let namespace = "default".parse().unwrap();
    assert_eq!(client.intake().answer(&namespace, "test", "1").await.unwrap(), None);
    assert!(gate.seen.lock().unwrap().iter().all(|message| message.credential == Credential::None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_demand_is_answered_with_a_named_error_and_dead_lettered() {
    let server = NatsServer::ready().await;
    let (gate, _frame) = gate(&server).await;
    let operator = server.bus(Principal::Operator).await;
    let foreign = async_nats::connect(server.url()).await.unwrap();
    let headers = |pairs: &[(&str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, *value);
        }
        headers
    };
    let binary = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "dev.slipway.deploy.v1")];
    let cases: [(&str, HeaderMap, &str); 6] = [
        ("slipway.intake.default.deploy", HeaderMap::new(), "malformed-event"),
        ("slipway.intake.default.deploy", headers(&binary[..3]), "malformed-event"),
        ("slipway.intake.default.retire", headers(&binary), "malformed-event"),
        ("slipway.intake.default.explode", headers(&binary), "unknown-verb"),
        ("slipway.intake.default.a.b", headers(&binary), "unknown-verb"),
        ("slipway.intake.Default.deploy", headers(&binary), "invalid-namespace"),
    ];
    for (n, (subject, headers, error)) in cases.into_iter().enumerate() {
        let request = Request::new().headers(headers).payload("{}".into()).timeout(Some(LONG));
        let answer = foreign.send_request(subject, request).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!((&answer["accepted"], &answer["error"]), (&json!(false), &json!(error)), "{subject}");
        eventually(LONG, || async { operator.dead().list().await.unwrap().len() == n + 1 }).await;
    }
    let letters = operator.dead().list().await.unwrap();
    assert!(letters.iter().all(|letter| letter.service == "controller"));
    let shown = operator.dead().show(letters[2].id).await.unwrap().unwrap();
    assert_eq!(shown.subject, "slipway.intake.default.retire");
    assert!(shown.headers.contains(&("ce-id".to_owned(), "1".to_owned())));
    assert_eq!(shown.payload.as_ref(), b"{}");
    // Sent through the same door again it comes back.
    assert!(operator.dead().redrive(letters[0].id).await.unwrap());
    eventually(LONG, || async {
        let now = operator.dead().list().await.unwrap();
        now.len() == 6 && now[5].id > letters[5].id
    })
    .await;
    assert!(gate.seen.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gates_give_one_answer() {
    let server = NatsServer::secured().await;
    let gates = [gate(&server).await, gate(&server).await];
    let client = server.bus(Principal::Client).await;
    for n in 0..20 {
        assert!(send(&client, command(&n.to_string())).await.accepted);
    }
    let seen: usize = gates.iter().map(|(gate, _)| gate.seen.lock().unwrap().len()).sum();
    assert!(seen >= 20, "{seen}");
}

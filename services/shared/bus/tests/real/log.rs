//! Writing facts: once, against a sequence, through restarts, and into a damaged log.

use super::support::{LONG, deployment, draft, key, recovered, request, requested};
use futures::future::join_all;
use slipway_bus::{AppendError, Bus, BusConfig, BusError, Content, Principal, Written, WrittenAgainst};
use slipway_kernel::{Answer, Measurement, Recovered, Service, Slot, Span};
use slipway_testkit::{NatsServer, eventually, frame};
use std::{fs, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_answer_one_is_stored_and_all_others_adopt_it() {
    let server = NatsServer::ready().await;
    let buses = join_all((0..8).map(|_| server.bus_as(Service::Observability))).await;
    for attempt in 0..25 {
        let key = key("digits", Slot::Degradation, attempt);
        let racing = buses.iter().enumerate().map(|(n, bus)| {
            let (log, key) = (bus.log(), key.clone());
            async move {
                let mut draft = draft(recovered());
                draft.actor = format!("racer-{n}");
                log.append(&key, draft).await.unwrap()
            }
        });
        let written: Vec<Written> = join_all(racing).await;
        let winners: Vec<&Written> = written.iter().filter(|written| written.is_mine()).collect();
        assert_eq!(winners.len(), 1, "attempt {attempt}");
        let winner = winners[0].fact();
        assert!(written.iter().all(|written| written.fact().id == winner.id && written.fact().actor == winner.actor));
    }
    let entries = buses[0].log().read(&deployment("digits")).await.unwrap();
    assert_eq!(entries.len(), 25);
    assert!(entries.iter().all(|entry| entry.content.fact().is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_write_is_refused_when_the_deployment_has_moved() {
    let server = NatsServer::ready().await;
    let log = server.bus_as(Service::Controller).await.log();
    let first = request(&log, "digits").await.into_fact();
    // Another deployment's facts do not count.
    request(&log, "other").await;
    let decide = |slot, last| {
        let log = log.clone();
        async move { log.append_against(&key("digits", slot, 0), draft(recovered()), last).await.unwrap() }
    };
    let stored = decide(Slot::Degradation, first.sequence).await;
    let WrittenAgainst::Stored(second) = stored else { panic!("{stored:?}") };
    let stale = log.append_against(&key("digits", Slot::Degradation, 1), draft(recovered()), first.sequence).await;
    assert_eq!(stale.unwrap(), WrittenAgainst::Moved);
    let again = log.append_against(&key("digits", Slot::Degradation, 0), draft(recovered()), second.sequence).await;
    assert!(matches!(again.unwrap(), WrittenAgainst::Adopted(fact) if fact.id == second.id));
    let new = log.append_against(&key("fresh", Slot::Request, 0), draft(requested("fresh")), 0).await;
    assert!(matches!(new.unwrap(), WrittenAgainst::Stored(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rival_decisions_on_the_same_fold_exactly_one_stands() {
    let server = NatsServer::ready().await;
    let buses = join_all((0..4).map(|_| server.bus_as(Service::Controller))).await;
    let mut last = request(&buses[0].log(), "digits").await.into_fact().sequence;
    for round in 0..20 {
        let racing = buses.iter().enumerate().map(|(n, bus)| {
            let log = bus.log();
            // Each rival answers another question, so no slot could order them.
            let key = key("digits", Slot::Degradation, round * 10 + u32::try_from(n).unwrap());
            async move { log.append_against(&key, draft(recovered()), last).await.unwrap() }
        });
        let outcomes = join_all(racing).await;
        let stored: Vec<u64> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                WrittenAgainst::Stored(fact) => Some(fact.sequence),
                WrittenAgainst::Adopted(_) => panic!("nobody else answers this"),
                WrittenAgainst::Moved => None,
            })
            .collect();
        assert_eq!(stored.len(), 1, "round {round}");
        last = stored[0];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_is_repeated_until_the_broker_is_back_and_stored_once() {
    let mut server = NatsServer::ready().await;
    let log = server.bus_as(Service::Observability).await.log();
    let config = server.config(Principal::Service(Service::Observability));
    let config = BusConfig { request_timeout: Span::millis(300), ..config };
    let impatient =
        Bus::connect(&config, Service::Observability.into(), &frame(Service::Observability.into())).await.unwrap();
    server.kill9().await;
    let writing = (0..5).map(|attempt| {
        let log = impatient.log();
        async move { log.append(&key("digits", Slot::Degradation, attempt), draft(recovered())).await }
    });
    let guarded = {
        let log = impatient.log();
        async move { log.append_against(&key("other", Slot::Request, 0), draft(requested("other")), 0).await }
    };
    let back = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        server.restart().await;
    };
    let (written, guarded, ()) = tokio::join!(join_all(writing), guarded, back);
    for written in written {
        assert!(written.unwrap().is_mine());
    }
    assert!(matches!(guarded.unwrap(), WrittenAgainst::Stored(_)));
    let entries = eventually(LONG, || async { log.read(&deployment("digits")).await }).await;
    assert_eq!(entries.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stays_away_is_unknown_and_not_no() {
    let mut server = NatsServer::ready().await;
    let log = server.bus_as(Service::Observability).await.log();
    server.stop().await;
    let error = log.append(&key("digits", Slot::Degradation, 0), draft(recovered())).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable { waited, .. } if waited >= Duration::from_secs(20)), "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_belong_into_the_log_is_refused_before_it_is_sent() {
    let server = NatsServer::ready().await;
    let log = server.bus_as(Service::Observability).await.log();
    let misplaced = log.append(&key("digits", Slot::Validation, 0), draft(recovered())).await;
    assert!(matches!(misplaced, Err(AppendError::Misplaced { .. })));
    let mut large = draft(recovered());
    large.actor = "x".repeat(300 << 10);
    let large = log.append(&key("digits", Slot::Degradation, 0), large).await;
    assert!(matches!(large, Err(AppendError::TooLarge { .. })));
    // The largest that passes is also the largest the stream takes.
    let name = "x".repeat((256 << 10) - 1_500);
    let measurement = Measurement { name, value: 1.0, unit: "ms".to_owned() };
    let just = draft(Answer::Recovered(Recovered { measurements: vec![measurement] }));
    assert!(log.append(&key("digits", Slot::Degradation, 0), just).await.unwrap().is_mine());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_reads_every_fact_with_its_digest() {
    let server = NatsServer::ready().await;
    let log = server.bus_as(Service::SinkWriter).await.log();
    for n in 0..300 {
        request(&log, &format!("d{n}")).await;
    }
    let mut digests = Vec::new();
    let last = log.read_all(1, |entry| digests.push(entry.digest)).await.unwrap();
    assert_eq!((last, digests.len()), (300, 300));
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 300);
    let mut late = 0;
    log.read_all(251, |_| late += 1).await.unwrap();
    assert_eq!(late, 50);
    let state = log.state().await.unwrap();
    assert_eq!((state.first, state.last, state.messages), (1, 300, 300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_is_found_by_its_key_with_all_its_attributes() {
    let server = NatsServer::ready().await;
    let log = server.bus_as(Service::Controller).await.log();
    let cause = key("digits", Slot::Validation, 0);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut written = draft(requested("digits")).caused_by(&cause);
    written.traceparent = Some(trace.to_owned());
    written.actor = "Zoë".to_owned();
    log.append(&key("digits", Slot::Request, 0), written).await.unwrap();
    let entry = log.get(&key("digits", Slot::Request, 0)).await.unwrap().unwrap();
    let Content::Fact(fact) = entry.content else { panic!("{entry:?}") };
    assert_eq!(fact.actor, "Zoë");
    assert_eq!(fact.correlation, "correlation");
    assert_eq!(fact.causation, Some(cause.to_string()));
    assert_eq!(fact.traceparent.as_deref(), Some(trace));
    assert!(entry.raw.headers.iter().any(|(name, value)| name == "ce-source" && value == "slipway/controller"));
    assert!(entry.raw.headers.iter().any(|(name, value)| name == "content-type" && value == "application/json"));
    assert!(log.get(&key("digits", Slot::End, 0)).await.unwrap().is_none());
}

/// One bit in a block file, as a disk may do it: the broker counts the fact, refuses another, and cannot read it.
#[tokio::test(flavor = "multi_thread")]
async fn a_taken_subject_with_nothing_to_read_is_an_alarm_and_stops_that_deployment() {
    let mut server = NatsServer::ready().await;
    let bus = server.bus_as(Service::Observability).await;
    for attempt in 0..50 {
        bus.log().append(&key("digits", Slot::Degradation, attempt), draft(recovered())).await.unwrap();
    }
    server.stop().await;
    flip_a_bit_of(&server, "slipway.lifecycle.default.digits.1.1.degradation.20");
    server.restart().await;
    let damaged = eventually(LONG, || async {
        match bus.log().append(&key("digits", Slot::Degradation, 20), draft(recovered())).await {
            Err(error @ AppendError::Unavailable { .. }) => Err(error),
            other => Ok(other),
        }
    })
    .await;
    assert!(matches!(damaged, Err(AppendError::Damaged { .. })), "{damaged:?}");
    let flags = bus.flags().list().await.unwrap();
    assert!(flags[&deployment("digits")].reason.contains("degradation.20"));
}

/// Changes one bit of the data of the message with this subject.
fn flip_a_bit_of(server: &NatsServer, subject: &str) {
    let blocks = server.dir().join("store/jetstream/$G/streams/LIFECYCLE/msgs");
    for file in fs::read_dir(blocks).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "blk") {
            let mut bytes = fs::read(&file).unwrap();
            let at = bytes.windows(subject.len()).position(|window| window == subject.as_bytes());
            if let Some(at) = at {
                bytes[at + subject.len() + 40] ^= 1;
                fs::write(&file, bytes).unwrap();
                return;
            }
        }
    }
    panic!("no block has {subject}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_the_log_is_told_from_one_that_refuses() {
    let server = NatsServer::start().await;
    let bus = server.bus(Principal::Operator).await;
    assert!(matches!(bus.probe().await, Err(BusError::Refused { code: 10_059, .. })));
}

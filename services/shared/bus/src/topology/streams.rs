//! The streams. A limit without a reason is a bug.

use super::subjects;
use async_nats::jetstream::stream::{Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType};
use std::time::Duration;

const KIB: i32 = 1 << 10;
const MIB: i64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The largest fact, envelope included. Manifests and reports are blobs; a fact has their digest.
pub const MAX_FACT_BYTES: usize = 256 << 10;
/// The most of a queued request or a recorded result that one message holds. Larger requests lie apart, larger results in parts.
pub const MAX_INFERENCE_BYTES: usize = 4 << 20;
/// The largest message of all: what `max_payload` of the broker must allow at least.
pub const MAX_MESSAGE_BYTES: usize = 6 << 20;
/// The largest answer to a client, its headers aside: they have room for two dozen of the size of an id.
pub const MAX_REPLY_BYTES: usize = MAX_MESSAGE_BYTES - (64 << 10);
/// How many requests may wait for one revision, so also how many a rollback moves at the most. At a slow worker's 20 a second, the last
/// of them waits eight minutes: a request left in a queue has ten, unless it says otherwise. At the usual kilobyte they are 10 MiB.
pub const MAX_QUEUED_REQUESTS: i64 = 10_000;

/// How many requests may wait at the door of one deployment until a replica of the ingress has passed them on: as many as its revision may
/// have waiting behind it. They are there for milliseconds, unless that queue is full or nothing of the deployment is released yet.
pub const MAX_INBOUND_REQUESTS: i64 = MAX_QUEUED_REQUESTS;
/// How many may wait at all doors: ten deployments may stand still with full doors before others find theirs closed.
pub(super) const MAX_INBOUND_IN_ALL: i64 = 10 * MAX_INBOUND_REQUESTS;

/// How many revisions may have a queue at once. The broker's own bound is 1,000 consumers a stream, and cannot be raised later; a
/// consumer takes about 50 KiB of its memory.
const MAX_QUEUES: i32 = 10_000;

/// The streams of Slipway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// The log: the only truth about a deployment.
    Lifecycle,
    /// What people, CI and custom resources sent, until the gate has dealt with it.
    Intake,
    /// What the gate answered: the idempotency record of the intake.
    IntakeAnswers,
    /// Requests that clients left, until an ingress has passed them to a revision.
    Inbound,
    /// Requests that wait for a worker.
    Requests,
    /// Results that can be asked for, recorded before the client has them.
    Results,
    /// Results on their way to the outputs, in batches, recorded after the client had them.
    Captures,
    /// What could not be handled, with the reason.
    Dead,
}

impl StreamName {
    /// Every stream.
    pub const ALL: [Self; 8] = [
        Self::Lifecycle,
        Self::Intake,
        Self::IntakeAnswers,
        Self::Inbound,
        Self::Requests,
        Self::Results,
        Self::Captures,
        Self::Dead,
    ];

    /// The name at the broker.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lifecycle => "LIFECYCLE",
            Self::Intake => "INTAKE",
            Self::IntakeAnswers => "INTAKE_ANSWERS",
            Self::Inbound => "INBOUND",
            Self::Requests => "REQUESTS",
            Self::Results => "RESULTS",
            Self::Captures => "CAPTURES",
            Self::Dead => "DEAD",
        }
    }

    /// Its configuration with `replicas` copies.
    #[must_use]
    pub fn config(self, replicas: usize) -> Config {
        let config = match self {
            Self::Lifecycle => lifecycle(),
            Self::Intake => intake(),
            Self::IntakeAnswers => intake_answers(),
            Self::Inbound => inbound(replicas),
            Self::Requests => requests(replicas),
            Self::Results => results(replicas),
            Self::Captures => captures(replicas),
            Self::Dead => dead(),
        };
        Config { name: self.as_str().to_owned(), num_replicas: replicas, storage: StorageType::File, ..config }
    }
}

/// Three copies are made durable by the other two; only a single one must not answer before the disk has it, so only there
/// may a stream whose loss is bearable (power loss: the last moments) trade that for a fifth of the time. R3 refuses it (10052).
pub(super) fn persist_mode(replicas: usize) -> Option<PersistenceMode> {
    (replicas == 1).then_some(PersistenceMode::Async)
}

fn lifecycle() -> Config {
    Config {
        description: Some("facts, each written once".to_owned()),
        subjects: vec![subjects::LIFECYCLE.to_owned()],
        // One answer per question: the second is refused with 10077, whoever sends it.
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        // Since 2.14 a rollup passes the limit above.
        allow_rollup: false,
        // Nothing deletes single facts: a bad one is annulled, and a damaged log is written anew, never healed in place. That
        // this cannot be taken back is therefore what is wanted. Purging stays possible: the archiver needs it.
        deny_delete: true,
        deny_purge: false,
        // Facts carry no Nats-Msg-Id, since a used id swallows a different fact with a success. The window cannot be off; this is
        // the shortest there is.
        duplicate_window: Duration::from_millis(100),
        max_message_size: 256 * KIB,
        // Reading one subject without a consumer, confined by permissions to that subject.
        allow_direct: true,
        // No age, count or size: facts are kept until they are archived. About 0.5 KB each; a million are read back in seconds.
        ..Config::default()
    }
}

fn intake() -> Config {
    Config {
        description: Some("demands, kept until a gate has dealt with them".to_owned()),
        subjects: vec![subjects::INTAKE.to_owned()],
        // A requester's reply subject is answered by the gate, with the outcome, not by the stream with a sequence.
        no_ack: true,
        // A demand that no gate has dealt with for a day is not what its sender wants any more.
        max_age: DAY,
        // A thousand of the largest; a flood of foreign messages ends here, the oldest go first.
        max_bytes: 256 * MIB,
        discard: DiscardPolicy::Old,
        // What the gate accepts becomes a fact.
        max_message_size: 256 * KIB,
        duplicate_window: Duration::from_millis(100),
        ..Config::default()
    }
}

fn intake_answers() -> Config {
    Config {
        description: Some("what the gate answered, once per source and id".to_owned()),
        subjects: vec![subjects::INTAKE_ANSWERS.to_owned()],
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        // A sender that repeats itself does so within a month; the fact itself remembers source and id for good.
        max_age: Duration::from_secs(30 * 24 * 3_600),
        max_bytes: 256 * MIB,
        max_message_size: 64 * KIB,
        duplicate_window: Duration::from_millis(100),
        // Clients read their answer by its subject: the one read that permissions can confine.
        allow_direct: true,
        ..Config::default()
    }
}

fn inbound(replicas: usize) -> Config {
    Config {
        description: Some("requests that clients left, until an ingress has passed them to a revision".to_owned()),
        subjects: vec![subjects::INBOUND.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        // The bound of each deployment's door: past it a publish is refused (10077), and its sender knows that nothing was taken.
        max_messages_per_subject: MAX_INBOUND_REQUESTS,
        max_messages: MAX_INBOUND_IN_ALL,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        // Each has a deadline, and is refused with a reason when it is over; only where no ingress runs for a day is that said by nobody.
        max_age: DAY,
        // Sixty of the largest, or all there may be at the usual kilobyte with its headers. The broker has no bound in bytes per subject,
        // so large requests for one deployment may take all of it; and it sets all of it aside on the disk, so it is no more.
        max_bytes: 256 * MIB,
        // Headers come on top of the payload.
        max_message_size: (4_096 + 64) * KIB,
        // The broker compares message ids over all deployments: two clients that both count from 1 would take each other's requests for
        // repetitions, and be told of success. What a client repeats is found by its id among the accepted requests instead. The
        // window cannot be off; this is the shortest there is.
        duplicate_window: Duration::from_millis(100),
        persist_mode: persist_mode(replicas),
        ..Config::default()
    }
}

fn requests(replicas: usize) -> Config {
    Config {
        description: Some("requests that wait for a worker of their revision".to_owned()),
        subjects: vec![subjects::REQUESTS.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        max_consumers: MAX_QUEUES,
        // The bound of each revision's queue: past it a publish is refused (10077), the client gets 429. No revision can fill
        // the queue of another.
        max_messages_per_subject: MAX_QUEUED_REQUESTS,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        // Deadlines are minutes; what waited an hour is late for everybody.
        max_age: HOUR,
        max_bytes: 1_024 * MIB,
        // Headers come on top of the payload.
        max_message_size: (4_096 + 64) * KIB,
        // A publish that is repeated after its timeout (5 s) is one request (id: deployment, revision, request). Later than that it may be
        // computed twice, and has its effect once; each id that is remembered costs the broker a hundred bytes.
        duplicate_window: Duration::from_secs(15),
        persist_mode: persist_mode(replicas),
        ..Config::default()
    }
}

fn results(replicas: usize) -> Config {
    Config {
        description: Some("results that can be asked for, recorded before the client has them".to_owned()),
        subjects: [subjects::RESULTS, subjects::RESULT_PARTS, subjects::FENCES].map(str::to_owned).into(),
        // One result per request id: a redelivered request cannot answer twice.
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        // As long as an asynchronous request may be asked for.
        max_age: DAY,
        // The sink-writer trims what it has written long before this is full; when it cannot write, this much waits for it (a million
        // small results), then workers answer 503.
        max_bytes: 512 * MIB,
        // Headers come on top of the payload.
        max_message_size: (4_096 + 64) * KIB,
        duplicate_window: Duration::from_millis(100),
        allow_direct: true,
        persist_mode: persist_mode(replicas),
        ..Config::default()
    }
}

fn captures(replicas: usize) -> Config {
    Config {
        description: Some("results of answered requests, until the outputs have them".to_owned()),
        subjects: vec![subjects::CAPTURES.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        // The outputs of one deployment may stand still this long before its results are shed and no other's: a quarter of an hour at
        // a hundred batches a second, which is how many there are from about that many requests a second on.
        max_messages_per_subject: 100_000,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        // A database that was away over a long weekend still gets them.
        max_age: Duration::from_secs(7 * 24 * 3_600),
        // Some two million small results. The broker sets all of it aside on the disk, so it is no more.
        max_bytes: 1_024 * MIB,
        // One result of the largest size, or many small ones.
        max_message_size: (4_096 + 64) * KIB,
        duplicate_window: Duration::from_millis(100),
        persist_mode: persist_mode(replicas),
        ..Config::default()
    }
}

fn dead() -> Config {
    Config {
        description: Some("what could not be handled, with the reason".to_owned()),
        subjects: vec![subjects::DEAD.to_owned()],
        // A month for a person to look; then the oldest go, and first if there is a flood.
        max_age: Duration::from_secs(30 * 24 * 3_600),
        max_bytes: 256 * MIB,
        discard: DiscardPolicy::Old,
        // A queued request with its headers, and ours.
        max_message_size: 5_120 * KIB,
        duplicate_window: Duration::from_secs(120),
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_written_once_and_cannot_be_rolled_up() {
        let log = StreamName::Lifecycle.config(3);
        assert_eq!((log.max_messages_per_subject, log.discard_new_per_subject), (1, true));
        assert_eq!(log.discard, DiscardPolicy::New);
        assert!(!log.allow_rollup && log.deny_delete && !log.deny_purge);
        assert_eq!(usize::try_from(log.max_message_size).unwrap(), MAX_FACT_BYTES);
        assert_eq!(log.persist_mode, None);
    }

    #[test]
    fn only_inference_on_one_server_answers_before_the_disk() {
        for stream in StreamName::ALL {
            assert_eq!(stream.config(3).persist_mode, None, "{stream:?}");
            let inference = matches!(
                stream,
                StreamName::Inbound | StreamName::Requests | StreamName::Results | StreamName::Captures
            );
            assert_eq!(stream.config(1).persist_mode.is_some(), inference, "{stream:?}");
        }
    }

    #[test]
    fn every_stream_but_the_log_has_a_bound() {
        for stream in StreamName::ALL {
            let config = stream.config(1);
            assert!(config.max_message_size > 0 && !config.subjects.is_empty(), "{stream:?}");
            if stream != StreamName::Lifecycle {
                assert!(config.max_bytes > 0 && !config.max_age.is_zero(), "{stream:?}");
            }
        }
    }
}

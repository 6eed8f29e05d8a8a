//! The buckets: small tables that each have one writer per key and a lifetime.

use super::streams::persist_mode;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use slipway_kernel::Namespace;
use std::time::Duration;

const MIB: i64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How long a worker that says nothing is still believed. It renews each 3 s: two renewals may be lost.
pub const WORKER_TTL: Duration = Duration::from_secs(10);
/// How long an ingress replica that says nothing is still waited for. It reports each 5 s: two reports may be lost.
pub const ROUTE_TTL: Duration = Duration::from_secs(15);
/// How long what is wrong with workers is still believed when nobody says it any more. It is said each 5 s: two may be lost.
const TROUBLE_TTL: Duration = Duration::from_secs(15);
/// How long the marker of an expired or deleted key stays, so that who was away for a moment still hears of it.
const MARKER_TTL: Duration = Duration::from_secs(60);
/// The object store of artifacts, manifests and reports.
pub const BLOBS: &str = "slipway-blobs";
/// The object store of what is too large for the message of a queued request.
pub const PAYLOADS: &str = "slipway-payloads";
/// How long a payload is kept at most: as long as its request may wait, and as long again if it is moved to another revision.
const PAYLOAD_AGE: Duration = Duration::from_secs(2 * 3_600);
/// How much may lie there, of all queued requests and of the clients of each namespace: fifty of 5 MiB, three of the largest.
/// The broker sets all of it aside on the disk.
const PAYLOADS_BYTES: i64 = 256 * MIB;

/// The buckets of Slipway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Who may act on the world, and under which fencing token.
    Leases,
    /// Which inference workers live, and where.
    Workers,
    /// Which of them are not as they should be.
    Troubles,
    /// Which part of the log each ingress replica routes by.
    Routes,
    /// Certificate requests and what was issued.
    Identities,
    /// Hashed API keys per deployment.
    ApiKeys,
    /// Accepted asynchronous requests.
    Accepted,
    /// Deployments that nobody may act on.
    Flags,
}

impl Bucket {
    /// Every bucket.
    pub const ALL: [Self; 8] = [
        Self::Leases,
        Self::Workers,
        Self::Troubles,
        Self::Routes,
        Self::Identities,
        Self::ApiKeys,
        Self::Accepted,
        Self::Flags,
    ];

    /// The bucket's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leases => "slipway-leases",
            Self::Workers => "slipway-workers",
            Self::Troubles => "slipway-troubles",
            Self::Routes => "slipway-routes",
            Self::Identities => "slipway-identities",
            Self::ApiKeys => "slipway-api-keys",
            Self::Accepted => "slipway-requests",
            Self::Flags => "slipway-flags",
        }
    }

    /// The stream that carries it.
    #[must_use]
    pub fn stream(self) -> String {
        format!("KV_{}", self.as_str())
    }

    /// How long an entry lives; `None`: until it is removed (leases: each entry says so itself).
    #[must_use]
    pub const fn max_age(self) -> Option<Duration> {
        match self {
            Self::Workers => Some(WORKER_TTL),
            Self::Troubles => Some(TROUBLE_TTL),
            Self::Routes => Some(ROUTE_TTL),
            // A process asks again when it starts and long before its certificate ends; nothing here is needed for longer.
            Self::Identities => Some(Duration::from_secs(7 * 24 * 3_600)),
            // As long as a result can be asked for.
            Self::Accepted => Some(DAY),
            Self::Leases | Self::ApiKeys | Self::Flags => None,
        }
    }

    /// How large the bucket may become: a bound against a runaway writer, far above what is needed.
    const fn max_bytes(self) -> i64 {
        match self {
            Self::Accepted => 256 * MIB,
            // A sentence for each revision that has trouble.
            Self::Troubles => 8 * MIB,
            Self::Leases | Self::Workers | Self::Routes | Self::Identities | Self::ApiKeys | Self::Flags => 64 * MIB,
        }
    }

    /// Its configuration with `replicas` copies.
    #[must_use]
    pub fn config(self, replicas: usize) -> Config {
        let max_age = self.max_age().unwrap_or_default();
        Config {
            name: self.stream(),
            subjects: vec![format!("$KV.{}.>", self.as_str())],
            // The last value is the value; who needs history reads the log.
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            max_age,
            max_bytes: self.max_bytes(),
            // Certificates with their chains are the largest values.
            max_message_size: 128 << 10,
            // Writers guard themselves by revision; the window only costs memory.
            duplicate_window: Duration::from_millis(100),
            allow_message_ttl: true,
            subject_delete_marker_ttl: Some(MARKER_TTL),
            storage: StorageType::File,
            num_replicas: replicas,
            persist_mode: if self.is_said_again() { persist_mode(replicas) } else { None },
            ..Config::default()
        }
    }

    /// Whether each entry is written anew every few seconds by its owner: what a power loss takes from it is back before its lifetime is
    /// over, so nobody has to wait for the disk. A lease is no such entry, as its sequence must never be given again.
    const fn is_said_again(self) -> bool {
        match self {
            Self::Workers | Self::Troubles | Self::Routes => true,
            Self::Leases | Self::Identities | Self::ApiKeys | Self::Accepted | Self::Flags => false,
        }
    }
}

/// The stream under the object store of artifacts, manifests and reports.
#[must_use]
pub(super) fn blobs_config(replicas: usize) -> Config {
    // No bound of its own: blobs live as long as the facts that name them, and the disk is the limit.
    Config {
        description: Some("artifacts, manifests, reports: named by their digest".to_owned()),
        ..objects_config(BLOBS, replicas)
    }
}

/// The stream under an object store for payloads: that of queued requests, or that of the clients of a namespace.
#[must_use]
pub(super) fn payloads_config(bucket: &str, replicas: usize) -> Config {
    Config {
        description: Some("what is too large for the messages of requests".to_owned()),
        max_age: PAYLOAD_AGE,
        max_bytes: PAYLOADS_BYTES,
        // As the requests themselves.
        persist_mode: persist_mode(replicas),
        ..objects_config(bucket, replicas)
    }
}

/// A stream in the form that the libraries give an object store.
fn objects_config(bucket: &str, replicas: usize) -> Config {
    Config {
        name: objects_stream(bucket),
        subjects: vec![format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")],
        // Full, it refuses, and nothing names what was not put.
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        storage: StorageType::File,
        duplicate_window: Duration::from_millis(100),
        num_replicas: replicas,
        ..Config::default()
    }
}

/// The object store in which the clients of a namespace put what is too large for their messages.
#[must_use]
pub fn uploads(namespace: &Namespace) -> String {
    format!("slipway-uploads-{namespace}")
}

/// The name of the stream under an object store.
#[must_use]
pub fn objects_stream(bucket: &str) -> String {
    format!("OBJ_{bucket}")
}

//! Every bound of the door that is not a key of the configuration, with its arithmetic.

use std::time::Duration;

/// Bytes of a request's headers (HTTP/1: with the request line). Two 4 KiB tokens and the usual company fit twice over. The server
/// itself keeps up to 64 KiB before it gives up: 256 MiB if 4,096 connections all do that.
pub const HEADER_BYTES: usize = 16 * 1024;

/// Fields of a request's headers. Browsers behind two proxies send about forty.
pub const HEADER_COUNT: usize = 100;

/// Streams one HTTP/2 connection may have open: above the concurrency of one busy client, far below what one connection
/// would need to fill the door alone (1,024 in flight).
pub const STREAMS_PER_CONNECTION: u32 = 250;

/// What a worker may send of one answer before it is read: an answer of the usual size needs no second round trip.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// A request, and an answer, of at most this size shares a stream with others. Sent at a gigabit, 64 KiB delay what is behind them by
/// half a millisecond; above, what a call of its own costs is little beside its bytes.
pub const STREAMED_BYTES: usize = 64 * 1024;

/// The same for all answers on one connection to a worker: four large ones do not wait for each other, and a hundred workers
/// hold 400 MiB at the very most.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// How long the end of a connection waits for the client's own end, throwing away what still comes: long enough for a body on its way
/// to be sent, on a good line; one held on purpose counts among the connections meanwhile.
pub const LINGER: Duration = Duration::from_secs(2);

/// How long one write to a client may make no progress. A reader slower than one TCP window in 30 s holds memory for
/// nothing; a mobile client in a tunnel reconnects sooner.
pub const WRITE_STALL: Duration = Duration::from_secs(30);

/// How long a request may take at most, whatever `slipway-timeout-ms` says: the range of `spec.inputs.http.timeout`.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// Length of `Prefer`, `Idempotency-Key` and the like that is looked at.
pub const HEADER_VALUE_BYTES: usize = 256;

/// A body is decoded on the async threads up to this size, above it on a blocking thread. Measured at about 300 MB/s, 256 KiB
/// is below one millisecond, which is what a neighbour may have to wait.
pub const DECODE_INLINE_BYTES: usize = 256 * 1024;

/// A packed body is unpacked on the async threads up to this size, above it on a blocking thread. Packed a thousandfold, the most
/// there is, 16 KiB are 16 MiB and some 20 ms; at the usual ratio of three they are 100 microseconds.
pub const UNPACK_INLINE_BYTES: usize = 16 * 1024;

/// Body memory is counted in blocks of this size, so that counting costs little and waste stays below one block per request.
pub const BODY_BLOCK_BYTES: usize = 16 * 1024;

/// The largest message to or from a worker: a body of the largest size whose tensors are bytes. Numbers as text may be too many for it.
pub const MESSAGE_BYTES: usize = slipway_bus::MAX_PAYLOAD_BYTES;

/// How long a message of gRPC may take to arrive. Whose it is stands in the message, so no deployment's own figure can hold; it is
/// their usual one.
pub const MESSAGE_ARRIVAL: Duration = Duration::from_secs(30);

/// Requests to a worker that are sent as calls of their own after one was answered with more than [`STREAMED_BYTES`]: a model that answers
/// large meets the stream once in so many, and one that did so once is back on it soon.
pub const AFTER_A_LARGE_ANSWER: u32 = 1_000;

/// WebSockets at once: a quarter of the usual connections. Each may hold as many requests under way as a stream of gRPC; all of
/// them share the places of their deployment.
pub const WEBSOCKETS: usize = 1_024;

/// How long it may take to find out what is served to a caller: three issuers that do not answer, one after the other.
pub const INDEX: Duration = Duration::from_secs(10);

/// Most bytes of what is asked of the index: a wish in a few words.
pub const INDEX_BYTES: usize = 4 * 1024;

/// Requests left over NATS that one replica has in hand: of the largest, 128 MiB, besides what `limits.body_memory` counts. Each takes two
/// round trips to the broker, so that at a millisecond a trip 16,000 a second are passed on.
pub const INBOUND_AT_ONCE: usize = 32;

/// How long a request left over NATS waits before it is tried again, doubled each time up to the second figure. A door full of requests for a
/// deployment that stands still is then read every half minute: 330 messages a second.
pub const INBOUND_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// How old a request left over NATS must be before it is believed that its deployment is not there: replicas learn of a deployment within
/// milliseconds, or after a reconnect within a few seconds.
pub const INBOUND_GRACE: Duration = Duration::from_secs(10);

/// Results that leave in one batch: at a few microseconds each to write, a few milliseconds for the sink-writer.
pub const CAPTURE_RESULTS: usize = 1_000;

/// Bytes of one batch, unless one result alone has more: large enough to make the broker's share of each result small.
pub const CAPTURE_BYTES: usize = 512 * 1024;

/// How long the first result of a batch waits for others. A row is seen in its output this much later; at a thousand requests a
/// second forty of them share one message. With 10 ms the broker took 8 us of each at thirty thousand a second, with this it takes 4.
pub const CAPTURE_LINGER: Duration = Duration::from_millis(40);

/// Callers that are told apart per deployment by the rate limit. An entry is about 100 bytes: 1 MiB per deployment. Entries
/// that are full again are dropped first; beyond that, new callers share one allowance.
pub const RATE_CALLERS: usize = 10_000;

/// Requests that may wait for a permit, for each that has one. At a mean of 10 ms per request the last one waits 10 ms.
pub const WAITING_PER_PERMIT: usize = 1;

/// Tries of one request at workers that seemed well. A worker that is killed costs one, its successor that dies at once another.
pub const TRIES: u32 = 6;

/// Retries a deployment may do at once beyond the share below: a killed worker with a full house of 256 requests in flight
/// makes 256 at the same moment.
pub const RETRY_RESERVE: u32 = 512;

/// Retries earned per request, in percent. The usual fifth: enough for a bad worker in five, too little for a storm.
pub const RETRY_PERCENT: u32 = 20;

/// Retries earned per second without traffic, so that an idle deployment has its reserve back after 25 s.
pub const RETRIES_PER_SECOND: u32 = 20;

/// Requests that may be sent to a second worker at once, beyond the share below: as many as wait when one of two workers pauses.
pub const HEDGE_RESERVE: u32 = 32;

/// Second workers earned per request, in percent. Asking after the time that one request in twenty exceeds needs no more, and a deployment
/// that is slow as a whole must not be asked twice for everything.
pub const HEDGE_PERCENT: u32 = 5;

/// How long a worker is passed over after its connection failed; doubles with each further failure up to the second figure.
/// The first is about the time a local process takes to be started again, the second bounds how late a return is noticed.
pub const EJECTION: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// `Retry-After` where nothing better is known.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Time from the arrival of a request to the answer that refuses its credential, whichever check refused it: above what the
/// slowest check (RSA 8192) takes, so that the answer's time tells nothing.
pub const REFUSAL_AFTER: Duration = Duration::from_millis(5);

/// Bytes of a token. Real ones with many groups have 4 KiB; the header bound holds anyway.
pub const TOKEN_BYTES: usize = 8 * 1024;

/// Tolerance between the issuer's clock and ours; fault row 27 allows 60 s at most.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(60);

/// The longest life of a token from now. Access tokens live minutes to hours; a month covers those of machines, and a token
/// without end (year 9999) is a mistake.
pub const TOKEN_LIFE: Duration = Duration::from_secs(31 * 24 * 3_600);

/// A set of keys: its bytes, its entries.
pub const JWKS_BYTES: usize = 256 * 1024;

/// See [`JWKS_BYTES`].
pub const JWKS_KEYS: usize = 64;

/// How old a set of keys may be before it is fetched anew in the background: issuers publish a key long before its use.
pub const JWKS_FRESH: Duration = Duration::from_secs(300);

/// How old a set of keys may become while its issuer cannot be reached. A day: longer than any outage one waits through,
/// short enough that a key withdrawn in an emergency dies.
pub const JWKS_STALE: Duration = Duration::from_secs(24 * 3_600);

/// The least time between two fetches of one set, so that a flood of unknown key ids makes six a minute.
pub const JWKS_PAUSE: Duration = Duration::from_secs(10);

/// How long one fetch may take; a request waits for it at most this long.
pub const JWKS_FETCH: Duration = Duration::from_secs(3);

/// How long the proof for `ingress-ready` is tried before it fails as transient: identities come from security in parallel,
/// and within the 60 s after which the validator stops waiting there is room for one more attempt.
pub const PROOF: Duration = Duration::from_secs(30);

/// How long the replicas of the door may take to report that they serve what is proved. A report is due every 5 s and at once
/// after a change; three missed reports end a replica's entry.
pub const REPLICAS: Duration = Duration::from_secs(15);

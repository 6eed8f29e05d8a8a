//! The broker's times as kernel timestamps, and RFC 3339 as CloudEvents writes it.

use async_nats::datetime::DateTime;
use slipway_kernel::Timestamp;
use std::time::Duration;

/// A broker time in milliseconds; times before 1970 are 0.
pub(crate) fn from_broker(time: DateTime) -> Timestamp {
    let millis = time.unix_timestamp_nanos() / 1_000_000;
    Timestamp(u64::try_from(millis).unwrap_or(0))
}

/// A broker time as finely as the broker tells it, since 1970; times before it are zero.
pub(crate) fn since_epoch(time: DateTime) -> Duration {
    Duration::from_nanos(u64::try_from(time.unix_timestamp_nanos()).unwrap_or(0))
}

/// `2026-11-23T10:00:00.123Z`.
pub(crate) fn to_rfc3339(at: Timestamp) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    // Past the year 9999 there is no such text; `ce-time` is for reading only.
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| String::from("9999-12-31T23:59:59Z"), |t| t.to_string())
}

/// Reads what `to_rfc3339` writes, and any other RFC 3339 time.
pub(crate) fn from_rfc3339(text: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(parsed.as_millisecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        let at = Timestamp(1_795_428_000_123);
        assert_eq!(from_rfc3339(&to_rfc3339(at)), Some(at));
        assert_eq!(to_rfc3339(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(from_rfc3339("2026-11-23T10:00:00+02:00"), from_rfc3339("2026-11-23T08:00:00Z"));
        assert_eq!(from_rfc3339("yesterday"), None);
        assert!(to_rfc3339(Timestamp(u64::MAX)).starts_with("9999"));
    }
}

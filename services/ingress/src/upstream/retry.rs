//! Whether a request that failed at a worker may be tried again.
//!
//! Inference is pure and its effect happens once per request id, so trying again is safe; it is the load of it that must be
//! bounded. A budget per deployment lets through a burst (a worker died with a full house) and after that a share of the
//! requests, so that retries never become the traffic.

use super::worker::Worker;
use crate::{error::RequestError, limits};
use slipway_oip::grpc::{FAILURE as WORD, RETRY_AFTER};
use slipway_proto::failure::FailureCode;
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};
use tonic::{Code, Status};
use tracing::debug;

/// What to do after a failure at one worker.
#[derive(Debug)]
pub enum Verdict {
    /// The answer of the worker stands.
    Final(RequestError),
    /// The worker lives and cannot take it now: another one may.
    ElseWhere(RequestError),
    /// The connection failed: this worker is passed over for a while.
    Gone(String),
}

/// Reads a failure.
#[must_use]
pub fn verdict(status: &Status) -> Verdict {
    let text = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok());
    if let Some(word) = text(WORD) {
        let code = word.parse().unwrap_or_else(|_| FailureCode::from_grpc(status.code()));
        let retry_after = text(RETRY_AFTER).and_then(|s| s.parse().ok()).map(Duration::from_secs);
        let error = RequestError::Worker { code, message: status.message().to_owned(), retry_after };
        return match code {
            FailureCode::Unavailable | FailureCode::Overloaded => Verdict::ElseWhere(error),
            _ => Verdict::Final(error),
        };
    }
    match status.code() {
        // What hyper, h2 and rustls make of a connection that broke, and a proxy of a backend that is gone.
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::Aborted | Code::DataLoss => {
            Verdict::Gone(describe(status))
        }
        // Made here when the deadline that went with the request passed.
        Code::DeadlineExceeded => Verdict::Final(RequestError::DeadlineExceeded),
        code => Verdict::Final(RequestError::Worker {
            code: FailureCode::from_grpc(code),
            message: status.message().to_owned(),
            retry_after: None,
        }),
    }
}

/// Passes a worker over for a while, if the failure is its own.
pub fn blame(worker: &Worker, verdict: &Verdict) {
    match verdict {
        // The answer stands, or it has too much to do just now.
        Verdict::Final(_) => return,
        Verdict::ElseWhere(error) if error.is_overload() => return,
        Verdict::ElseWhere(_) => {}
        Verdict::Gone(reason) => debug!(instance = worker.seat().instance, reason, "a worker does not answer"),
    }
    worker.eject(Instant::now());
}

/// The status and what is behind it, in one line.
fn describe(status: &Status) -> String {
    let mut text = format!("{}: {}", status.code(), status.message());
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Retries a deployment may still do.
#[derive(Debug)]
pub struct Budget {
    most: f64,
    per_request: f64,
    per_second: f64,
    level: Mutex<(f64, Instant)>,
}

impl Budget {
    /// Full, with `reserve` retries; each request earns `percent` hundredths of one, each second `per_second`.
    #[must_use]
    pub fn new(reserve: u32, percent: u32, per_second: u32) -> Self {
        let most = f64::from(reserve);
        Self {
            most,
            per_request: f64::from(percent) / 100.0,
            per_second: f64::from(per_second),
            level: Mutex::new((most, Instant::now())),
        }
    }

    /// A request came in.
    pub fn earn(&self) {
        let mut level = self.level.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        level.0 = (level.0 + self.per_request).min(self.most);
    }

    /// Takes one retry, if there is one.
    pub fn take(&self) -> bool {
        let mut level = self.level.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        let earned = now.duration_since(level.1).as_secs_f64() * self.per_second;
        *level = ((level.0 + earned).min(self.most), now);
        if level.0 < 1.0 {
            return false;
        }
        level.0 -= 1.0;
        true
    }
}

/// How long a worker is passed over after its `strikes`-th failure in a row.
#[must_use]
pub fn ejection(strikes: u32) -> Duration {
    let (first, longest) = limits::EJECTION;
    first.saturating_mul(1 << strikes.saturating_sub(1).min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::MetadataMap;

    fn said(word: &'static str, code: Code) -> Status {
        let mut metadata = MetadataMap::new();
        metadata.insert(WORD, word.parse().unwrap());
        metadata.insert("retry-after", "3".parse().unwrap());
        Status::with_metadata(code, "said", metadata)
    }

    #[test]
    fn what_a_worker_says_stands_unless_another_worker_may_do_it() {
        for code in FailureCode::ALL {
            let verdict = verdict(&said(code.as_str(), code.grpc_code()));
            match code {
                FailureCode::Unavailable | FailureCode::Overloaded => {
                    let Verdict::ElseWhere(RequestError::Worker { retry_after, .. }) = verdict else {
                        panic!("{code}")
                    };
                    assert_eq!(retry_after, Some(Duration::from_secs(3)));
                }
                _ => assert!(
                    matches!(verdict, Verdict::Final(RequestError::Worker { code: c, .. }) if c == code),
                    "{code}"
                ),
            }
        }
    }

    #[test]
    fn what_the_transport_says_means_that_the_worker_is_gone() {
        for code in [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled, Code::Aborted] {
            assert!(matches!(verdict(&Status::new(code, "broken pipe")), Verdict::Gone(_)), "{code}");
        }
        for code in [Code::InvalidArgument, Code::Unimplemented, Code::PermissionDenied, Code::Unauthenticated] {
            assert!(matches!(verdict(&Status::new(code, "no")), Verdict::Final(_)), "{code}");
        }
        let late = verdict(&Status::new(Code::DeadlineExceeded, "late"));
        assert!(matches!(late, Verdict::Final(RequestError::DeadlineExceeded)));
    }

    #[test]
    fn a_storm_of_failures_is_retried_no_more_than_the_budget_allows() {
        let budget = Budget::new(10, 20, 0);
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
        let mut retried = 0;
        for _ in 0..1_000 {
            budget.earn();
            retried += u32::from(budget.take());
        }
        assert!((195..=200).contains(&retried), "{retried}");
    }

    #[test]
    fn a_worker_that_keeps_failing_is_passed_over_for_longer_up_to_a_bound() {
        let all: Vec<Duration> = (1..20).map(ejection).collect();
        assert_eq!(all[0], limits::EJECTION.0);
        assert!(all.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(all.last(), Some(&limits::EJECTION.1));
    }
}

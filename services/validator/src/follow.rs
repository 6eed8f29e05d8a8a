//! Keeps track of the requests of a run: whoever was answered must be found in the sinks later.

use crate::{domain::judge::traces::Traced, door::Fate};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// The requests of a run.
pub(crate) struct Followed {
    most: u64,
    begun: AtomicU64,
    kept: Mutex<Kept>,
}

/// What is known of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// Answered, and looked for.
    pub(crate) answered: Vec<Traced>,
    /// Answered, and beyond the bound.
    pub(crate) untracked: u64,
    /// Sent, and their end is not known.
    pub(crate) unknown: u64,
}

impl Followed {
    pub(crate) fn new(most: u64) -> Self {
        Self { most, begun: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// The number of the next request of the run, counted from 0.
    pub(crate) fn next(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the request of that number is looked for. The first so many are: a bound that is known before a request is
    /// sent, because its correlation id says which kind it is.
    pub(crate) const fn is_followed(&self, number: u64) -> bool {
        number < self.most
    }

    /// Notes the end of a request.
    pub(crate) fn ended(&self, number: u64, fate: &Fate) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match fate {
            Fate::Answered(traced) if self.is_followed(number) => kept.answered.push(traced.clone()),
            Fate::Answered(_) => kept.untracked += 1,
            Fate::None(_) => kept.unknown += 1,
            Fate::Misrouted | Fate::Refused { .. } | Fate::NotAdmitted(_) | Fate::Fault(_) => {}
        }
    }

    pub(crate) fn kept(&self) -> Kept {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(id: &str) -> Fate {
        Fate::Answered(Traced { request_id: id.into(), trace_id: None })
    }

    #[test]
    fn only_so_many_are_looked_for_and_the_rest_is_counted() {
        let followed = Followed::new(2);
        for id in ["a", "b", "c"] {
            followed.ended(followed.next(), &answered(id));
        }
        followed.ended(followed.next(), &Fate::None(slipway_loadtest::FailureClass::Timeout));
        followed.ended(followed.next(), &Fate::Refused { status: 503, retry_after: true });
        let kept = followed.kept();
        assert_eq!((kept.answered.len(), kept.untracked, kept.unknown), (2, 1, 1));
    }
}

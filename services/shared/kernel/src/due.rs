//! When something is due, and when a question is tried again.

use crate::{fold::Attempts, ids::Attempt, time::Timestamp};
use std::time::Duration;

/// How often one question is tried. A failure that may pass and has not passed by then is for the next decider.
pub const MAX_TRIES: u32 = 3;
/// The longest pause between two tries of what is tried until it succeeds.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is to be done, or when to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due<D> {
    /// Nothing, until something happens.
    Nothing,
    /// Nothing before this time, unless something happens.
    Wait(Timestamp),
    /// This, now.
    Now(D),
}

impl<D> Due<D> {
    /// The same, with what `make` makes of the duty.
    pub fn map<E>(self, make: impl FnOnce(D) -> E) -> Due<E> {
        match self {
            Self::Nothing => Due::Nothing,
            Self::Wait(until) => Due::Wait(until),
            Self::Now(duty) => Due::Now(make(duty)),
        }
    }
}

impl Attempts {
    /// The next of at most [`MAX_TRIES`] tries: at once if there was none, after 1, 2, 4… seconds if the last one failed for a reason
    /// that may pass.
    #[must_use]
    pub fn next_try(&self, now: Timestamp) -> Due<Attempt> {
        if self.last().is_some() && self.next().0 >= MAX_TRIES { Due::Nothing } else { self.next_until_done(now) }
    }

    /// The next of as many tries as it takes.
    #[must_use]
    pub fn next_until_done(&self, now: Timestamp) -> Due<Attempt> {
        let attempt = self.next();
        let Some(last) = self.last() else { return Due::Now(attempt) };
        if !last.answer.failed_transiently() {
            return Due::Nothing;
        }
        let pause = Duration::from_secs(1 << attempt.0.saturating_sub(1).min(5)).min(LONGEST_PAUSE);
        let at = last.at.after(pause);
        if now < at { Due::Wait(at) } else { Due::Now(attempt) }
    }
}

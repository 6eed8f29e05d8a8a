//! What each of the four owes a deployment: an answer to its slot on `deployed`, and the removal of what it made.

use crate::{
    answer::Answer,
    fold::{Attempts, Deployment, GenerationState},
    ids::{Attempt, Generation, RevisionId, Service},
    slot::Slot,
    time::Timestamp,
};
use std::time::Duration;

/// How often a transient failure is tried again before the next decider takes it as it is.
const MAX_ATTEMPTS: u32 = 3;
/// The longest pause between two attempts at a removal, which is tried until it succeeds.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Something one of the four has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Configure, prove, answer the slot.
    Configure {
        /// For which revision.
        revision: RevisionId,
        /// Which try.
        attempt: Attempt,
    },
    /// Remove what was made, answer the removal slot.
    Remove {
        /// The generation whose retirement was demanded.
        generation: Generation,
        /// Which try.
        attempt: Attempt,
    },
}

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When<T> {
    /// Nothing is.
    Never,
    /// Not before this.
    At(Timestamp),
    /// Now.
    Now(T),
}

impl Deployment {
    /// What `service` owes at `slot`.
    #[must_use]
    pub fn step(&self, service: Service, slot: Slot, now: Timestamp) -> When<Step> {
        match self.removal(service, now) {
            When::Now((generation, attempt)) => return When::Now(Step::Remove { generation, attempt }),
            When::At(at) => return When::At(at),
            When::Never => {}
        }
        let Some(candidate) = self.candidate().filter(|revision| revision.is_deployed()) else { return When::Never };
        let attempts = candidate.attempts(slot);
        if attempts.last().is_some() && attempts.next().0 >= MAX_ATTEMPTS {
            return When::Never;
        }
        match next(attempts, now) {
            When::Now(attempt) => When::Now(Step::Configure { revision: candidate.id, attempt }),
            When::At(at) => When::At(at),
            When::Never => When::Never,
        }
    }

    /// The removal that `service` owes: which generation's retirement, which try.
    #[must_use]
    pub fn removal(&self, service: Service, now: Timestamp) -> When<(Generation, Attempt)> {
        let retiring = self.retiring().and_then(|generation| self.generations.get(&generation));
        let Some(state) = retiring.filter(|state| !is_gone(state)) else { return When::Never };
        match next(state.attempts(Slot::Removal(service)), now) {
            When::Now(attempt) => When::Now((state.generation, attempt)),
            When::At(at) => When::At(at),
            When::Never => When::Never,
        }
    }
}

/// A generation that ended otherwise (superseded, abandoned) may have left things behind, so it is not gone.
fn is_gone(state: &GenerationState) -> bool {
    matches!(state.ended(), Some(Answer::Retired(_) | Answer::Archived(_)))
}

/// The next try at a question: at once if there was none, after a pause if the last one failed for a reason that may pass.
fn next(attempts: &Attempts, now: Timestamp) -> When<Attempt> {
    let attempt = attempts.next();
    let Some(last) = attempts.last() else { return When::Now(attempt) };
    if !last.answer.failed_transiently() {
        return When::Never;
    }
    // 1, 2, 4… seconds after the answer before it.
    let pause = Duration::from_secs(1 << attempt.0.saturating_sub(1).min(5)).min(LONGEST_PAUSE);
    let at = last.at.after(pause);
    if now < at { When::At(at) } else { When::Now(attempt) }
}

//! What each of the four owes a deployment: an answer to its slot on `deployed`, and the removal of what it made.

use crate::{
    answer::Answer,
    due::Due,
    fold::{Deployment, GenerationState},
    ids::{Attempt, Generation, RevisionId, Service},
    slot::Slot,
    time::Timestamp,
};

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

impl Deployment {
    /// What `service` owes at `slot`. A removal comes before everything.
    #[must_use]
    pub fn step(&self, service: Service, slot: Slot, now: Timestamp) -> Due<Step> {
        let removal = self.removal(service, now);
        if removal != Due::Nothing {
            return removal.map(|(generation, attempt)| Step::Remove { generation, attempt });
        }
        let Some(candidate) = self.candidate().filter(|revision| revision.is_deployed()) else { return Due::Nothing };
        let next = candidate.attempts(slot).next_try(now);
        next.map(|attempt| Step::Configure { revision: candidate.id, attempt })
    }

    /// The removal that `service` owes: which generation's retirement, which try.
    #[must_use]
    pub fn removal(&self, service: Service, now: Timestamp) -> Due<(Generation, Attempt)> {
        let retiring = self.retiring().and_then(|generation| self.generations.get(&generation));
        let Some(state) = retiring.filter(|state| !is_gone(state)) else { return Due::Nothing };
        state.attempts(Slot::Removal(service)).next_until_done(now).map(|attempt| (state.generation, attempt))
    }
}

/// A generation that ended otherwise (superseded, abandoned) may have left things behind, so it is not gone.
fn is_gone(state: &GenerationState) -> bool {
    matches!(state.ended(), Some(Answer::Retired(_) | Answer::Archived(_)))
}

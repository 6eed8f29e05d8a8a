//! What of a deployment came of a resource. The log says who demanded each generation, so nothing about it need be remembered.

use slipway_kernel::{Answer, Deployment, Generation, GenerationState};

/// `ce-source` of every demand that is made for a resource.
pub const SOURCE: &str = "custom-resource";

/// What came of a resource.
#[derive(Clone, Debug)]
pub struct Own<'a> {
    /// The last generation that was demanded for it.
    pub last: &'a GenerationState,
    /// The `metadata.generation` that this was.
    pub by: u64,
    /// From its first generation to the one that was retired, or the newest: others may have demanded some of them.
    pub reach: Vec<&'a GenerationState>,
    /// Whether all of that is gone.
    pub is_gone: bool,
}

/// `ce-id` of the first demand for a spec of a resource.
#[must_use]
pub fn demand_id(uid: &str, generation: u64) -> String {
    format!("{uid}.{generation}")
}

/// `ce-id` of a further demand for the same spec: after `newest`, which is the last that the log knows.
#[must_use]
pub fn further_demand_id(uid: &str, generation: u64, newest: Generation) -> String {
    format!("{uid}.{generation}.after-{newest}")
}

/// `ce-id` of the demand to retire what came of a resource, up to `newest`.
#[must_use]
pub fn retirement_id(uid: &str, newest: Generation) -> String {
    format!("{uid}.retire-{newest}")
}

/// The `metadata.generation` that a demand was about, if it was made for this resource.
#[must_use]
pub fn about(id: &str, uid: &str) -> Option<u64> {
    id.strip_prefix(uid)?.strip_prefix('.')?.split('.').next()?.parse().ok()
}

fn demanded_for(generation: &GenerationState, uid: &str) -> Option<u64> {
    let intake = &generation.requested().intake;
    if intake.source == SOURCE { about(&intake.id, uid) } else { None }
}

fn is_gone(generation: &GenerationState) -> bool {
    matches!(generation.ended(), Some(Answer::Retired(_) | Answer::Archived(_)))
}

/// What came of a resource, if anything did. What others made under its name after that was retired is theirs, and then nothing is its own.
#[must_use]
pub fn own<'a>(deployment: &'a Deployment, uid: &str) -> Option<Own<'a>> {
    let generations = || deployment.generations.values();
    let first = generations().find(|generation| demanded_for(generation, uid).is_some())?.generation;
    let (last, by) = generations().rev().find_map(|g| demanded_for(g, uid).map(|by| (g, by)))?;
    let gone = generations().find(|g| g.generation >= last.generation && is_gone(g)).map(|g| g.generation);
    let reach = generations().filter(|g| g.generation >= first && gone.is_none_or(|gone| g.generation <= gone));
    let own = Own { last, by, reach: reach.collect(), is_gone: gone.is_some() };
    (!own.is_gone || living(deployment).is_none()).then_some(own)
}

/// The newest generation, unless it is gone.
fn living(deployment: &Deployment) -> Option<&GenerationState> {
    deployment.newest().filter(|newest| !is_gone(newest))
}

/// Whether a demand for this spec of the resource is in the log.
#[must_use]
pub fn was_demanded(deployment: &Deployment, uid: &str, generation: u64) -> bool {
    deployment.generations.values().any(|state| demanded_for(state, uid) == Some(generation))
}

/// The newest generation of a deployment that is there and did not come of the resource at all.
#[must_use]
pub fn stranger<'a>(deployment: &'a Deployment, uid: &str) -> Option<&'a GenerationState> {
    living(deployment).filter(|_| own(deployment, uid).is_none())
}

/// Whether the newest generation is being taken down.
#[must_use]
pub fn is_retiring(deployment: &Deployment) -> bool {
    living(deployment).is_some_and(|newest| deployment.is_retiring(newest.generation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scenario::Scenario;

    #[test]
    fn an_id_tells_whose_demand_it_was_and_for_which_spec() {
        assert_eq!(about(&demand_id("a-b", 7), "a-b"), Some(7));
        assert_eq!(about(&further_demand_id("a-b", 7, Generation(3)), "a-b"), Some(7));
        assert_eq!(about(&retirement_id("a-b", Generation(3)), "a-b"), None);
        assert_eq!(about(&demand_id("a-bc", 7), "a-b"), None);
        assert_eq!(about("7", "a-b"), None);
    }

    #[test]
    fn what_was_retired_belongs_to_nobody_and_what_came_after_to_who_demanded_it() {
        let mut scenario = Scenario::new();
        scenario.demanded(1, "u", 1).requested(2);
        let deployment = scenario.fold();
        let found = own(&deployment, "u").unwrap();
        assert_eq!((found.last.generation, found.by, found.reach.len(), found.is_gone), (Generation(1), 1, 2, false));
        assert!(stranger(&deployment, "u").is_none(), "demanded by another way, and still the resource's");
        assert_eq!(stranger(&deployment, "v").unwrap().generation, Generation(2));
        scenario.retired(2);
        let deployment = scenario.fold();
        assert!(own(&deployment, "u").unwrap().is_gone && stranger(&deployment, "v").is_none());
        scenario.requested(3);
        let deployment = scenario.fold();
        assert!(own(&deployment, "u").is_none());
        assert_eq!(stranger(&deployment, "u").unwrap().generation, Generation(3));
    }
}

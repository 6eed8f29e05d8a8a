//! What clients saw of a revision, counted by many processes: those that come, start anew or go change nothing but by what they counted.
//!
//! A sum over whoever answers is no counter: it falls when one of them leaves, and rises by a whole life when one comes. So each process is
//! held against itself as it was seen before, and only what came in between is added.

use std::collections::BTreeMap;

/// What clients saw of one revision, as one process counts it: figures that only grow for as long as it lives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerCounts {
    /// Requests answered.
    pub requests: u64,
    /// Of these, failed by our fault.
    pub failures: u64,
    /// Answers by latency: upper bound in seconds, and how many took at most that; both rise. Empty if not known.
    pub buckets: Vec<(f64, u64)>,
}

impl AnswerCounts {
    /// Counts so many more answers that took at most so many seconds.
    pub fn add_bucket(&mut self, seconds: f64, count: u64) {
        match self.buckets.binary_search_by(|(bound, _)| bound.total_cmp(&seconds)) {
            Ok(at) => {
                if let Some((_, sum)) = self.buckets.get_mut(at) {
                    *sum += count;
                }
            }
            Err(at) => self.buckets.insert(at, (seconds, count)),
        }
    }

    /// What came after `earlier`; `None` if a figure fell: then the process was started anew in between.
    ///
    /// One that started anew and has done more than before is not told from one that went on, so what comes out is less than it did, and
    /// still makes sense: no more failures than requests, no more quick answers than slower ones.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        // A process that names other bounds than before is another one.
        let knows = |bound: f64| self.buckets.iter().any(|(known, _)| known.total_cmp(&bound).is_eq());
        if !earlier.buckets.iter().all(|(bound, _)| knows(*bound)) {
            return None;
        }
        let requests = self.requests.checked_sub(earlier.requests)?;
        let failures = self.failures.checked_sub(earlier.failures)?.min(requests);
        let mut buckets = self.buckets.clone();
        let mut most = u64::MAX;
        for (bound, count) in buckets.iter_mut().rev() {
            *count = count.checked_sub(earlier.within(*bound))?.min(most);
            most = *count;
        }
        Some(Self { requests, failures, buckets })
    }

    /// These and those of another process, or of another time.
    #[must_use]
    pub fn plus(&self, more: &Self) -> Self {
        let mut bounds: Vec<f64> = self.buckets.iter().chain(&more.buckets).map(|(bound, _)| *bound).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup_by(|a, b| a.total_cmp(b).is_eq());
        Self {
            requests: self.requests.saturating_add(more.requests),
            failures: self.failures.saturating_add(more.failures),
            // One that lacks a bound of the other's knows at least those below it.
            buckets: bounds
                .into_iter()
                .map(|bound| (bound, self.within(bound).saturating_add(more.within(bound))))
                .collect(),
        }
    }

    /// Answers that took at most so many seconds, read at the largest bound not above it.
    #[must_use]
    pub fn within(&self, seconds: f64) -> u64 {
        self.buckets.iter().rev().find(|(bound, _)| bound.total_cmp(&seconds).is_le()).map_or(0, |(_, count)| *count)
    }
}

/// Looks after which a process that did not answer is forgotten: longer than it takes to be started anew, and in the end names of those that
/// are gone are not kept. One that comes back later is seen as for the first time.
const FORGOTTEN_AFTER: u32 = 64;

/// What processes counted since each was seen for the first time, over all of them. It never falls.
///
/// What a process counted before it was first seen is not known to be new, so it is left out; what one counted that started anew under its
/// old name is.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    seen: BTreeMap<String, Seen>,
    total: AnswerCounts,
}

#[derive(Clone, Debug)]
struct Seen {
    counts: AnswerCounts,
    /// Looks in a row at which it did not answer.
    missed: u32,
}

impl Tally {
    /// Takes in what those counted who answered at one look, each by its name.
    pub fn look(&mut self, answered: impl IntoIterator<Item = (String, AnswerCounts)>) {
        for seen in self.seen.values_mut() {
            seen.missed += 1;
        }
        for (name, counts) in answered {
            if let Some(seen) = self.seen.get(&name) {
                let new = counts.since(&seen.counts).unwrap_or_else(|| counts.clone());
                self.total = self.total.plus(&new);
            }
            self.seen.insert(name, Seen { counts, missed: 0 });
        }
        self.seen.retain(|_, seen| seen.missed < FORGOTTEN_AFTER);
    }

    /// What was counted so far.
    #[must_use]
    pub const fn total(&self) -> &AnswerCounts {
        &self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(requests: u64, failures: u64, quick: u64) -> AnswerCounts {
        AnswerCounts { requests, failures, buckets: vec![(0.1, quick), (f64::INFINITY, requests)] }
    }

    fn named(name: &str, counts: AnswerCounts) -> (String, AnswerCounts) {
        (name.to_owned(), counts)
    }

    #[test]
    fn one_that_leaves_or_comes_with_a_long_life_changes_nothing() {
        let mut tally = Tally::default();
        tally.look([named("a", counts(1_000, 500, 500)), named("b", counts(10, 0, 10))]);
        assert_eq!(*tally.total(), AnswerCounts::default(), "what came before the first look is not known to be new");
        tally.look([named("b", counts(30, 1, 29))]);
        tally.look([named("b", counts(30, 1, 29)), named("c", counts(5_000, 5_000, 0))]);
        assert_eq!(*tally.total(), counts(20, 1, 19));
    }

    #[test]
    fn one_that_started_anew_is_counted_from_nothing() {
        let mut tally = Tally::default();
        tally.look([named("a", counts(1_000, 500, 500))]);
        tally.look([named("a", counts(7, 2, 5))]);
        // More requests than before and fewer failures: it cannot be the same life.
        tally.look([named("a", counts(8, 0, 8))]);
        assert_eq!(*tally.total(), counts(15, 2, 13));
    }

    #[test]
    fn one_that_was_away_for_a_while_is_held_against_itself_and_one_away_for_long_is_new() {
        let mut tally = Tally::default();
        tally.look([named("a", counts(10, 0, 10))]);
        for _ in 1..FORGOTTEN_AFTER {
            tally.look([]);
        }
        tally.look([named("a", counts(15, 0, 15))]);
        assert_eq!(tally.total().requests, 5);
        for _ in 0..FORGOTTEN_AFTER {
            tally.look([]);
        }
        tally.look([named("a", counts(100, 0, 100))]);
        assert_eq!(tally.total().requests, 5);
    }

    #[test]
    fn other_bounds_are_another_process_and_are_summed_at_what_each_knows() {
        let old = AnswerCounts { requests: 4, failures: 0, buckets: vec![(0.1, 1), (1.0, 4)] };
        let new = AnswerCounts { requests: 9, failures: 0, buckets: vec![(0.2, 8), (1.0, 9)] };
        assert_eq!(new.since(&old), None);
        assert_eq!(old.plus(&new).buckets, [(0.1, 1), (0.2, 9), (1.0, 13)]);
        assert_eq!((old.within(0.05), old.within(0.5), old.within(2.0)), (0, 1, 4));
    }

    /// What happens to one of three processes between two looks.
    #[derive(Clone, Debug)]
    enum Event {
        /// It answers clients: requests, failed ones and quick ones among them.
        Serves(usize, u64, u64, u64),
        /// It starts anew under its name.
        Restarts(usize),
        /// Somebody looks; those marked answer.
        Look([bool; 3]),
    }

    fn events(restarts: bool) -> impl Strategy<Value = Vec<Event>> {
        let serves = (0..3_usize, 0..50_u64, 0..50_u64, 0..50_u64).prop_map(|(who, requests, failed, quick)| {
            Event::Serves(who, requests, failed.min(requests), quick.min(requests))
        });
        let restart = (0..3_usize).prop_map(Event::Restarts);
        let look = any::<[bool; 3]>().prop_map(Event::Look);
        let weight = u32::from(restarts);
        proptest::collection::vec(prop_oneof![4 => serves, weight => restart, 3 => look], 0..60)
    }

    /// The world as it is, beside the tally.
    #[derive(Default)]
    struct World {
        lives: [AnswerCounts; 3],
        /// What each did since it was first seen, as far as anybody saw.
        unseen: [AnswerCounts; 3],
        known: [bool; 3],
        /// All that was done by those who were seen before.
        done: AnswerCounts,
        /// Of that, what was done up to the last look at which each answered.
        told: AnswerCounts,
        tally: Tally,
    }

    impl World {
        fn take(&mut self, event: &Event) {
            match event {
                Event::Serves(who, requests, failed, quick) => {
                    let more = counts(*requests, *failed, *quick);
                    self.lives[*who] = self.lives[*who].plus(&more);
                    if self.known[*who] {
                        self.unseen[*who] = self.unseen[*who].plus(&more);
                        self.done = self.done.plus(&more);
                    }
                }
                Event::Restarts(who) => self.lives[*who] = AnswerCounts::default(),
                Event::Look(answer) => {
                    let answering: Vec<usize> = (0..3).filter(|who| answer[*who]).collect();
                    self.tally.look(answering.iter().map(|who| (format!("r{who}"), self.lives[*who].clone())));
                    for who in answering {
                        self.told = self.told.plus(&std::mem::take(&mut self.unseen[who]));
                        self.known[who] = true;
                    }
                }
            }
        }
    }

    fn is_at_most(less: &AnswerCounts, more: &AnswerCounts) -> bool {
        let buckets = less.buckets.iter().all(|(bound, count)| *count <= more.within(*bound));
        less.requests <= more.requests && less.failures <= more.failures && buckets
    }

    proptest! {
        #[test]
        fn without_restarts_all_that_was_told_is_counted_and_nothing_else(events in events(false)) {
            let mut world = World::default();
            for event in &events {
                world.take(event);
            }
            let (total, told) = (world.tally.total(), &world.told);
            prop_assert_eq!((total.requests, total.failures), (told.requests, told.failures));
            prop_assert!(is_at_most(total, told) && is_at_most(told, total));
        }

        #[test]
        fn whatever_happens_the_tally_never_falls_and_never_counts_what_was_not_done(events in events(true)) {
            let mut world = World::default();
            for event in &events {
                let before = world.tally.total().clone();
                world.take(event);
                let now = world.tally.total();
                prop_assert!(is_at_most(&before, now), "{before:?} then {now:?}");
                prop_assert!(is_at_most(now, &world.done), "{now:?} of {:?}", world.done);
                prop_assert!(now.failures <= now.requests);
            }
        }
    }
}

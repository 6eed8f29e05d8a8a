//! What one writer knows of a sequence of objects, and what it may append.
//!
//! The objects of a partition are numbered from 0 and each number is written once: the store creates an object only where
//! none is. Who appends number *n* has read the keys of all before it and leaves those rows out. So, by induction, no key
//! stands in two objects of a sequence, however many write at once, whatever comes again and wherever one of them ends: an
//! append happens as a whole or not at all, and of two for the same number the store takes one.

use sha2::{Digest as _, Sha256};
use std::collections::HashSet;

/// A request's key in a sequence: the first half of the SHA-256 of its id. Two of a hundred million keys are the same with a
/// probability of 10^-23.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub [u8; 16]);

impl RowKey {
    /// The key of a request id.
    #[must_use]
    pub fn of(request_id: &str) -> Self {
        let digest = Sha256::digest(request_id.as_bytes());
        Self(std::array::from_fn(|n| digest[n]))
    }
}

/// What is known of a sequence: all keys of the objects 0 to `next` - 1.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    next: u64,
    known: HashSet<RowKey>,
}

impl Sequence {
    /// The number that this writer would append under.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// How many keys are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes in the keys of the next object: one that was read, or the own one that was just written. One that was taken out by
    /// hand has none, and its number is passed over.
    pub fn learn(&mut self, keys: impl IntoIterator<Item = RowKey>) {
        self.known.extend(keys);
        self.next += 1;
    }

    /// Of rows with these keys the places of those that may be appended: of no object yet, and each key once.
    #[must_use]
    pub fn fresh(&self, keys: &[RowKey]) -> Vec<usize> {
        let mut seen = HashSet::with_capacity(keys.len());
        let fresh = keys.iter().enumerate().filter(|(_, key)| !self.known.contains(key) && seen.insert(**key));
        fresh.map(|(at, _)| at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::collections::{BTreeMap, BTreeSet};

    /// A store that creates an object only where none is.
    type Store = BTreeMap<u64, Vec<RowKey>>;

    /// An object on its way.
    #[derive(Clone, Debug)]
    struct Append {
        at: u64,
        keys: Vec<RowKey>,
    }

    #[derive(Debug, Default)]
    struct Writer {
        sequence: Sequence,
        /// The delivery in hand.
        batch: Vec<RowKey>,
        under_way: Option<Append>,
    }

    /// One thing that happens, to one of the writers.
    #[derive(Clone, Debug)]
    enum Step {
        /// A delivery, of anything: what was written long ago, what the other writer has in hand, the same key twice.
        Take(Vec<u8>),
        /// Reads one more object, if there is one.
        Read,
        /// Sends what is fresh, though others may have appended meanwhile.
        Send,
        /// The store takes or refuses what was sent, and the writer is told.
        Answer,
        /// The store takes or refuses it, and the writer is not told: it asks again.
        Lose,
        /// What was sent is held up on the way; the writer gives up waiting and goes on.
        Delay,
        /// What was held up arrives.
        Arrive,
        /// Ends, and starts anew with nothing known.
        Crash,
    }

    fn step() -> impl Strategy<Value = (usize, Step)> {
        let step = prop_oneof![
            vec(0_u8..12, 0..6).prop_map(Step::Take),
            Just(Step::Read),
            Just(Step::Send),
            Just(Step::Answer),
            Just(Step::Lose),
            Just(Step::Delay),
            Just(Step::Arrive),
            Just(Step::Crash),
        ];
        (0_usize..3, step)
    }

    fn create(store: &mut Store, append: &Append) -> bool {
        let free = !store.contains_key(&append.at);
        if free {
            store.insert(append.at, append.keys.clone());
        }
        free
    }

    fn key(n: u8) -> RowKey {
        RowKey::of(&n.to_string())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_key_is_ever_in_two_objects_and_what_is_acknowledged_is_in_one(steps in vec(step(), 0..120)) {
            let mut store = Store::new();
            let mut writers: [Writer; 3] = Default::default();
            let mut held_up: Vec<Append> = Vec::new();
            let mut acknowledged = BTreeSet::new();
            for (who, step) in steps {
                let writer = &mut writers[who];
                match step {
                    Step::Take(keys) => if writer.under_way.is_none() { writer.batch = keys.into_iter().map(key).collect() },
                    Step::Read => if let Some(keys) = store.get(&writer.sequence.next()) { writer.sequence.learn(keys.clone()) },
                    Step::Send => {
                        let fresh = writer.sequence.fresh(&writer.batch);
                        if fresh.is_empty() {
                            acknowledged.extend(std::mem::take(&mut writer.batch));
                        } else {
                            let keys = fresh.into_iter().map(|at| writer.batch[at]).collect();
                            writer.under_way = Some(Append { at: writer.sequence.next(), keys });
                        }
                    }
                    Step::Answer => if let Some(append) = writer.under_way.take()
                        && create(&mut store, &append)
                        // It may have read its own object since, when a first try was not told of.
                        && append.at == writer.sequence.next()
                    {
                        writer.sequence.learn(append.keys);
                        acknowledged.extend(std::mem::take(&mut writer.batch));
                    },
                    Step::Lose => if let Some(append) = &writer.under_way { create(&mut store, append); },
                    Step::Delay => held_up.extend(writer.under_way.take()),
                    Step::Arrive => if let Some(append) = held_up.pop() { create(&mut store, &append); },
                    Step::Crash => *writer = Writer::default(),
                }
                let mut seen = BTreeSet::new();
                for key in store.values().flatten() {
                    prop_assert!(seen.insert(*key), "a key is in two objects: {store:?}");
                }
                prop_assert!(acknowledged.is_subset(&seen), "what is acknowledged is not there");
                prop_assert!(store.keys().copied().eq(0..store.len() as u64), "a number is left out");
            }
        }
    }

    #[test]
    fn a_number_that_was_taken_out_by_hand_is_passed_over() {
        let mut sequence = Sequence::default();
        sequence.learn([key(1)]);
        sequence.learn([]);
        sequence.learn([key(3)]);
        assert_eq!((sequence.next(), sequence.len()), (3, 2));
        assert_eq!(sequence.fresh(&[key(1), key(2), key(3), key(2)]), [1]);
    }
}

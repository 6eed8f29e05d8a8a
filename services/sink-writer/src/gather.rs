//! Results on their way into objects of many rows: held, not acknowledged, until there are enough of them or the first has waited
//! long enough.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// When what is gathered becomes an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Rows of one object.
    pub rows: usize,
    /// Bytes of one object, as they came in.
    pub bytes: usize,
    /// How long the first row waits.
    pub delay: Duration,
    /// Deliveries held in all. The broker hands out only so many at once; what is held here is missing to every other output.
    pub deliveries: usize,
}

/// How many times the bytes of one object may be held in all: several deployments fill theirs at the same time.
const OBJECTS_HELD: usize = 4;

/// What is held, by where it goes.
#[derive(Debug)]
pub(crate) struct Gathering<K, T> {
    limits: Limits,
    open: BTreeMap<K, Open<T>>,
}

#[derive(Debug)]
struct Open<T> {
    items: Vec<T>,
    bytes: usize,
    deliveries: usize,
    since: Instant,
}

impl<K: Ord + Clone, T> Gathering<K, T> {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, open: BTreeMap::new() }
    }

    /// Holds items that came with so many deliveries and have so many bytes.
    pub(crate) fn add(&mut self, key: K, items: Vec<T>, bytes: usize, deliveries: usize, now: Instant) {
        if items.is_empty() {
            return;
        }
        let open =
            self.open.entry(key).or_insert_with(|| Open { items: Vec::new(), bytes: 0, deliveries: 0, since: now });
        open.items.extend(items);
        open.bytes += bytes;
        open.deliveries += deliveries;
    }

    /// Hands out what is to be written now: what is large or old enough, and the largest while too much is held in all.
    pub(crate) fn due(&mut self, now: Instant) -> Option<(K, Vec<T>)> {
        let limits = self.limits;
        let ripe = |open: &Open<T>| {
            open.items.len() >= limits.rows
                || open.bytes >= limits.bytes
                || now.duration_since(open.since) >= limits.delay
        };
        let due = self.open.iter().find(|(_, open)| ripe(open));
        let due = due.or_else(|| {
            let largest = || self.open.iter().max_by_key(|(_, open)| (open.deliveries, open.bytes));
            if self.is_full() { largest() } else { None }
        });
        let key = due?.0.clone();
        self.open.remove(&key).map(|open| (key, open.items))
    }

    /// Hands out what is held, whatever its age.
    pub(crate) fn rest(&mut self) -> Option<(K, Vec<T>)> {
        self.open.pop_first().map(|(key, open)| (key, open.items))
    }

    /// Whether nothing more should be taken before something is written.
    pub(crate) fn is_full(&self) -> bool {
        let sum = |of: fn(&Open<T>) -> usize| self.open.values().map(of).sum::<usize>();
        sum(|open| open.deliveries) >= self.limits.deliveries
            || sum(|open| open.bytes) >= self.limits.bytes * OBJECTS_HELD
    }

    /// How long it is until something is old enough; none if nothing is held.
    pub(crate) fn due_in(&self, now: Instant) -> Option<Duration> {
        let oldest = self.open.values().map(|open| open.since).min()?;
        Some(self.limits.delay.saturating_sub(now.duration_since(oldest)))
    }

    /// All that is held.
    pub(crate) fn groups(&self) -> Vec<&Vec<T>> {
        self.open.values().map(|open| &open.items).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(30);

    fn gathering() -> Gathering<&'static str, u32> {
        Gathering::new(Limits { rows: 10, bytes: 1_000, delay: DELAY, deliveries: 20 })
    }

    #[test]
    fn what_is_large_or_old_enough_is_written_and_nothing_else() {
        let (mut gathering, start) = (gathering(), Instant::now());
        assert_eq!((gathering.due(start), gathering.due_in(start)), (None, None));
        gathering.add("rows", (0..9).collect(), 9, 1, start);
        gathering.add("bytes", vec![1], 1_000, 1, start);
        gathering.add("old", vec![2], 1, 1, start);
        assert_eq!(gathering.due(start), Some(("bytes", vec![1])));
        assert_eq!(gathering.due(start), None);
        gathering.add("rows", vec![9], 1, 1, start + DELAY / 2);
        assert_eq!(gathering.due(start + DELAY / 2), Some(("rows", (0..10).collect())));
        // The first row counts, not the last.
        gathering.add("old", vec![3], 1, 1, start + DELAY / 2);
        assert_eq!(gathering.due_in(start + DELAY / 2), Some(DELAY / 2));
        assert_eq!(gathering.due(start + DELAY), Some(("old", vec![2, 3])));
        assert!(gathering.groups().is_empty());
    }

    #[test]
    fn the_largest_is_written_when_too_much_is_held_in_all() {
        let (mut gathering, now) = (gathering(), Instant::now());
        for (key, deliveries) in [("a", 6), ("b", 8), ("c", 5)] {
            gathering.add(key, vec![1], 10, deliveries, now);
        }
        assert!(!gathering.is_full());
        gathering.add("a", vec![2], 10, 1, now);
        assert!(gathering.is_full());
        assert_eq!(gathering.due(now), Some(("b", vec![1])));
        assert!(!gathering.is_full());
        for n in 0..5 {
            gathering.add(["d", "e", "f", "g", "h"][n], vec![1], 999, 0, now);
        }
        assert!(gathering.is_full(), "by bytes");
        assert_eq!(std::iter::from_fn(|| gathering.rest()).count(), 7);
    }
}

//! What this process knows of sequences, within a bound.

use crate::domain::Sequence;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Mutex;

/// What an entry takes besides its keys, in keys.
const OWN_KEYS: usize = 16;

/// What is known of partitions, the least recently used forgotten first.
pub(super) struct Known {
    partitions: HashMap<String, Partition>,
    uses: u64,
    /// How many keys may be held besides those of the partition that was used last.
    max_keys: usize,
}

/// A partition that was used.
#[derive(Default)]
struct Partition {
    /// Held during a write: two writes of one process to one partition would only race each other.
    sequence: Arc<Mutex<Sequence>>,
    keys: usize,
    used: u64,
}

impl Known {
    pub(super) fn new(max_keys: usize) -> Self {
        Self { partitions: HashMap::new(), uses: 0, max_keys }
    }

    /// What is known of a partition; nothing at first.
    pub(super) fn open(&mut self, partition: &str) -> Arc<Mutex<Sequence>> {
        Arc::clone(&self.partitions.entry(partition.to_owned()).or_default().sequence)
    }

    /// A partition was used, and has so many keys now. One that is forgotten while it is written is read anew by the next.
    pub(super) fn used(&mut self, partition: &str, keys: usize) {
        self.uses += 1;
        if let Some(partition) = self.partitions.get_mut(partition) {
            (partition.keys, partition.used) = (keys, self.uses);
        }
        while self.partitions.len() > 1 && self.keys() > self.max_keys {
            let oldest = self.partitions.iter().min_by_key(|(_, partition)| partition.used);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { return };
            self.partitions.remove(&oldest);
        }
    }

    /// How many keys are held, by what they take.
    fn keys(&self) -> usize {
        self.partitions.values().map(|partition| partition.keys + OWN_KEYS).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_that_was_not_used_for_longest_is_forgotten_first() {
        let mut known = Known::new(100);
        for (partition, keys) in [("a", 10), ("b", 10), ("a", 20), ("c", 30)] {
            known.open(partition);
            known.used(partition, keys);
        }
        let held = |known: &Known| {
            let mut held: Vec<String> = known.partitions.keys().cloned().collect();
            held.sort();
            held
        };
        assert_eq!(held(&known), ["a", "c"]);
        // One in use is held, whatever its size.
        known.open("d");
        known.used("d", 1_000);
        assert_eq!(held(&known), ["d"]);
    }
}

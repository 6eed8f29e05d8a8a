//! Pick of two: of two workers taken at random the one with less to do. Nearly as good as the least loaded of all, without
//! looking at all, and without everybody running to the same one.

/// The index of the worker to take among those with `outstanding` requests. `random` chooses the two; `None` if there is none.
#[must_use]
pub fn pick_of_two(outstanding: &[u32], random: u64) -> Option<usize> {
    let count = outstanding.len() as u64;
    if count <= 1 {
        return outstanding.first().map(|_| 0);
    }
    let first = random % count;
    // The second is one of the others, each equally likely.
    let second = (first + 1 + (random >> 32) % (count - 1)) % count;
    let [first, second] = [first, second].map(|index| usize::try_from(index).unwrap_or(0));
    Some(if outstanding[second] < outstanding[first] { second } else { first })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nobody_is_picked_of_none_and_the_only_one_of_one() {
        assert_eq!(pick_of_two(&[], 7), None);
        assert_eq!(pick_of_two(&[1_000], u64::MAX), Some(0));
    }

    #[test]
    fn equal_workers_are_picked_equally() {
        let mut picked = [0_u32; 3];
        for n in 0..30_000_u64 {
            // Two independent halves, as a random number has them.
            let random = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0xffff_ffff) | ((n % 2) << 32);
            picked[pick_of_two(&[4, 4, 4], random).unwrap()] += 1;
        }
        for count in picked {
            assert!((9_000..11_000).contains(&count), "{picked:?}");
        }
    }

    proptest! {
        #[test]
        fn the_busiest_is_never_picked_where_there_is_another(
            mut outstanding in proptest::collection::vec(0_u32..100, 2..9), at in any::<prop::sample::Index>(), random: u64,
        ) {
            let busiest = at.index(outstanding.len());
            outstanding[busiest] = 1_000;
            prop_assert_ne!(pick_of_two(&outstanding, random), Some(busiest));
        }
    }
}

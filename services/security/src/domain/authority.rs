//! Which of the authority's certificates signs, which are trusted, and when the next is made.
//!
//! An authority is replaced without anybody noticing: the next one is made when two thirds of its predecessor's life are over
//! and trusted at once, signs only after everybody has had time to hear of it, and its predecessor is trusted until the last
//! certificate it can have signed has ended.

use slipway_kernel::Timestamp;
use std::time::Duration;

/// One of the authority's certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// When it was made.
    pub since: Timestamp,
    /// Until when it is valid.
    pub until: Timestamp,
}

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// One of the authority's certificates.
    pub authority: Duration,
    /// A certificate it signs.
    pub identity: Duration,
    /// How long everybody has to hear of a new one before it signs.
    pub settle: Duration,
}

/// What holds now. Numbers are places in the list that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which one signs; none if all have ended.
    pub signing: Option<usize>,
    /// Which are trusted.
    pub trusted: Vec<usize>,
    /// Whether the next one is to be made.
    pub make_next: bool,
}

/// What holds at `now`, given all the authority's certificates, oldest first.
#[must_use]
pub fn standing(terms: &[Term], now: Timestamp, lifetimes: &Lifetimes) -> Standing {
    let valid = |n: &usize| terms.get(*n).is_some_and(|term| now < term.until);
    let usable: Vec<usize> = (0..terms.len()).filter(valid).collect();
    let settled = |n: &&usize| terms.get(**n).is_some_and(|term| term.since.after(lifetimes.settle) <= now);
    // The first one has nobody to wait for.
    let signing = usable.iter().rev().find(settled).or(usable.first()).copied();
    let trusted = usable.iter().copied().filter(|n| is_trusted(terms, *n, now, lifetimes)).collect();
    let newest = usable.last().and_then(|n| terms.get(*n));
    let make_next = newest.is_none_or(|term| term.since.after(lifetimes.authority / 3 * 2) <= now);
    Standing { signing, trusted, make_next }
}

/// Until its successor has signed for as long as a certificate lives.
fn is_trusted(terms: &[Term], n: usize, now: Timestamp, lifetimes: &Lifetimes) -> bool {
    let ends = |successor: &Term| successor.since.after(lifetimes.settle).after(lifetimes.identity);
    terms.get(n + 1).is_none_or(|successor| now < ends(successor))
}

/// The next time at which something about this changes by itself.
#[must_use]
pub fn next_change(terms: &[Term], now: Timestamp, lifetimes: &Lifetimes) -> Option<Timestamp> {
    let of = |term: &Term| {
        let settled = term.since.after(lifetimes.settle);
        [settled, settled.after(lifetimes.identity), term.since.after(lifetimes.authority / 3 * 2), term.until]
    };
    terms.iter().flat_map(of).filter(|at| *at > now).min()
}

/// Until when certificates of an authority whose key is lost are still trusted, if they are to be: until the last one it can
/// have signed has ended.
#[must_use]
pub fn lost_is_trusted_until(terms: &[Term], lifetimes: &Lifetimes) -> Timestamp {
    terms.first().map_or(Timestamp(0), |first| first.since.after(lifetimes.identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;
    const LIFETIMES: Lifetimes = Lifetimes {
        authority: Duration::from_secs(300 * 3_600),
        identity: Duration::from_secs(24 * 3_600),
        settle: Duration::from_secs(3_600),
    };

    fn term(since_hours: u64) -> Term {
        let since = Timestamp(since_hours * HOUR);
        Term { since, until: since.after(LIFETIMES.authority) }
    }

    fn at(terms: &[Term], hours: u64) -> (Option<usize>, Vec<usize>, bool) {
        let Standing { signing, trusted, make_next } = standing(terms, Timestamp(hours * HOUR), &LIFETIMES);
        (signing, trusted, make_next)
    }

    #[test]
    fn the_first_signs_at_once_and_none_is_made_when_there_is_one() {
        assert_eq!(at(&[], 0), (None, vec![], true));
        assert_eq!(at(&[term(0)], 0), (Some(0), vec![0], false));
        assert_eq!(at(&[term(0)], 199), (Some(0), vec![0], false));
        assert_eq!(at(&[term(0)], 200), (Some(0), vec![0], true));
    }

    #[test]
    fn the_next_is_trusted_before_it_signs_and_the_last_until_nothing_of_it_lives() {
        let terms = [term(0), term(200)];
        assert_eq!(at(&terms, 200), (Some(0), vec![0, 1], false));
        assert_eq!(at(&terms, 201), (Some(1), vec![0, 1], false));
        assert_eq!(at(&terms, 224), (Some(1), vec![0, 1], false));
        assert_eq!(at(&terms, 225), (Some(1), vec![1], false));
    }

    #[test]
    fn after_a_long_sleep_there_is_a_new_beginning() {
        assert_eq!(at(&[term(0)], 300), (None, vec![], true));
        assert_eq!(at(&[term(0), term(300)], 300), (Some(1), vec![1], false));
    }

    #[test]
    fn what_a_lost_one_signed_is_trusted_as_long_as_it_can_live() {
        assert_eq!(lost_is_trusted_until(&[term(7)], &LIFETIMES), Timestamp(31 * HOUR));
        assert_eq!(lost_is_trusted_until(&[], &LIFETIMES), Timestamp(0));
    }

    proptest! {
        #[test]
        fn between_two_changes_nothing_changes(
            since in proptest::collection::btree_set(0u64..600, 1..4), from in 0u64..900, at in 0.0f64..1.0
        ) {
            let terms: Vec<Term> = since.into_iter().map(term).collect();
            let now = Timestamp(from * HOUR);
            let end = next_change(&terms, now, &LIFETIMES).unwrap_or(Timestamp(2_000 * HOUR));
            let between = Timestamp(now.0 + ((end.0 - now.0 - 1) as f64 * at) as u64);
            prop_assert_eq!(standing(&terms, now, &LIFETIMES), standing(&terms, between, &LIFETIMES));
        }

        #[test]
        fn whoever_signs_is_trusted_as_long_as_what_it_signs_lives(steps in proptest::collection::vec(1u64..40, 1..60)) {
            let mut terms: Vec<Term> = Vec::new();
            // What was signed when: the place of the signer and the end of what it signed.
            let mut issued: Vec<(usize, Timestamp)> = Vec::new();
            let mut hours = 0;
            for step in steps {
                hours += step;
                let now = Timestamp(hours * HOUR);
                if standing(&terms, now, &LIFETIMES).make_next {
                    terms.push(term(hours));
                }
                let found = standing(&terms, now, &LIFETIMES);
                let signing = found.signing.unwrap();
                prop_assert!(found.trusted.contains(&signing));
                let end = now.after(LIFETIMES.identity).min(terms[signing].until);
                issued.push((signing, end));
                for (signer, end) in &issued {
                    prop_assert!(now >= *end || found.trusted.contains(signer), "{signer} at {hours}");
                }
            }
        }
    }
}

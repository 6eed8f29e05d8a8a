//! Pick of two: of two workers taken at random the one that is expected to answer sooner. Nearly as good as the best of all, without
//! everybody running to the same one.
//!
//! What is expected is the peak-sensitive moving average of linkerd and Finagle: how long requests took lately, times those it has now.

use std::time::Duration;

/// How long a new worker is spared: its caches are cold, and how fast it is has not been seen.
pub const SLOW_START: Duration = Duration::from_secs(10);

/// How fast an average forgets: after this long, two thirds of it are of what came since.
const MEMORY: Duration = Duration::from_secs(10);

/// A worker as it is compared with another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Requests it has from here.
    pub outstanding: u32,
    /// What a request took lately, in seconds; none if that has not been seen.
    pub latency_s: Option<f64>,
    /// Since when it is known.
    pub age: Duration,
}

/// The index of the worker to take. `random` chooses the two; `None` if there is none.
#[must_use]
pub fn pick_of_two(candidates: &[Candidate], random: u64) -> Option<usize> {
    let count = candidates.len() as u64;
    if count <= 1 {
        return candidates.first().map(|_| 0);
    }
    let first = random % count;
    // The second is one of the others, each equally likely.
    let second = (first + 1 + (random >> 32) % (count - 1)) % count;
    let [first, second] = [first, second].map(|index| usize::try_from(index).unwrap_or(0));
    let (one, other) = (candidates[first], candidates[second]);
    // Who has not been seen is taken to be like the other.
    let [ours, theirs] = [cost(one, one.latency_s.or(other.latency_s)), cost(other, other.latency_s.or(one.latency_s))];
    Some(if theirs < ours { second } else { first })
}

/// Seconds after which a request that is sent now is expected to be answered; only good for comparing.
fn cost(candidate: Candidate, latency_s: Option<f64>) -> f64 {
    let young = SLOW_START.as_secs_f64() / candidate.age.as_secs_f64().max(SLOW_START.as_secs_f64() / 10.0);
    latency_s.unwrap_or(1.0) * f64::from(candidate.outstanding.saturating_add(1)) * young.max(1.0)
}

/// The average after one more request took `took_s`, `since` the one before it. A slow one counts at once, a fast one by and by.
#[must_use]
pub fn average(before_s: Option<f64>, since: Duration, took_s: f64) -> f64 {
    match before_s {
        Some(before) if took_s < before => {
            let kept = (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp();
            before.mul_add(kept, took_s * (1.0 - kept))
        }
        _ => took_s,
    }
}

/// The same average when it is looked at later: who was slow once and has not been asked since is tried again.
#[must_use]
pub fn faded(average_s: f64, since: Duration) -> f64 {
    average_s * (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD: Duration = Duration::from_secs(600);

    fn worker(outstanding: u32, latency_ms: f64) -> Candidate {
        Candidate { outstanding, latency_s: Some(latency_ms / 1_000.0), age: OLD }
    }

    /// Two independent halves, as a random number has them.
    fn random(n: u64) -> u64 {
        (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0xffff_ffff) | ((n % 2) << 32)
    }

    /// How often each is picked when a thousand requests are sent, each as long under way as its worker is slow.
    fn shares(mut workers: Vec<Candidate>, requests: u64) -> Vec<u32> {
        let (mut picked, mut under_way) = (vec![0; workers.len()], Vec::<(u64, usize)>::new());
        for now in 0..requests {
            under_way.retain(|(end, index)| {
                let over = *end <= now;
                workers[*index].outstanding -= u32::from(over);
                !over
            });
            let index = pick_of_two(&workers, random(now)).unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few milliseconds")]
            let takes = (workers[index].latency_s.unwrap_or(0.004) * 1_000.0) as u64;
            workers[index].outstanding += 1;
            picked[index] += 1;
            under_way.push((now + takes, index));
        }
        picked
    }

    #[test]
    fn nobody_is_picked_of_none_and_the_only_one_of_one() {
        assert_eq!(pick_of_two(&[], 7), None);
        assert_eq!(pick_of_two(&[worker(1_000, 1.0)], u64::MAX), Some(0));
    }

    #[test]
    fn equal_workers_are_picked_equally() {
        let mut picked = [0_u32; 3];
        for n in 0..30_000_u64 {
            picked[pick_of_two(&[worker(4, 1.0); 3], random(n)).unwrap()] += 1;
        }
        for count in picked {
            assert!((9_000..11_000).contains(&count), "{picked:?}");
        }
    }

    #[test]
    fn a_slower_worker_gets_fewer_and_a_newcomer_few_at_first() {
        let picked = shares(vec![worker(0, 4.0), worker(0, 16.0)], 10_000);
        assert!(picked[0] > 2 * picked[1] && picked[1] > 500, "{picked:?}");
        let newcomer = |age| Candidate { latency_s: None, age, ..worker(0, 0.0) };
        let of = |age| shares(vec![worker(0, 4.0), newcomer(age)], 10_000)[1];
        let [begin, middle, end] = [Duration::ZERO, SLOW_START / 4, SLOW_START].map(of);
        assert!(begin < middle && middle < end && end > 4_500 && begin < 3_000, "{begin} {middle} {end}");
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_is_forgotten_by_and_by() {
        assert!((average(None, OLD, 0.5) - 0.5).abs() < 1e-9);
        assert!((average(Some(0.1), Duration::ZERO, 0.5) - 0.5).abs() < 1e-9);
        let after = average(Some(0.5), MEMORY, 0.1);
        assert!(after > 0.2 && after < 0.3, "{after}");
        assert!(faded(0.5, Duration::ZERO) > 0.49 && faded(0.5, MEMORY * 5) < 0.01);
    }

    proptest! {
        #[test]
        fn the_worst_is_never_picked_where_there_is_another(
            mut outstanding in proptest::collection::vec(0_u32..100, 2..9), at in any::<prop::sample::Index>(), random: u64,
        ) {
            let worst = at.index(outstanding.len());
            outstanding[worst] = 1_000;
            let workers: Vec<Candidate> = outstanding.iter().map(|outstanding| worker(*outstanding, 1.0)).collect();
            prop_assert_ne!(pick_of_two(&workers, random), Some(worst));
        }

        #[test]
        fn an_average_lies_between_what_went_into_it(before in 0.0_f64..10.0, took in 0.0_f64..10.0, since_ms in 0_u64..100_000) {
            let after = average(Some(before), Duration::from_millis(since_ms), took);
            prop_assert!(after >= took.min(before) - 1e-9 && after <= took.max(before) + 1e-9);
        }
    }
}

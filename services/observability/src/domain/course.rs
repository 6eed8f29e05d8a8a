//! What clients saw of one revision in the last moments, over a number of ingress replicas that changes.

use super::exposition::Sample;
use slipway_kernel::{AnswerCounts, DeploymentId, RevisionId, Tally};
use std::{collections::VecDeque, time::Duration};

/// The course of one revision: what was counted up to each look, for as long as the long window reaches back.
///
/// What replicas counted is summed by [`Tally`], so a window holds what clients saw in it, whoever came, started anew or left meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Course {
    tally: Tally,
    /// When it was looked, since any one moment, and what was counted up to then.
    looks: VecDeque<(Duration, AnswerCounts)>,
}

impl Course {
    /// Takes in what each replica that answered had counted at `now`. Looks beyond `long` are forgotten.
    pub fn look(&mut self, now: Duration, long: Duration, answered: impl IntoIterator<Item = (String, AnswerCounts)>) {
        self.tally.look(answered);
        self.looks.push_back((now, self.tally.total().clone()));
        // One older than the long window is kept: the window begins at it.
        while self.looks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= long) && self.looks.len() > 2 {
            self.looks.pop_front();
        }
    }

    /// The short and the long window. A revision younger than the long one is judged by what there is, once the short one is full.
    #[must_use]
    pub fn windows(&self, short: Duration) -> Option<(AnswerCounts, AnswerCounts)> {
        let (now, counted) = self.looks.back()?;
        let before = self.looks.iter().rev().find(|(at, _)| now.saturating_sub(*at) >= short)?;
        // The tally never falls.
        Some((counted.since(&before.1)?, counted.since(&self.looks.front()?.1)?))
    }
}

/// What clients saw of a revision, by the samples of one replica. Validation traffic is not theirs.
#[must_use]
pub fn counts(samples: &[Sample], id: &DeploymentId, revision: RevisionId) -> AnswerCounts {
    let text = revision.to_string();
    let labels = [
        ("namespace", id.namespace.as_str()),
        ("deployment", id.name.as_str()),
        ("revision", text.as_str()),
        ("probe", "false"),
    ];
    let mut counts = AnswerCounts::default();
    for sample in samples.iter().filter(|sample| sample.has(&labels)) {
        match sample.name.as_str() {
            "slipway_ingress_requests_total" => {
                counts.requests += sample.count();
                if sample.labels.get("code").is_some_and(|code| code.starts_with('5')) {
                    counts.failures += sample.count();
                }
            }
            "slipway_ingress_request_duration_seconds_bucket" => {
                if let Some(bound) = sample.bound() {
                    counts.add_bucket(bound, sample.count());
                }
            }
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Judgement, Thresholds, judge, parse};
    use proptest::prelude::*;
    use slipway_kernel::spec::Slo;

    const SHORT: Duration = Duration::from_secs(10);
    const LONG: Duration = Duration::from_secs(60);

    fn seen(requests: u64, failures: u64) -> AnswerCounts {
        AnswerCounts { requests, failures, buckets: vec![(0.1, requests - failures), (f64::INFINITY, requests)] }
    }

    fn judged(course: &Course) -> Option<Judgement> {
        let slo = Slo { latency_p99: None, availability: 99.0, throughput: None };
        let (short, long) = course.windows(SHORT)?;
        Some(judge(&slo, &short, &long, Thresholds { min_requests: 20, burn_rate: 14.4 }))
    }

    #[test]
    fn windows_reach_back_as_far_as_they_are_long() {
        let mut course = Course::default();
        for second in (0..200).step_by(2) {
            let one = ("a".to_owned(), seen(1_000 + second * 10, 0));
            course.look(Duration::from_secs(second), LONG, [one]);
            assert_eq!(course.windows(SHORT).is_some(), second >= 10, "{second}");
        }
        let (short, long) = course.windows(SHORT).unwrap();
        assert_eq!((short.requests, long.requests), (100, 600));
        assert!(course.looks.len() <= 32, "{}", course.looks.len());
    }

    #[test]
    fn a_replica_that_leaves_does_not_bring_its_old_failures_back() {
        let mut course = Course::default();
        // Long ago one of two failed for a while.
        for second in 0..20 {
            let both = [("a", seen(100_000, 40_000)), ("b", seen(1_000 + second * 50, 0))];
            let both = both.map(|(name, counts)| (name.to_owned(), counts));
            // From the twelfth second on it is gone.
            let there = both.into_iter().filter(|(name, _)| second < 12 || name == "b");
            course.look(Duration::from_secs(second), LONG, there);
            if let Some(judged) = judged(&course) {
                assert!(matches!(judged, Judgement::Kept(_)), "{second}: {judged:?}");
            }
        }
    }

    #[test]
    fn samples_of_clients_are_counted_and_those_of_others_are_not() {
        let own = "namespace=\"default\",deployment=\"digits\",revision=\"1-1\"";
        let text = format!(
            "slipway_ingress_requests_total{{{own},code=\"200\",probe=\"false\"}} 90\n\
             slipway_ingress_requests_total{{{own},code=\"503\",probe=\"false\"}} 10\n\
             slipway_ingress_requests_total{{{own},code=\"500\",probe=\"true\"}} 1000\n\
             slipway_ingress_request_duration_seconds_bucket{{{own},probe=\"false\",le=\"0.1\"}} 80\n\
             slipway_ingress_request_duration_seconds_bucket{{{own},probe=\"false\",le=\"+Inf\"}} 100\n"
        );
        let counts = counts(&parse(&text), &"default.digits".parse().unwrap(), RevisionId::new(1, 1));
        assert_eq!((counts.requests, counts.failures), (100, 10));
        assert_eq!(counts.buckets, [(0.1, 80), (f64::INFINITY, 100)]);
    }

    /// Two seconds in the life of one of four replicas.
    #[derive(Clone, Debug)]
    struct Step {
        /// Whether it is there and answers who looks.
        answers: [bool; 4],
        /// Whether it starts anew.
        restarts: [bool; 4],
        /// What clients asked of it.
        requests: [u64; 4],
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = (any::<[bool; 4]>(), proptest::array::uniform4(proptest::bool::weighted(0.1)), any::<[u8; 4]>());
        let step = step.prop_map(|(answers, restarts, requests)| Step {
            answers,
            restarts,
            requests: requests.map(u64::from),
        });
        proptest::collection::vec(step, 1..60)
    }

    /// What was made of each step, with every request of it failed or none; each replica lived long before, the other way round.
    fn run(steps: &[Step], fails: bool) -> Vec<Option<Judgement>> {
        let life = |requests| if fails { seen(requests, 0) } else { seen(requests, requests) };
        let now = |requests| if fails { seen(requests, requests) } else { seen(requests, 0) };
        let mut lives = [500_000, 400_000, 300_000, 200_000].map(life);
        let mut course = Course::default();
        let mut judgements = Vec::new();
        for (n, step) in steps.iter().enumerate() {
            for (replica, life) in lives.iter_mut().enumerate() {
                if step.restarts[replica] {
                    *life = AnswerCounts::default();
                }
                *life = life.plus(&now(step.requests[replica]));
            }
            let there = (0..4).filter(|replica| step.answers[*replica]);
            let told: Vec<_> = there.map(|replica| (format!("r{replica}"), lives[replica].clone())).collect();
            course.look(Duration::from_secs(2 * n as u64), LONG, told);
            judgements.push(judged(&course));
        }
        judgements
    }

    proptest! {
        #[test]
        fn however_replicas_come_and_go_nothing_is_degraded_that_answers_well(steps in steps()) {
            for judged in run(&steps, false).into_iter().flatten() {
                prop_assert!(!matches!(judged, Judgement::Missed(_)), "{judged:?}");
            }
        }

        #[test]
        fn however_replicas_come_and_go_what_fails_is_never_called_kept(steps in steps()) {
            for judged in run(&steps, true).into_iter().flatten() {
                prop_assert!(!matches!(judged, Judgement::Kept(_)), "{judged:?}");
            }
        }
    }
}

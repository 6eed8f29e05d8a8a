//! What a repeated measurement is worth: a band, and whether a target lies outside of it.
//!
//! The band is where the middle of the repeats lies, by their order and not by a formula that assumes a bell: with three or
//! four repeats from the least to the most, with five to eight without one at each end, with nine without two. So a single
//! hiccup of the machine asks for more repeats and is then outvoted, while a service that is slow every third time stays
//! unclear. Only a band that lies wholly on one side of the target decides.

/// The least repeats whose spread says anything.
const ENOUGH: usize = 3;
/// With fewer, the spread is taken to be this share of the value: what a quiet machine shows from run to run.
const ASSUMED: f64 = 0.10;

/// Which side of the target is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The value must not exceed the target.
    AtMost,
    /// The value must reach the target.
    AtLeast,
}

/// One repeat of a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The figure.
    pub figure: f64,
    /// What else the machine did, or the generator's own lag, is large enough to explain a bad figure.
    pub disturbed: bool,
}

/// Where the figure lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// The least it may be.
    pub low: f64,
    /// The middle repeat.
    pub median: f64,
    /// The most it may be.
    pub high: f64,
}

impl Band {
    /// The band of some figures; `None` if there are none or one is no number.
    #[must_use]
    pub fn of(figures: &[f64]) -> Option<Self> {
        if figures.is_empty() || figures.iter().any(|figure| !figure.is_finite()) {
            return None;
        }
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        let median = f64::midpoint(sorted[last / 2], sorted[last - last / 2]);
        let outer = last / 4;
        let assumed = if sorted.len() < ENOUGH { ASSUMED * median.abs() } else { 0.0 };
        Some(Self { low: sorted[outer] - assumed, median, high: sorted[last - outer] + assumed })
    }

    /// Half its width.
    #[must_use]
    pub fn noise(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    fn against(&self, target: f64, wanted: Wanted) -> Side {
        match wanted {
            Wanted::AtMost if self.high <= target => Side::Good,
            Wanted::AtMost if self.low > target => Side::Bad,
            Wanted::AtLeast if self.low >= target => Side::Good,
            Wanted::AtLeast if self.high < target => Side::Bad,
            _ => Side::Both,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Good,
    Bad,
    Both,
}

/// What the repeats say about a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// It is met.
    Met(Band),
    /// It is missed, and not because of what else the machine did.
    Missed(Band),
    /// The band holds the target: more repeats may tell.
    Straddles(Band),
    /// It is missed while something else kept the machine busy: repeats in quiet may tell.
    Contended(Band),
    /// Nothing was measured.
    Unmeasured,
}

/// Decides. A target that is met in spite of disturbance is met; one that is missed counts as missed only by repeats that
/// nothing disturbed, of which there must be three (or as many as were asked for).
#[must_use]
pub fn decide(values: &[Value], asked: usize, target: f64, wanted: Wanted) -> Decision {
    let all: Vec<f64> = values.iter().map(|value| value.figure).collect();
    let quiet: Vec<f64> = values.iter().filter(|value| !value.disturbed).map(|value| value.figure).collect();
    let Some(band) = Band::of(&all) else {
        return Decision::Unmeasured;
    };
    if band.against(target, wanted) == Side::Good {
        return Decision::Met(band);
    }
    match Band::of(&quiet) {
        Some(quiet_band) if quiet.len() >= asked.clamp(1, ENOUGH) => match quiet_band.against(target, wanted) {
            Side::Good => Decision::Met(quiet_band),
            Side::Bad => Decision::Missed(quiet_band),
            Side::Both => Decision::Straddles(quiet_band),
        },
        _ if quiet.len() < all.len() => Decision::Contended(band),
        _ => Decision::Straddles(band),
    }
}

/// How many more repeats to make, of at most `most` in all: two, so that there is a middle one; none once it is decided.
#[must_use]
pub fn more(decision: &Decision, made: usize, most: usize) -> usize {
    match decision {
        Decision::Met(_) | Decision::Missed(_) => 0,
        Decision::Straddles(_) | Decision::Contended(_) | Decision::Unmeasured => most.saturating_sub(made).min(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quiet(figures: &[f64]) -> Vec<Value> {
        figures.iter().map(|figure| Value { figure: *figure, disturbed: false }).collect()
    }

    fn busy(figures: &[f64]) -> Vec<Value> {
        figures.iter().map(|figure| Value { figure: *figure, disturbed: true }).collect()
    }

    #[test]
    fn a_band_on_one_side_of_the_target_decides() {
        let at_most = |figures: &[f64]| decide(&quiet(figures), 3, 50.0, Wanted::AtMost);
        assert!(matches!(at_most(&[5.0, 6.0, 7.0]), Decision::Met(_)));
        assert!(matches!(at_most(&[51.0, 60.0, 70.0]), Decision::Missed(_)));
        assert!(matches!(at_most(&[40.0, 49.0, 51.0]), Decision::Straddles(_)));
        let at_least = |figures: &[f64]| decide(&quiet(figures), 3, 50.0, Wanted::AtLeast);
        assert!(matches!(at_least(&[50.0, 60.0, 70.0]), Decision::Met(_)));
        assert!(matches!(at_least(&[5.0, 6.0, 7.0]), Decision::Missed(_)));
        assert!(matches!(at_least(&[40.0, 49.0, 51.0]), Decision::Straddles(_)));
        assert_eq!(at_least(&[]), Decision::Unmeasured);
        assert_eq!(at_least(&[1.0, f64::NAN]), Decision::Unmeasured);
    }

    #[test]
    fn one_hiccup_is_outvoted_by_more_repeats_and_a_habit_is_not() {
        let decide = |figures: &[f64]| decide(&quiet(figures), 3, 50.0, Wanted::AtMost);
        assert!(matches!(decide(&[5.0, 6.0, 80.0]), Decision::Straddles(_)));
        assert!(matches!(decide(&[5.0, 6.0, 80.0, 5.0, 6.0]), Decision::Met(_)));
        assert!(matches!(decide(&[5.0, 6.0, 80.0, 5.0, 80.0]), Decision::Straddles(_)));
        assert!(matches!(decide(&[5.0, 6.0, 80.0, 5.0, 80.0, 5.0, 80.0]), Decision::Straddles(_)));
    }

    #[test]
    fn a_single_repeat_decides_only_with_a_margin() {
        let decide = |figure: f64| decide(&quiet(&[figure]), 1, 50.0, Wanted::AtMost);
        assert!(matches!(decide(40.0), Decision::Met(_)));
        assert!(matches!(decide(48.0), Decision::Straddles(_)));
        assert!(matches!(decide(52.0), Decision::Straddles(_)));
        assert!(matches!(decide(60.0), Decision::Missed(_)));
    }

    #[test]
    fn a_miss_while_the_machine_was_busy_is_not_held_against_the_revision() {
        let values = busy(&[60.0, 70.0, 80.0]);
        assert!(matches!(decide(&values, 3, 50.0, Wanted::AtMost), Decision::Contended(_)));
        assert!(matches!(decide(&busy(&[5.0, 6.0, 7.0]), 3, 50.0, Wanted::AtMost), Decision::Met(_)));
        let calm = [values.clone(), quiet(&[61.0, 62.0, 63.0])].concat();
        assert!(matches!(decide(&calm, 3, 50.0, Wanted::AtMost), Decision::Missed(_)));
        let calm = [values, quiet(&[4.0, 5.0, 6.0])].concat();
        assert!(matches!(decide(&calm, 3, 50.0, Wanted::AtMost), Decision::Met(_)));
    }

    #[test]
    fn repeats_are_added_by_two_until_the_bound() {
        let straddles = decide(&quiet(&[40.0, 60.0, 50.0]), 3, 50.0, Wanted::AtMost);
        assert_eq!([3, 5, 6, 7, 9].map(|made| more(&straddles, made, 7)), [2, 2, 1, 0, 0]);
        let met = decide(&quiet(&[1.0, 1.0, 1.0]), 3, 50.0, Wanted::AtMost);
        assert_eq!(more(&met, 3, 7), 0);
    }

    fn figures() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec(0.1f64..1_000.0, 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn more_noise_never_turns_unclear_into_missed(
            figures in figures(), target in 0.1f64..1_000.0, factor in 1.0f64..10.0, at_most: bool,
        ) {
            let wanted = if at_most { Wanted::AtMost } else { Wanted::AtLeast };
            let before = decide(&quiet(&figures), figures.len(), target, wanted);
            let median = Band::of(&figures).unwrap().median;
            let noisier: Vec<f64> = figures.iter().map(|figure| median + factor * (figure - median)).collect();
            let after = decide(&quiet(&noisier), figures.len(), target, wanted);
            if matches!(before, Decision::Straddles(_)) {
                prop_assert!(matches!(after, Decision::Straddles(_)), "{before:?} became {after:?}");
            }
        }

        #[test]
        fn a_machine_busy_throughout_never_makes_a_miss_and_a_met_target_stays_met(
            figures in figures(), target in 0.1f64..1_000.0, mask: u16,
        ) {
            let mut values = quiet(&figures);
            let before = decide(&values, 3, target, Wanted::AtMost);
            for (n, value) in values.iter_mut().enumerate() {
                value.disturbed = mask & (1 << n) != 0;
            }
            let after = decide(&values, 3, target, Wanted::AtMost);
            if matches!(before, Decision::Met(_)) {
                prop_assert!(matches!(after, Decision::Met(_)));
            }
            if values.iter().all(|value| value.disturbed) {
                prop_assert!(!matches!(after, Decision::Missed(_)));
            }
        }

        #[test]
        fn a_target_that_every_repeat_met_is_never_missed_and_the_other_way_round(
            figures in figures(), target in 0.1f64..1_000.0,
        ) {
            let decision = decide(&quiet(&figures), figures.len(), target, Wanted::AtMost);
            if figures.iter().all(|figure| *figure <= target) {
                prop_assert!(!matches!(decision, Decision::Missed(_)));
            }
            if figures.iter().all(|figure| *figure > target) {
                prop_assert!(!matches!(decision, Decision::Met(_)));
            }
        }

        #[test]
        fn the_order_of_the_repeats_does_not_matter(figures in figures(), target in 0.1f64..1_000.0) {
            let mut reversed = figures.clone();
            reversed.reverse();
            let decide = |figures: &[f64]| decide(&quiet(figures), 3, target, Wanted::AtMost);
            prop_assert_eq!(decide(&figures), decide(&reversed));
        }
    }
}

//! The rules that exclude a candidate, one file each. A rule knows offers, never names of candidates.

pub mod budget;
pub mod capacity;
pub mod compliance;
pub mod control;
pub mod gpu;
pub mod latency;
pub mod quota;
pub mod region;
pub mod residency;
pub mod target;

use super::offer::Offer;
use crate::domain::demands::Demands;
use slipway_kernel::{CpuMillis, Veto};
use std::fmt;

/// The name of the rule that a spec's own choice excludes all others by; it is no hard fact about a candidate.
pub const TARGET: &str = "target";

/// A rule.
pub struct Rule {
    /// Why the candidate is excluded, if it is.
    pub veto: fn(&Offer, &Demands) -> Option<Veto>,
    /// Changes the demand that excluded the candidate to what it can fulfil, if there is such.
    pub relax: fn(&Offer, &mut Demands) -> Option<Change>,
}

/// All of them.
pub const RULES: [Rule; 10] = [
    Rule { veto: target::veto, relax: target::relax },
    Rule { veto: region::veto, relax: |_, _| None },
    Rule { veto: residency::veto, relax: residency::relax },
    Rule { veto: compliance::veto, relax: compliance::relax },
    Rule { veto: control::veto, relax: control::relax },
    Rule { veto: gpu::veto, relax: gpu::relax },
    Rule { veto: capacity::veto, relax: capacity::relax },
    Rule { veto: quota::veto, relax: quota::relax },
    Rule { veto: latency::veto, relax: latency::relax },
    Rule { veto: budget::veto, relax: budget::relax },
];

/// A demand that is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it stands in the spec.
    pub path: &'static str,
    /// What it was.
    pub from: String,
    /// What it would be.
    pub to: String,
}

impl Change {
    fn new(path: &'static str, from: impl fmt::Display, to: impl fmt::Display) -> Self {
        Self { path, from: from.to_string(), to: to.to_string() }
    }

    /// How much it takes to give in: least for money and time, more for what was asked for but may be had otherwise, more for what the model is
    /// said to need, most for the law. A judgement, for telling the closest of several.
    #[must_use]
    pub fn weight(&self) -> u32 {
        match self.path {
            "spec.infrastructure.budgetPerHour" | "spec.infrastructure.latencyBudget" => 1,
            "spec.resources.gpuMemory" => 3,
            "spec.infrastructure.gpu" => 4,
            "spec.infrastructure.residency" | "spec.infrastructure.compliance" | "spec.infrastructure.control" => 5,
            _ => 2,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} instead of {}", self.path, self.to, self.from)
    }
}

/// Everything that excludes the candidate.
#[must_use]
pub fn vetoes(offer: &Offer, demands: &Demands) -> Vec<Veto> {
    RULES.iter().filter_map(|rule| (rule.veto)(offer, demands)).collect()
}

fn veto(rule: &str, reason: impl Into<String>) -> Veto {
    Veto { rule: rule.to_owned(), reason: reason.into() }
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "nowhere named".to_owned() } else { words.join(", ") }
}

/// Fewer workers to begin with.
fn fewer(demands: &mut Demands, workers: u32) -> Option<Change> {
    let from = std::mem::replace(&mut demands.workers, workers.max(1));
    (from != demands.workers).then(|| Change::new("spec.scale.min", from, demands.workers))
}

/// The cores of one worker, at most so many.
fn smaller(demands: &mut Demands, cores: f64) -> Option<Change> {
    let from = demands.cpu;
    // Thousandths of a core; a share of one rounds down.
    let millis = (cores * 1_000.0).clamp(0.0, f64::from(from.0)) as u32;
    demands.cpu = CpuMillis(millis);
    (millis > 0 && demands.cpu != from).then(|| Change::new("spec.resources.cpu", from, demands.cpu))
}

/// How often the part goes into the whole.
fn times(whole: f64, part: f64) -> u32 {
    (whole / part).floor().clamp(0.0, f64::from(u32::MAX)) as u32
}

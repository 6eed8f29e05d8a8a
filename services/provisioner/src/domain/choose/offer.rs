//! What a candidate offers, so that rules and scores need not know which one it is.

use crate::domain::{clouds::Quota, surroundings::Access};
use slipway_kernel::{GpuFacts, Span, spec::Target};

/// A candidate with everything the rules and scores ask about.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Which one.
    pub target: Target,
    /// Where of it.
    pub site: Site,
    /// Where the data could be.
    pub regions: Vec<String>,
    /// The regimes it complies with.
    pub compliance: Vec<String>,
    /// Whether machines and cluster are under one's own control.
    pub own: bool,
    /// What to do when a region, a regime or the control is missing.
    pub attest: &'static str,
    /// What there is of cores and memory; `None` = as much as is paid for.
    pub capacity: Option<Capacity>,
    /// What the account may have.
    pub quota: Quota,
    /// What there is of GPUs.
    pub gpus: Gpus,
    /// What the network to the clients costs.
    pub latency: Span,
    /// What the first workers cost an hour.
    pub cost_per_hour: f64,
    /// What the most workers cost an hour.
    pub cost_at_most: f64,
    /// How well it follows peaks.
    pub elasticity: Grade,
    /// How little work it makes.
    pub effort: Grade,
    /// How near it is to the data.
    pub locality: Grade,
    /// Whether this installation could act on it.
    pub access: Access,
}

/// Where of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// It is one place.
    Own,
    /// This region, and why.
    Region(String),
    /// There is no region that may be used.
    Nowhere,
}

/// A fixed amount of cores and memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Cores that may be promised.
    pub cores: f64,
    /// Cores of the machine, which one worker cannot exceed.
    pub cores_of_machine: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// What there is of GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// None, and why.
    None(String),
    /// These.
    These(Vec<GpuFacts>),
    /// As many as are paid for, up to this much memory each, in bytes.
    Rented(u64),
}

/// A judgement from 0 (worst) to 1 (best), with its reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grade {
    /// 0 to 1.
    pub value: f64,
    /// Why.
    pub reason: &'static str,
}

impl Grade {
    /// A grade.
    #[must_use]
    pub const fn new(value: f64, reason: &'static str) -> Self {
        Self { value, reason }
    }
}

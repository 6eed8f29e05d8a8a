//! Trees laid out flat, and the walk through them.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Sub};

use tract_onnx::tract_hir::internal::Datum;

/// The precision in which thresholds are compared and weights are added: that of the input.
pub(in super::super) trait Number:
    Datum + Copy + Default + PartialOrd + Add<Output = Self> + AddAssign + Sub<Output = Self> + Div<Output = Self> + Debug
{
    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
    fn is_missing(self) -> bool;
}

impl Number for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn wide(self) -> f64 {
        f64::from(self)
    }

    fn is_missing(self) -> bool {
        self.is_nan()
    }
}

impl Number for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn wide(self) -> f64 {
        self
    }

    fn is_missing(self) -> bool {
        self.is_nan()
    }
}

/// How a branch compares a feature with its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    NotEqual,
}

/// When a branch is taken to its true side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) comparison: Comparison,
    /// A missing value (NaN) goes to the true side whatever the comparison says.
    pub(super) missing_is_true: bool,
}

impl Rule {
    fn holds<T: Number>(self, value: T, threshold: T) -> bool {
        let compared = match self.comparison {
            Comparison::AtMost => value <= threshold,
            Comparison::Below => value < threshold,
            Comparison::AtLeast => value >= threshold,
            Comparison::Above => value > threshold,
            Comparison::Equal => value == threshold,
            Comparison::NotEqual => value != threshold,
        };
        compared || (self.missing_is_true && value.is_missing())
    }
}

/// Where a branch leads: to another branch or to a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(u32);

impl Link {
    const LEAF: u32 = 1 << 31;
    /// More of either cannot be told apart by a link.
    pub(super) const MOST: usize = (1 << 31) - 1;

    /// To the branch at this index, which is at most [`Link::MOST`].
    pub(super) fn branch(index: usize) -> Self {
        Self(index as u32)
    }

    /// To the leaf at this index, which is at most [`Link::MOST`].
    pub(super) fn leaf(index: usize) -> Self {
        Self(index as u32 | Self::LEAF)
    }

    /// The branch, or none for a leaf.
    pub(super) fn as_branch(self) -> Option<usize> {
        (self.0 & Self::LEAF == 0).then_some(self.0 as usize)
    }

    fn index(self) -> usize {
        (self.0 & !Self::LEAF) as usize
    }
}

/// A branch. One step of a walk needs all of it, so it lies in one place, 16 bytes in single precision. With an array per
/// field the walk of [`LANES`] rows side by side took more than twice as long (1.2 ms, not 0.5 ms, for 540 rows through 50
/// trees of 230 branches).
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch<T> {
    pub(super) threshold: T,
    pub(super) feature: u32,
    pub(super) yes: Link,
    pub(super) no: Link,
}

/// What a leaf gives to one class or target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weight<T> {
    pub(super) slot: u32,
    pub(super) value: T,
}

/// How the leaves that a row reaches become one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// The rules of all branches. Nearly every forest has one for all, and then the walk does not look any up.
#[derive(Debug, Clone)]
enum Rules {
    AllAtMost,
    AllBelow,
    Each(Vec<Rule>),
}

/// Trees whose links have been checked: every walk ends at a leaf.
#[derive(Debug, Clone)]
pub(in super::super) struct Forest<T> {
    branches: Vec<Branch<T>>,
    rules: Rules,
    roots: Vec<Link>,
    /// The weights of leaf i are `weights[leaves[i]..leaves[i + 1]]`.
    leaves: Vec<u32>,
    weights: Vec<Weight<T>>,
    slots: usize,
    features: usize,
}

/// What a forest is made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts<T> {
    pub(super) branches: Vec<Branch<T>>,
    /// One per branch.
    pub(super) rules: Vec<Rule>,
    /// One per tree.
    pub(super) roots: Vec<Link>,
    /// Starts of the leaves' weights, and the end.
    pub(super) leaves: Vec<u32>,
    pub(super) weights: Vec<Weight<T>>,
    /// How many classes or targets there are.
    pub(super) slots: usize,
}

/// The score of one class or target of one row, so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Score<T> {
    pub(super) value: T,
    /// Whether any leaf had a weight for it.
    pub(super) seen: bool,
}

impl<T: Number> Score<T> {
    /// What a caller sees of it: nothing is zero.
    pub(super) fn shown(&self) -> f64 {
        if self.seen { self.value.wide() } else { 0.0 }
    }
}

/// Rows that go through a tree before the next tree: the tree stays in the first-level cache, and so do the rows. Row by row
/// took 1.7 ms instead of 1.3 ms (as above, one row at a time), and four times as many rows gained nothing.
const BLOCK: usize = 64;

/// Rows that walk through a tree side by side. Each step of a walk waits for the last; those of other rows fill the wait
/// (0.5 ms instead of 1.3 ms).
const LANES: usize = 8;

impl<T: Number> Forest<T> {
    /// Trees from parts of which every link, slot and range is within bounds. Fails on a walk that could go in circles.
    pub(super) fn new(parts: Parts<T>) -> Option<Self> {
        if !ends(&parts.branches) {
            return None;
        }
        let all = |comparison| parts.rules.iter().all(|rule| *rule == Rule { comparison, missing_is_true: false });
        let rules = if all(Comparison::AtMost) {
            Rules::AllAtMost
        } else if all(Comparison::Below) {
            Rules::AllBelow
        } else {
            Rules::Each(parts.rules)
        };
        let features = parts.branches.iter().map(|branch| branch.feature as usize + 1).max().unwrap_or_default();
        Some(Self {
            branches: parts.branches,
            rules,
            roots: parts.roots,
            leaves: parts.leaves,
            weights: parts.weights,
            slots: parts.slots,
            features,
        })
    }

    /// The same trees for inputs of double precision.
    pub(super) fn doubled(&self) -> Forest<f64> {
        Forest {
            branches: self
                .branches
                .iter()
                .map(|&Branch { threshold, feature, yes, no }| Branch { threshold: threshold.wide(), feature, yes, no })
                .collect(),
            rules: self.rules.clone(),
            roots: self.roots.clone(),
            leaves: self.leaves.clone(),
            weights: self.weights.iter().map(|&Weight { slot, value }| Weight { slot, value: value.wide() }).collect(),
            slots: self.slots,
            features: self.features,
        }
    }

    /// How many features a row must have.
    pub(super) fn features(&self) -> usize {
        self.features
    }

    /// How many classes or targets there are.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// How many trees there are.
    pub(super) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Sends every row through every tree, and each row's scores to `finish`, in order. `rows` holds rows of `width`
    /// features: at least one, and at least [`Forest::features`].
    pub(super) fn scores(&self, rows: &[T], width: usize, aggregate: Aggregate, finish: impl FnMut(&mut [Score<T>])) {
        match aggregate {
            Aggregate::Sum | Aggregate::Average => self.walked(rows, width, |score, weight| score + weight, finish),
            Aggregate::Min => {
                self.walked(rows, width, |score, weight| if weight < score { weight } else { score }, finish);
            }
            Aggregate::Max => {
                self.walked(rows, width, |score, weight| if weight > score { weight } else { score }, finish);
            }
        }
    }

    fn walked(&self, rows: &[T], width: usize, merge: impl Fn(T, T) -> T, finish: impl FnMut(&mut [Score<T>])) {
        match &self.rules {
            Rules::AllAtMost => self.blocks(rows, width, |_, value, threshold| value <= threshold, merge, finish),
            Rules::AllBelow => self.blocks(rows, width, |_, value, threshold| value < threshold, merge, finish),
            Rules::Each(rules) => {
                self.blocks(rows, width, |index, value, threshold| rules[index].holds(value, threshold), merge, finish);
            }
        }
    }

    fn blocks(
        &self,
        rows: &[T],
        width: usize,
        holds: impl Fn(usize, T, T) -> bool,
        merge: impl Fn(T, T) -> T,
        mut finish: impl FnMut(&mut [Score<T>]),
    ) {
        let mut scores = vec![Score::default(); BLOCK.min(rows.len() / width) * self.slots];
        for block in rows.chunks(BLOCK * width) {
            let scores = &mut scores[..block.len() / width * self.slots];
            scores.fill(Score::default());
            for &root in &self.roots {
                let (mut rows, mut scores) = (block, &mut *scores);
                while let Some((lanes, rest)) = rows.split_at_checked(LANES * width) {
                    let (taken, left) = std::mem::take(&mut scores).split_at_mut(LANES * self.slots);
                    let leaves = self.reached_side_by_side(root, lanes, width, &holds);
                    for (leaf, scores) in leaves.into_iter().zip(taken.chunks_exact_mut(self.slots)) {
                        self.give(leaf, scores, &merge);
                    }
                    (rows, scores) = (rest, left);
                }
                for (row, scores) in rows.chunks_exact(width).zip(scores.chunks_exact_mut(self.slots)) {
                    self.give(self.reached(root, row, &holds), scores, &merge);
                }
            }
            scores.chunks_exact_mut(self.slots).for_each(&mut finish);
        }
    }

    /// The leaf that a row reaches.
    fn reached(&self, root: Link, row: &[T], holds: impl Fn(usize, T, T) -> bool) -> Link {
        let mut at = root;
        while let Some(index) = at.as_branch() {
            at = self.next(index, row, &holds);
        }
        at
    }

    /// The leaves that [`LANES`] rows reach.
    fn reached_side_by_side(
        &self,
        root: Link,
        rows: &[T],
        width: usize,
        holds: impl Fn(usize, T, T) -> bool,
    ) -> [Link; LANES] {
        let mut at = [root; LANES];
        let mut walking = true;
        while walking {
            walking = false;
            for (at, row) in at.iter_mut().zip(rows.chunks_exact(width)) {
                if let Some(index) = at.as_branch() {
                    *at = self.next(index, row, &holds);
                    walking = true;
                }
            }
        }
        at
    }

    fn next(&self, index: usize, row: &[T], holds: impl Fn(usize, T, T) -> bool) -> Link {
        let branch = &self.branches[index];
        if holds(index, row[branch.feature as usize], branch.threshold) { branch.yes } else { branch.no }
    }

    /// Adds what a leaf gives to the scores of a row.
    fn give(&self, leaf: Link, scores: &mut [Score<T>], merge: impl Fn(T, T) -> T) {
        let leaf = leaf.index();
        for weight in &self.weights[self.leaves[leaf] as usize..self.leaves[leaf + 1] as usize] {
            let score = &mut scores[weight.slot as usize];
            score.value = if score.seen { merge(score.value, weight.value) } else { weight.value };
            score.seen = true;
        }
    }
}

/// Whether every walk ends: no branch leads back to itself. Branches may share what follows them.
fn ends<T>(branches: &[Branch<T>]) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Never,
        OnTheWay,
        Done,
    }
    let mut seen = vec![Seen::Never; branches.len()];
    // A stack of our own: a file may well hold a tree that is one long chain.
    let mut way = Vec::new();
    for start in 0..branches.len() {
        way.push(start);
        while let Some(&index) = way.last() {
            if seen[index] != Seen::Never {
                seen[index] = Seen::Done;
                way.pop();
                continue;
            }
            seen[index] = Seen::OnTheWay;
            for next in [branches[index].yes, branches[index].no].into_iter().filter_map(Link::as_branch) {
                match seen[next] {
                    Seen::Never => way.push(next),
                    Seen::OnTheWay => return false,
                    Seen::Done => {}
                }
            }
        }
    }
    true
}

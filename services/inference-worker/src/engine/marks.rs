//! Where a run passes from one of its parts to the next, as the engine sees it.

use std::time::{Duration, Instant};

/// The moments at which a run passed on. An engine that sets none does all of it in one.
#[derive(Debug, Default, Clone, Copy)]
pub struct Marks {
    filled: Option<Instant>,
    computed: Option<Instant>,
}

/// How long each part of a run took. Together they are the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Copying the inputs into the buffers of the engine.
    pub input: Duration,
    /// Computing.
    pub infer: Duration,
    /// Taking the outputs out of the engine, and apart.
    pub output: Duration,
    /// When the run ended.
    pub ended: Instant,
}

impl Marks {
    /// The inputs are where the engine wants them.
    pub fn filled(&mut self) {
        self.filled = Some(Instant::now());
    }

    /// The outputs are computed.
    pub fn computed(&mut self) {
        self.computed = Some(Instant::now());
    }

    /// The parts of a run from `started` to `ended`.
    #[must_use]
    pub fn parts(self, started: Instant, ended: Instant) -> Parts {
        let filled = self.filled.unwrap_or(started);
        let computed = self.computed.unwrap_or(ended);
        let between = |from: Instant, to: Instant| to.saturating_duration_since(from);
        Parts {
            input: between(started, filled),
            infer: between(filled, computed),
            output: between(computed, ended),
            ended,
        }
    }
}

impl Parts {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> Duration {
        self.input.saturating_add(self.infer).saturating_add(self.output)
    }

    /// Both, one after the other.
    #[must_use]
    pub const fn and(&self, next: &Self) -> Self {
        Self {
            input: self.input.saturating_add(next.input),
            infer: self.infer.saturating_add(next.infer),
            output: self.output.saturating_add(next.output),
            ended: next.ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_run_are_the_run_whatever_the_engine_marked() {
        let started = Instant::now();
        let at = |ms: u64| started + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        for (filled, computed, expected) in [
            (Some(2), Some(7), [2, 5, 3]),
            (None, Some(7), [0, 7, 3]),
            (Some(2), None, [2, 8, 0]),
            (None, None, [0, 10, 0]),
        ] {
            let marks = Marks { filled: filled.map(at), computed: computed.map(at) };
            let parts = marks.parts(started, at(10));
            assert_eq!([parts.input, parts.infer, parts.output], expected.map(ms));
            assert_eq!(parts.total(), ms(10));
        }
    }
}

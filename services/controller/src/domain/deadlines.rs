//! How long each state may last. Every one has a deadline, counted from the append time of the fact that began it.

use serde::{Deserialize, Serialize};
use slipway_kernel::{Span, Timestamp, spec::Spec};
use std::time::Duration;

/// The deadlines. The defaults are what `Default` says, each with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deadlines {
    /// For the choice of infrastructure: reading one machine and weighing six candidates takes milliseconds.
    pub choice: Span,
    /// For a person to approve: a long weekend.
    pub approval: Span,
    /// For the infrastructure: a managed cluster takes 10 to 20 minutes.
    pub infrastructure: Span,
    /// For fetching and reading the model: 10 GiB at 20 MiB/s is nine minutes.
    pub platform: Span,
    /// For all workers to load the model and warm up; a start takes seconds, a large model a minute.
    pub deploy: Span,
    /// For validation, beyond the time of its load.
    pub validation: Span,
    /// For every live ingress replica to apply a shift, beyond its hold: they follow the log within milliseconds.
    pub shift: Span,
    /// For a pause by a person, after which half a rollout goes back: the same as for an approval.
    pub pause: Span,
    /// For the five to remove what they made, after which the alarm names those that have not.
    pub removal: Span,
    /// When this controller woke up. No deadline counts from before: while nobody was there to decide, perhaps nobody
    /// was there to answer either, and a machine that slept for a night must not give everything up in the morning.
    #[serde(skip)]
    pub counted_from: Timestamp,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            choice: Span::seconds(30),
            approval: Span::seconds(72 * 3_600),
            infrastructure: Span::seconds(30 * 60),
            platform: Span::seconds(10 * 60),
            deploy: Span::seconds(120),
            validation: Span::seconds(10 * 60),
            shift: Span::seconds(5 * 60),
            pause: Span::seconds(72 * 3_600),
            removal: Span::seconds(10 * 60),
            counted_from: Timestamp(0),
        }
    }
}

/// Tries of one question before its failure counts as final: a third one finds what two passed over, a fourth seldom
/// does.
pub const MAX_ATTEMPTS: u32 = 3;

/// How much longer than the deploy deadline the table waits for whoever starts the workers: he knows why they are late,
/// the table only that they are.
pub const DEPLOY_GRACE: Duration = Duration::from_secs(15);

/// How often the load of validation runs: the load itself, again with each fault, and once above the limit.
const LOAD_PHASES: u32 = 3;

impl Deadlines {
    /// When `limit` is over for what began at `since`.
    #[must_use]
    pub fn end(&self, since: Timestamp, limit: Duration) -> Timestamp {
        since.max(self.counted_from).after(limit)
    }

    /// The deadline of validation: its load has its own length.
    #[must_use]
    pub fn validation_of(&self, spec: &Spec) -> Duration {
        let load = spec.validation.load;
        self.validation.0 + load.duration.0 * load.repeats * LOAD_PHASES
    }
}

/// When try number `attempt` of a question may begin after the failure of the one before at `failed`: 1, 2, 4 s.
#[must_use]
pub fn retry_at(failed: Timestamp, attempt: u32) -> Timestamp {
    let exponent = attempt.saturating_sub(1).min(5);
    failed.after(Duration::from_secs(1 << exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_further_try_waits_twice_as_long_up_to_half_a_minute() {
        let waits: Vec<u64> = (1..8).map(|attempt| retry_at(Timestamp(0), attempt).0).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000]);
    }

    #[test]
    fn no_deadline_counts_from_before_the_controller_woke_up() {
        let deadlines = Deadlines { counted_from: Timestamp(5_000), ..Deadlines::default() };
        let limit = Duration::from_secs(1);
        assert_eq!(deadlines.end(Timestamp(1_000), limit), Timestamp(6_000));
        assert_eq!(deadlines.end(Timestamp(7_000), limit), Timestamp(8_000));
    }

    #[test]
    fn validation_gets_the_time_of_its_load() {
        let document = serde_json::json!({ "metadata": { "name": "d" }, "spec": { "model": { "uri": "file:///m.onnx" },
                "validation": { "load": { "duration": "60s", "repeats": 2 } } } });
        let spec = slipway_kernel::spec::ModelDeployment::read(&document).unwrap().spec;
        assert_eq!(Deadlines::default().validation_of(&spec), Duration::from_secs(600 + 360));
    }
}

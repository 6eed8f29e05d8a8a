//! The event hop as the services see it: from the append of a fact to the moment at which a service that was told of it asks what is
//! due. Read from their own metrics, as an operator would.

use crate::mesh::Mesh;
use anyhow::Context as _;
use slipway_observability::domain::{Sample, parse};
use std::{collections::BTreeMap, time::Duration};

const HOP: &str = "slipway_hop_seconds_bucket";

/// How many events arrived within each bound, in nanoseconds; the last bound is endless.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(BTreeMap<u64, u64>);

impl Arrivals {
    /// Of all services up to now.
    pub async fn read(mesh: &Mesh) -> anyhow::Result<Self> {
        let mut counts = BTreeMap::new();
        for address in mesh.admin_addresses() {
            let answer = mesh.http().get(format!("http://{address}/metrics")).send().await?;
            let text = answer.error_for_status()?.text().await?;
            for sample in parse(&text).into_iter().filter(|sample| sample.name == HOP) {
                let bound = bound(&sample).with_context(|| format!("{HOP} without a bound: {sample:?}"))?;
                *counts.entry(bound).or_default() += sample.value as u64;
            }
        }
        Ok(Self(counts))
    }

    /// What came after `before`.
    pub fn since(&self, before: &Self) -> Self {
        let earlier = |bound| before.0.get(bound).copied().unwrap_or_default();
        Self(self.0.iter().map(|(bound, count)| (*bound, count.saturating_sub(earlier(bound)))).collect())
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.values().copied().max().unwrap_or_default()
    }

    /// The time within which so many of a hundred arrived; inside a bucket in proportion, as Prometheus' `histogram_quantile` does.
    pub fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.count() * percent).div_ceil(100);
        let (mut below, mut counted) = (0, 0);
        for (&bound, &count) in &self.0 {
            if count >= rank && count > counted && bound != u64::MAX {
                let inside = (rank - counted) as f64 / (count - counted) as f64;
                return Duration::from_nanos(below) + Duration::from_nanos(bound - below).mul_f64(inside);
            }
            if bound != u64::MAX {
                (below, counted) = (bound, count);
            }
        }
        Duration::from_nanos(below)
    }
}

fn bound(sample: &Sample) -> Option<u64> {
    match sample.labels.get("le")?.as_str() {
        "+Inf" => Some(u64::MAX),
        seconds => Some((seconds.parse::<f64>().ok()? * 1e9).round() as u64),
    }
}

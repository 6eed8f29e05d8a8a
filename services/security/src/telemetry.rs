//! What security counts. Labels are fixed words.

use crate::domain::identity::Reason;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use slipway_kernel::Timestamp;
use slipway_runtime::Metrics;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// The metrics of security.
#[derive(Clone, Debug)]
pub(crate) struct SecurityMetrics {
    issued: Family<KindLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    keys: Counter,
    holes: Counter,
    violations: Family<RuleLabels, Counter>,
    earliest: Gauge,
    authority: Gauge,
    /// The latest end of what this process issued, by identity.
    ends: Arc<Mutex<BTreeMap<String, Timestamp>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: &'static str,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Worker,
    Service,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Service => "service",
        }
    }
}

impl SecurityMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let own = Self {
            issued: Family::default(),
            refused: Family::default(),
            keys: Counter::default(),
            holes: Counter::default(),
            violations: Family::default(),
            earliest: Gauge::default(),
            authority: Gauge::default(),
            ends: Arc::default(),
        };
        metrics.with(|registry| {
            registry.register("certificates_issued", "Certificates signed, by kind of holder", own.issued.clone());
            registry.register("certificates_refused", "Requests for certificates refused, by reason", own.refused.clone());
            registry.register(
                "certificates_earliest_expiry_seconds",
                "Unix time at which the first identity ends whose holder has not asked for the next one, 0 if there is none",
                own.earliest.clone(),
            );
            registry.register(
                "authority_expiry_seconds",
                "Unix time at which the authority's signing certificate ends",
                own.authority.clone(),
            );
            registry.register("api_keys_made", "API keys made", own.keys.clone());
            registry.register("auth_holes", "Strangers that were let in when it was tried", own.holes.clone());
            registry.register("policy_violations", "Values that the policy forbids, by rule", own.violations.clone());
        });
        own
    }

    /// A certificate of `identity` was signed.
    pub(crate) fn issued(&self, kind: Kind, identity: &str, until: Timestamp, now: Timestamp) {
        self.issued.get_or_create(&KindLabels { kind: kind.as_str() }).inc();
        self.update(now, |ends| {
            let end = ends.entry(identity.to_owned()).or_insert(until);
            *end = until.max(*end);
        });
    }

    /// Nobody is to renew these identities any more.
    pub(crate) fn forget(&self, now: Timestamp, gone: impl Fn(&str) -> bool) {
        self.update(now, |ends| ends.retain(|identity, _| !gone(identity)));
    }

    fn update(&self, now: Timestamp, change: impl FnOnce(&mut BTreeMap<String, Timestamp>)) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut ends);
        // What has ended has ended; its holder is gone, or long since reported as not ready.
        ends.retain(|_, end| now < *end);
        self.earliest.set(ends.values().min().map_or(0, |end| seconds(*end)));
    }

    pub(crate) fn refused(&self, reason: Reason) {
        self.refused.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    pub(crate) fn authority_expires(&self, at: Timestamp) {
        self.authority.set(seconds(at));
    }

    pub(crate) fn key_made(&self) {
        self.keys.inc();
    }

    pub(crate) fn hole(&self) {
        self.holes.inc();
    }

    pub(crate) fn violation(&self, rule: &'static str) {
        self.violations.get_or_create(&RuleLabels { rule }).inc();
    }
}

fn seconds(at: Timestamp) -> i64 {
    i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_runtime::Frame;

    #[test]
    fn the_earliest_end_is_that_of_the_identity_nobody_renewed() {
        let frame = Frame::for_test("security");
        let metrics = SecurityMetrics::register(&frame.metrics);
        let at = |seconds: u64| Timestamp(seconds * 1_000);
        metrics.issued(Kind::Worker, "a", at(100), at(0));
        metrics.issued(Kind::Service, "b", at(200), at(0));
        assert_eq!(metrics.earliest.get(), 100);
        metrics.issued(Kind::Worker, "a", at(300), at(50));
        assert_eq!(metrics.earliest.get(), 200);
        metrics.forget(at(50), |identity| identity == "b");
        assert_eq!(metrics.earliest.get(), 300);
        metrics.forget(at(300), |_| false);
        assert_eq!(metrics.earliest.get(), 0);
        metrics.refused(Reason::WeakKey);
        let text = frame.metrics.encode().unwrap();
        assert!(
            text.contains("slipway_certificates_refused_total{service=\"security\",reason=\"weak-key\"} 1"),
            "{text}"
        );
    }
}

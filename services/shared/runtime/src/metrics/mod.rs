//! Prometheus metrics: a registry per service, all of them one exposition of the process.

mod machine;
mod merge;

pub(crate) use machine::ProcessMetrics;

use prometheus_client::{encoding::text, registry::Registry};
use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// The media type of what [`Exposition::encode`] writes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry of one service: names begin with `slipway_`, and every series has the label `service`.
/// Register each metric once and keep its handle; labels come from closed sets, never from user input.
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    pub(crate) fn for_service(service: &'static str) -> Self {
        let label = (Cow::Borrowed("service"), Cow::Borrowed(service));
        Self(Arc::new(Mutex::new(Registry::with_prefix_and_labels("slipway", [label].into_iter()))))
    }

    /// A registry whose names stand as they are, for the `process_…` metrics that every exporter names alike.
    pub(crate) fn bare() -> Self {
        Self(Arc::default())
    }

    /// Registers metrics.
    pub fn with<R>(&self, register: impl FnOnce(&mut Registry) -> R) -> R {
        register(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The OpenMetrics text of this registry alone, as tests want it.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Every registry of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exposition(Arc<Mutex<Vec<Metrics>>>);

impl Exposition {
    pub(crate) fn add(&self, metrics: &Metrics) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(metrics.clone());
    }

    /// One OpenMetrics text. Services of one process have families in common (those of this crate and of the bus), and the
    /// format wants each family described once with its series together.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let registries = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut families = merge::Families::default();
        for registry in &registries {
            families.add(&registry.encode()?);
        }
        Ok(families.into_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn a_family_of_several_services_is_described_once() {
        let exposition = Exposition::default();
        for (service, count) in [("ingress", 2), ("validator", 3)] {
            let metrics = Metrics::for_service(service);
            let counter = Counter::<u64>::default();
            metrics.with(|registry| registry.register("published", "Facts published", counter.clone()));
            counter.inc_by(count);
            exposition.add(&metrics);
        }
        assert_eq!(
            exposition.encode().unwrap(),
            "# HELP slipway_published Facts published.\n\
             # TYPE slipway_published counter\n\
             slipway_published_total{service=\"ingress\"} 2\n\
             slipway_published_total{service=\"validator\"} 3\n\
             # EOF\n"
        );
    }
}

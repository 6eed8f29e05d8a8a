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
#[derive(Clone, Default)]
pub struct Metrics {
    own: Arc<Mutex<Registry>>,
    public: Arc<Mutex<Registry>>,
}

impl Metrics {
    pub(crate) fn for_service(service: &'static str) -> Self {
        let label = (Cow::Borrowed("service"), Cow::Borrowed(service));
        let own = Registry::with_prefix_and_labels("slipway", [label].into_iter());
        Self { own: Arc::new(Mutex::new(own)), public: Arc::default() }
    }

    /// A registry whose names stand as they are, for the `process_…` metrics that every exporter names alike.
    pub(crate) fn bare() -> Self {
        Self::default()
    }

    /// Registers metrics.
    pub fn with<R>(&self, register: impl FnOnce(&mut Registry) -> R) -> R {
        register(&mut self.own.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Registers metrics whose names and labels are public ones, and so stand as they are.
    pub fn with_public<R>(&self, register: impl FnOnce(&mut Registry) -> R) -> R {
        register(&mut self.public.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The OpenMetrics text of this registry alone, as tests want it.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        for registry in [&self.own, &self.public] {
            text::encode_registry(&mut text, &registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
        text::encode_eof(&mut text)?;
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
    fn a_public_name_stands_as_it_is_beside_our_own() {
        let metrics = Metrics::for_service("ingress");
        let counter = Counter::<u64>::default();
        metrics.with(|registry| registry.register("published", "Facts published", counter.clone()));
        metrics.with_public(|registry| registry.register("nv_published", "The same", counter.clone()));
        counter.inc();
        let text = metrics.encode().unwrap();
        for line in ["slipway_published_total{service=\"ingress\"} 1\n", "\nnv_published_total 1\n"] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    }

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

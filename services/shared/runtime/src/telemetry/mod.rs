//! Logs and traces of a process.
//!
//! Logs go to standard error, as lines for a person or as JSON, one object a line with service, trace id and span id.
//! Spans of Slipway's own crates, from INFO up, are traces: their context is carried on (`crate::trace`) whether or not a
//! collector is configured, and with one they are exported over OTLP/gRPC. Of requests some are recorded and the others cost no span;
//! which, `crate::trace` decides where they come in.
//!
//! Traces are never needed for anything: exporting runs on a thread of its own behind a bounded queue, and a collector
//! that is slow, silent or dead costs spans, which are counted, and nothing else.
//!
//! Every span tells its service also where several share a process (`services`), and is exported as that service's
//! (`service.name`), so that a trace looks the same from `slipway up` and from a cluster.

mod export;
mod json;
mod services;

pub(crate) use services::with_service;

use crate::{
    config::{LogFormat, TelemetryConfig},
    trace,
};
use export::{Export, SpanCounts};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus_client::registry::Registry;
use services::ServiceLayer;
use std::{
    io::IsTerminal as _,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry as SpanRegistry, filter::FilterFn, fmt, layer::SubscriberExt as _,
};

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `telemetry.filter` is no filter.
    #[error("the log filter is not valid")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// `telemetry.otlp_endpoint` is no address.
    #[error("the trace collector's address is not valid: {0}")]
    Endpoint(String),
    /// Something else in the process has installed a subscriber.
    #[error("another tracing subscriber is installed already")]
    Taken(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// The telemetry of the operating system process.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry(Arc<Installed>);

#[derive(Debug)]
struct Installed {
    provider: SdkTracerProvider,
    counts: Arc<SpanCounts>,
}

static INSTALLED: OnceLock<Telemetry> = OnceLock::new();
/// Held while installing, so that two processes started at once in a test do not both try.
static INSTALLING: Mutex<()> = Mutex::new(());

impl Telemetry {
    /// Installs telemetry, once per operating system process; later calls return what the first has installed. Must be
    /// called inside the async runtime, which carries the exporter's connection.
    pub(crate) fn install(config: &TelemetryConfig, process: &'static str) -> Result<Self, TelemetryError> {
        let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(installed) = INSTALLED.get() {
            return Ok(installed.clone());
        }
        let counts = Arc::new(SpanCounts::default());
        // Which requests are recorded is decided before there is a span (`crate::trace`); what else begins a trace does so rarely.
        let mut builder = SdkTracerProvider::builder().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
        if let Some(endpoint) = &config.otlp_endpoint {
            builder = builder.with_span_processor(Export::new(endpoint, process, Arc::clone(&counts))?);
            trace::record_requests(config.sample_ratio);
        }
        let provider = builder.build();
        let traces = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("slipway"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(true)
            .with_filter(traced());
        let log = match config.log {
            LogFormat::Text => {
                fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).boxed()
            }
            LogFormat::Json => fmt::layer()
                .with_writer(std::io::stderr)
                .fmt_fields(fmt::format::JsonFields::new())
                .event_format(json::JsonLines { process })
                .boxed(),
        };
        let filter = EnvFilter::try_new(&config.filter).map_err(TelemetryError::Filter)?;
        // Inside out: the spans' contexts first, then their services, which are written into them, then the log.
        let subscriber = SpanRegistry::default()
            .with(traces)
            .with(ServiceLayer::default().with_filter(traced()))
            .with(log.with_filter(filter));
        tracing::subscriber::set_global_default(subscriber).map_err(TelemetryError::Taken)?;
        Ok(INSTALLED.get_or_init(|| Self(Arc::new(Installed { provider, counts }))).clone())
    }

    /// Registers the counts of spans.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Arc::clone(&self.0.counts)));
    }

    /// Sends what is queued, for at most `bound`.
    pub(crate) async fn flush(&self, bound: Duration) {
        let provider = self.0.provider.clone();
        // The SDK's flush blocks its caller; whether it succeeded shows in the counts.
        let flushing = tokio::task::spawn_blocking(move || drop(provider.force_flush()));
        let _ = tokio::time::timeout(bound, flushing).await;
    }
}

/// The filter of the layers that are about traces. One layer without it, and every span of every library is made for it: five times the
/// cost of a small request over HTTP/2.
fn traced() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    FilterFn::new(is_traced as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::INFO)
}

/// Spans and events of Slipway's own crates. Those of the libraries below (h2 has several per frame) would drown them, and
/// the exporter would trace its own connection.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO && metadata.target().starts_with("slipway")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Subscriber as _;

    #[test]
    fn no_layer_of_ours_asks_for_the_spans_of_libraries() {
        let subscriber = SpanRegistry::default().with(ServiceLayer::default().with_filter(traced()));
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::INFO));
        let subscriber = SpanRegistry::default().with(ServiceLayer::default());
        assert_eq!(subscriber.max_level_hint(), None, "without the filter it does");
    }
}

//! Spans on their way to the collector: counted, bounded, and sent as the service they belong to.

use super::{
    TelemetryError,
    services::{SERVICE_KEY, service_of_target},
};
use futures::future::join_all;
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tonic::transport::{Channel, Endpoint};
use tracing::{info, warn};

/// Spans that may wait for the collector; those beyond are dropped. 8,192 spans of some 500 bytes are 4 MiB, and two
/// seconds of an ingress at 4,000 requests a second.
const MAX_QUEUED: u64 = 8_192;
/// Spans in one message: some 256 KiB, far below the 4 MiB that gRPC servers take.
const BATCH: usize = 512;
/// How long a span may wait for its batch. A trace is looked at by people, who wait.
const DELAY: Duration = Duration::from_millis(500);
/// A collector that does not take the connection within this is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A collector that does not answer within this has lost the batch. It also bounds how long a dead one holds the queue.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// How many spans went where.
#[derive(Debug, Default)]
pub(super) struct SpanCounts {
    queued: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Collector for SpanCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "slipway_spans",
            "Spans by what became of them: exported, failed (the collector did not take them), dropped (the queue was full)",
            None,
            MetricType::Counter,
        )?;
        let counts = [("exported", &self.exported), ("failed", &self.failed), ("dropped", &self.dropped)];
        for (outcome, count) in counts {
            let counter = ConstCounter::new(count.load(Ordering::Relaxed));
            counter.encode(metric.encode_family(&[("outcome", outcome)])?)?;
        }
        Ok(())
    }
}

/// The span processor of a process: a bounded queue before the SDK's batches.
#[derive(Debug)]
pub(super) struct Export {
    batches: BatchSpanProcessor,
    counts: Arc<SpanCounts>,
}

impl Export {
    /// Must be called inside the async runtime, which carries the connection; spans are encoded on a thread of the SDK.
    pub(super) fn new(endpoint: &str, process: &'static str, counts: Arc<SpanCounts>) -> Result<Self, TelemetryError> {
        let channel = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|error| TelemetryError::Endpoint(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(EXPORT_TIMEOUT)
            .connect_lazy();
        let exporter = PerService {
            channel,
            process,
            exporters: Mutex::default(),
            counts: Arc::clone(&counts),
            reachable: AtomicBool::new(true),
        };
        let config = BatchConfigBuilder::default()
            // Above our own bound, so that it is always ours that drops, and counts.
            .with_max_queue_size(usize::try_from(MAX_QUEUED).unwrap_or(usize::MAX).saturating_mul(2))
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        Ok(Self { batches: BatchSpanProcessor::builder(exporter).with_batch_config(config).build(), counts })
    }
}

impl SpanProcessor for Export {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.counts.queued.fetch_add(1, Ordering::Relaxed) >= MAX_QUEUED {
            self.counts.queued.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.batches.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }
}

/// An exporter for each service, over one connection.
struct PerService {
    channel: Channel,
    process: &'static str,
    exporters: Mutex<BTreeMap<String, Arc<OtlpExporter>>>,
    counts: Arc<SpanCounts>,
    /// Whether the last batch arrived: the log says when that changes, and not for each batch.
    reachable: AtomicBool,
}

impl fmt::Debug for PerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerService")
    }
}

impl PerService {
    fn exporter(&self, service: &str) -> Result<Arc<OtlpExporter>, String> {
        let mut exporters = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exporter) = exporters.get(service) {
            return Ok(Arc::clone(exporter));
        }
        let mut exporter = OtlpExporter::builder()
            .with_tonic()
            .with_channel(self.channel.clone())
            .build()
            .map_err(|error| error.to_string())?;
        exporter.set_resource(&resource(service));
        let exporter = Arc::new(exporter);
        exporters.insert(service.to_owned(), Arc::clone(&exporter));
        Ok(exporter)
    }

    async fn send(&self, service: &str, spans: Vec<SpanData>) -> Result<(), String> {
        let count = spans.len() as u64;
        let sent = match self.exporter(service) {
            Ok(exporter) => exporter.export(spans).await.map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        self.counts.queued.fetch_sub(count, Ordering::Relaxed);
        let counter = if sent.is_ok() { &self.counts.exported } else { &self.counts.failed };
        counter.fetch_add(count, Ordering::Relaxed);
        sent
    }

    fn note(&self, result: &Result<(), String>) {
        let was_reachable = self.reachable.swap(result.is_ok(), Ordering::Relaxed);
        match result {
            Err(error) if was_reachable => {
                warn!(error, "the trace collector takes no spans; they are dropped and counted until it does");
            }
            Ok(()) if !was_reachable => info!("the trace collector takes spans again"),
            _ => {}
        }
    }
}

impl SpanExporter for PerService {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut by_service: BTreeMap<String, Vec<SpanData>> = BTreeMap::new();
        for span in batch {
            by_service.entry(service_of(&span, self.process).into_owned()).or_default().push(span);
        }
        let sent =
            join_all(by_service.into_iter().map(|(service, spans)| async move { self.send(&service, spans).await }))
                .await;
        let result = sent.into_iter().collect::<Result<(), String>>();
        self.note(&result);
        // What failed is counted and said; the SDK would only say it again.
        Ok(())
    }
}

/// The service a finished span tells; one that was never entered tells it by the crate it was made in.
fn service_of<'a>(span: &'a SpanData, process: &'a str) -> Cow<'a, str> {
    let attribute = |key: &str| span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    match attribute(SERVICE_KEY).map(|attribute| &attribute.value) {
        Some(Value::String(service)) => Cow::Owned(service.as_str().to_owned()),
        _ => match attribute("target").map(|attribute| &attribute.value) {
            Some(Value::String(target)) => Cow::Borrowed(service_of_target(target.as_str()).unwrap_or(process)),
            _ => Cow::Borrowed(process),
        },
    }
}

fn resource(service: &str) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.namespace", "slipway"),
            KeyValue::new("service.name", service.to_owned()),
            KeyValue::new("service.version", crate::VERSION),
            KeyValue::new("service.instance.id", instance()),
            KeyValue::new(SERVICE_KEY, service.to_owned()),
        ])
        .build()
}

/// `host:pid` tells replicas apart.
fn instance() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", std::process::id())
}

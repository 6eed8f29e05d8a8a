//! What the process costs the machine, under the names all Prometheus exporters use, read when asked for.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::runtime::Handle;

/// Clock ticks per second in `/proc/*/stat`: fixed at 100 in the Linux interface on every architecture we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory, processor time, open files and the async runtime of this process.
#[derive(Debug)]
pub(crate) struct ProcessMetrics {
    started_seconds: f64,
    runtime: Handle,
}

impl ProcessMetrics {
    /// Must be made inside the runtime it reports on.
    pub(crate) fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started_seconds: started.as_secs_f64(), runtime: Handle::current() }
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name, help, unit: Option<&Unit>, value: f64| {
            let gauge = ConstGauge::new(value);
            let metric: MetricEncoder<'_> = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
            gauge.encode(metric)
        };
        gauge("process_start_time", "Start of the process, Unix time", Some(&Unit::Seconds), self.started_seconds)?;
        // Where there is no /proc the figures are left out: a missing series is honest, a zero is not.
        if let Some(bytes) = resident_bytes() {
            gauge("process_resident_memory", "Resident memory", Some(&Unit::Bytes), bytes)?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            #[expect(clippy::cast_precision_loss, reason = "a count of open files is far below 2^52")]
            gauge("process_open_fds", "Open file descriptors", None, files.count() as f64)?;
        }
        let runtime = self.runtime.metrics();
        #[expect(clippy::cast_precision_loss, reason = "counts of tasks are far below 2^52")]
        {
            gauge("slipway_runtime_tasks", "Tasks alive in the async runtime", None, runtime.num_alive_tasks() as f64)?;
            gauge(
                "slipway_runtime_queue",
                "Tasks that wait for a thread in the global queue",
                None,
                runtime.global_queue_depth() as f64,
            )?;
        }
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let metric = encoder.encode_descriptor(
                "process_cpu",
                "Processor time used",
                Some(&Unit::Seconds),
                counter.metric_type(),
            )?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

/// `VmRSS` of `/proc/self/status`, which is in KiB whatever the page size.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// Fields 14 and 15 of `/proc/self/stat` (user and system time). The name in field 2 may hold anything, so counting starts
/// after its closing parenthesis.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn the_process_reports_its_own_costs() {
        let metrics = Metrics::bare();
        metrics.with(|registry| registry.register_collector(Box::new(ProcessMetrics::new())));
        let text = metrics.encode().unwrap();
        for series in [
            "process_start_time_seconds 1",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_cpu_seconds_total ",
            "slipway_runtime_tasks ",
        ] {
            assert!(text.lines().any(|line| line.starts_with(series)), "{series} in\n{text}");
        }
    }
}

//! A Grafana dashboard per deployment (schema version 39, Grafana 10 and later).

use serde_json::{Value, json};
use slipway_kernel::{DeploymentId, spec::Slo};

/// The dashboard of a deployment.
#[must_use]
pub fn dashboard(id: &DeploymentId, slo: &Slo) -> Value {
    let own = format!("namespace=\"{}\",deployment=\"{}\"", id.namespace, id.name);
    let clients = format!("{own},probe=\"false\"");
    let latency_ms = slo.latency_p99.map(slipway_kernel::Span::as_millis_f64);
    let duration = "slipway_ingress_request_duration_seconds_bucket";
    let panels = [
        panel(
            "Requests per second, by revision",
            "reqps",
            None,
            &[(format!("sum by (revision) (rate(slipway_ingress_requests_total{{{clients}}}[1m]))"), "{{revision}}")],
        ),
        panel(
            "Failed by our fault",
            "percentunit",
            Some(1.0 - slo.availability / 100.0),
            &[(
                format!(
                    "sum(rate(slipway_ingress_requests_total{{{clients},code=~\"5..\"}}[1m])) / \
                 sum(rate(slipway_ingress_requests_total{{{clients}}}[1m]))"
                ),
                "share",
            )],
        ),
        panel(
            "Latency",
            "ms",
            latency_ms,
            &[
                (
                    format!(
                        "1000 * histogram_quantile(0.5, sum by (le, revision) (rate({duration}{{{clients}}}[1m])))"
                    ),
                    "p50 {{revision}}",
                ),
                (
                    format!(
                        "1000 * histogram_quantile(0.99, sum by (le, revision) (rate({duration}{{{clients}}}[1m])))"
                    ),
                    "p99 {{revision}}",
                ),
            ],
        ),
        panel(
            "Answers by status",
            "reqps",
            None,
            &[(format!("sum by (code) (rate(slipway_ingress_requests_total{{{clients}}}[1m]))"), "{{code}}")],
        ),
        panel(
            "Rows a batch (mean)",
            "none",
            None,
            &[(
                format!(
                    "sum by (revision) (rate(slipway_worker_batch_size_sum{{{own}}}[1m])) / \
                 sum by (revision) (rate(slipway_worker_batch_size_count{{{own}}}[1m]))"
                ),
                "{{revision}}",
            )],
        ),
        panel(
            "Waiting in workers",
            "none",
            None,
            &[(format!("sum by (revision) (slipway_worker_queue_depth{{{own}}})"), "{{revision}}")],
        ),
        panel(
            "Workers that serve",
            "none",
            None,
            &[(format!("sum by (revision) (slipway_worker_serving{{{own}}})"), "{{revision}}")],
        ),
        panel("Memory of workers", "bytes", None, &[(format!("process_resident_memory_bytes{{{own}}}"), "{{worker}}")]),
    ];
    let panels: Vec<Value> = panels.into_iter().enumerate().map(|(n, panel)| placed(panel, n)).collect();
    json!({
        "uid": format!("slipway-{}", id.to_string().replace('.', "-")),
        "title": format!("Slipway: {id}"),
        "tags": ["slipway", id.namespace.as_str()],
        "schemaVersion": 39,
        "editable": false,
        "refresh": "10s",
        "time": { "from": "now-1h", "to": "now" },
        "templating": { "list": [{ "name": "datasource", "type": "datasource", "query": "prometheus" }] },
        "panels": panels
    })
}

fn panel(title: &str, unit: &str, objective: Option<f64>, queries: &[(String, &str)]) -> Value {
    let targets: Vec<Value> = queries
        .iter()
        .enumerate()
        .map(|(n, (expression, legend))| {
            let reference = char::from(b'A' + u8::try_from(n).unwrap_or(0));
            json!({ "refId": reference.to_string(), "expr": expression, "legendFormat": legend })
        })
        .collect();
    let steps = match objective {
        Some(objective) => json!([{ "color": "green", "value": null }, { "color": "red", "value": objective }]),
        None => json!([{ "color": "green", "value": null }]),
    };
    json!({
        "type": "timeseries",
        "title": title,
        "datasource": { "type": "prometheus", "uid": "${datasource}" },
        "targets": targets,
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "thresholds": { "mode": "absolute", "steps": steps },
                "custom": { "thresholdsStyle": { "mode": if objective.is_some() { "line" } else { "off" } } }
            },
            "overrides": []
        }
    })
}

/// Two panels a row.
fn placed(mut panel: Value, n: usize) -> Value {
    panel["id"] = json!(n + 1);
    panel["gridPos"] = json!({ "x": 12 * (n % 2), "y": 8 * (n / 2), "w": 12, "h": 8 });
    panel
}

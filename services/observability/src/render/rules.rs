//! Alert rules: multiwindow, multi-burn-rate over the availability objective, and the latency objective.
//!
//! Windows and rates are those of "The Site Reliability Workbook", chapter 5, table 5-8: a page when 2 % of a 30-day budget burn
//! in an hour or 5 % in six, a ticket when 10 % burn in three days.

use serde_json::{Value, json};
use slipway_kernel::{DeploymentId, spec::Slo};

/// (long window, short window, burn rate, severity).
const BURNS: [(&str, &str, f64, &str); 3] =
    [("1h", "5m", 14.4, "page"), ("6h", "30m", 6.0, "page"), ("3d", "6h", 1.0, "ticket")];

/// The rules of a deployment.
#[must_use]
pub fn rules(id: &DeploymentId, slo: &Slo) -> Value {
    let mut rules: Vec<Value> = BURNS.iter().map(|burn| burn_rule(id, slo.availability, *burn)).collect();
    if let Some(latency) = slo.latency_p99 {
        rules.push(latency_rule(id, latency.0.as_secs_f64()));
    }
    rules.push(json!({
        "alert": "SlipwayNoWorker",
        "expr": format!("sum(slipway_worker_serving{{{}}}) < 1 or absent(slipway_worker_serving{{{}}})", selector(id), selector(id)),
        "for": "1m",
        "labels": labels(id, "page"),
        "annotations": { "summary": format!("no worker of {id} serves") }
    }));
    json!({ "groups": [{ "name": format!("slipway-{id}"), "rules": rules }] })
}

fn selector(id: &DeploymentId) -> String {
    format!("namespace=\"{}\",deployment=\"{}\"", id.namespace, id.name)
}

fn labels(id: &DeploymentId, severity: &str) -> Value {
    json!({ "severity": severity, "namespace": id.namespace.as_str(), "deployment": id.name.as_str() })
}

/// The share of requests failed by our fault over a window. Validation traffic is not the users'.
fn error_ratio(id: &DeploymentId, window: &str) -> String {
    let own = format!("{},probe=\"false\"", selector(id));
    format!(
        "(sum(rate(slipway_ingress_requests_total{{{own},code=~\"5..\"}}[{window}])) or vector(0)) \
         / sum(rate(slipway_ingress_requests_total{{{own}}}[{window}]))"
    )
}

fn burn_rule(id: &DeploymentId, availability: f64, burn: (&str, &str, f64, &str)) -> Value {
    let (long, short, rate, severity) = burn;
    let allowed = (1.0 - availability / 100.0) * rate;
    json!({
        "alert": format!("SlipwayErrorBudgetBurn{long}"),
        "expr": format!("{} > {allowed:.8} and {} > {allowed:.8}", error_ratio(id, long), error_ratio(id, short)),
        "labels": labels(id, severity),
        "annotations": {
            "summary": format!("{id} burns its error budget {rate} times too fast"),
            "description": format!("availability objective {availability} %, windows {long} and {short}")
        }
    })
}

fn latency_rule(id: &DeploymentId, seconds: f64) -> Value {
    let own = format!("{},probe=\"false\"", selector(id));
    json!({
        "alert": "SlipwayLatency",
        "expr": format!(
            "histogram_quantile(0.99, sum by (le) (rate(slipway_ingress_request_duration_seconds_bucket{{{own}}}[5m]))) > {seconds}"
        ),
        "for": "5m",
        "labels": labels(id, "page"),
        "annotations": { "summary": format!("{id} is slower than its objective of {seconds} s (99 of 100 requests)") }
    })
}

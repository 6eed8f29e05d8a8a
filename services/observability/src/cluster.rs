//! In a cluster: rules as Prometheus' operator takes them, and dashboards where Grafana's sidecar finds them. Targets are the chart's: one
//! `PodMonitor` for all workers finds those of the next deployment by itself.

use crate::{config::KubernetesConfig, render};
use serde_json::{Value, json};
use slipway_cluster::{ApiError, ConnectError, Kind, Part};
use slipway_kernel::{DeploymentId, Item, names, spec::Slo};

const PROMETHEUS_RULE: Kind = Kind {
    api_version: "monitoring.coreos.com/v1",
    kind: "PrometheusRule",
    plural: "prometheusrules",
    is_optional: true,
};
const RULES: &[Kind] = &[PROMETHEUS_RULE];
const RULES_AND_DASHBOARDS: &[Kind] = &[PROMETHEUS_RULE, Kind::CONFIG_MAP];

/// What is kept there.
pub struct Cluster {
    part: Part,
    config: KubernetesConfig,
}

impl Cluster {
    /// None where it is not wanted.
    ///
    /// # Errors
    /// When no cluster is known.
    pub async fn open(config: &KubernetesConfig) -> Result<Option<Self>, ConnectError> {
        if !config.enabled {
            return Ok(None);
        }
        let found = slipway_cluster::connect(config.kubeconfig.as_deref(), None).await?;
        // The right to ConfigMaps goes far; who makes none need not have it.
        let kinds = if config.dashboards { RULES_AND_DASHBOARDS } else { RULES };
        let part = Part::new(found, config.namespace.as_deref(), &config.installation, "observability", kinds);
        Ok(Some(Self { part, config: config.clone() }))
    }

    /// Makes what belongs to a deployment, and tells what there is.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn show(&self, id: &DeploymentId, slo: &Slo) -> Result<Vec<Item>, ApiError> {
        let kept = self.part.keep(id, objects(id, slo, &self.config)).await?;
        let unserved = kept.unserved.iter().map(|kind| (kind.kind, "not served by this cluster".to_owned()));
        let made = kept.objects.iter().map(|(kind, object)| (kind.kind, slipway_cluster::place(object)));
        Ok(made.chain(unserved).map(|(name, value)| Item { name: name.to_owned(), value }).collect())
    }

    /// Removes it.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn remove(&self, id: &DeploymentId) -> Result<Vec<Item>, ApiError> {
        let kept = self.part.keep(id, Vec::new()).await?;
        let removed = kept.removed.into_iter();
        Ok(removed
            .map(|(kind, name)| Item { name: format!("{} {name}", kind.kind), value: "removed".into() })
            .collect())
    }
}

/// The objects of a deployment.
fn objects(id: &DeploymentId, slo: &Slo, config: &KubernetesConfig) -> Vec<(Kind, Value)> {
    let mut objects = Vec::new();
    if config.rules {
        let rule = json!({
            "apiVersion": PROMETHEUS_RULE.api_version,
            "kind": PROMETHEUS_RULE.kind,
            "metadata": { "name": names::deployment(id), "labels": config.rule_labels },
            "spec": render::rules(id, slo),
        });
        objects.push((PROMETHEUS_RULE, rule));
    }
    if config.dashboards {
        let map = json!({
            "apiVersion": Kind::CONFIG_MAP.api_version,
            "kind": Kind::CONFIG_MAP.kind,
            "metadata": { "name": format!("{}-dashboard", names::deployment(id)), "labels": config.dashboard_labels },
            "data": { format!("slipway-{id}.json"): format!("{:#}", render::dashboard(id, slo)) },
        });
        objects.push((Kind::CONFIG_MAP, map));
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_not_wanted_is_not_made_and_what_is_bears_the_labels_that_are_looked_for() {
        let id = "default.digits".parse().unwrap();
        let kinds = |config: &KubernetesConfig| {
            let made = objects(&id, &Slo::default(), config);
            made.into_iter().map(|(kind, object)| (kind.kind, object)).collect::<BTreeMap<_, _>>()
        };
        let config = KubernetesConfig {
            rule_labels: BTreeMap::from([("release".into(), "monitoring".into())]),
            ..KubernetesConfig::default()
        };
        let all = kinds(&config);
        assert_eq!(all["PrometheusRule"]["metadata"]["labels"]["release"], "monitoring");
        assert_eq!(all["ConfigMap"]["metadata"]["labels"]["grafana_dashboard"], "1");
        let dashboard = all["ConfigMap"]["data"]["slipway-default.digits.json"].as_str().unwrap();
        assert_eq!(dashboard.parse::<Value>().unwrap()["title"], "Slipway: default.digits");
        assert!(kinds(&KubernetesConfig { rules: false, dashboards: false, ..config }).is_empty());
    }
}

//! The objects, as data. All of them lead to the one Service in front of the door: shares, mirrors and limits of revisions are decided behind it,
//! where requests are known by their ids and counted.

use super::{GRPC_ROUTE, HTTP_ROUTE, INGRESS};
use crate::config::{KubernetesConfig, hostname};
use serde_json::{Map, Value, json};
use slipway_cluster::Kind;
use slipway_kernel::{DeploymentId, names};
use std::time::Duration;

/// How much longer than the door a gateway waits, so that it is the door that says that time is over.
const BEYOND: Duration = Duration::from_secs(1);
/// The calls of the Open Inference Protocol in gRPC.
const GRPC_SERVICE: &str = "inference.GRPCInferenceService";
/// Those by which load balancers ask.
const GRPC_HEALTH: &str = "grpc.health.v1.Health";

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) id: &'a DeploymentId,
    /// The longest that a request may take.
    pub(super) timeout: Duration,
    pub(super) config: &'a KubernetesConfig,
}

/// Routes of a Gateway.
pub(super) fn routes(subject: Subject<'_>) -> Vec<(Kind, Value)> {
    let config = subject.config;
    let mut parent = json!({ "name": config.gateway });
    for (key, value) in [("namespace", &config.gateway_namespace), ("sectionName", &config.gateway_listener)] {
        if let Some(value) = value {
            parent[key] = value.as_str().into();
        }
    }
    let backends = json!([{ "name": config.service, "port": config.port }]);
    let route = |kind: Kind, ending: &str, host: Option<String>, rules: Value| {
        let mut spec = json!({ "parentRefs": [parent], "rules": rules });
        if let Some(host) = host {
            spec["hostnames"] = json!([host]);
        }
        (kind, subject.object(kind, ending, Map::new(), &spec))
    };
    let path = |kind: &str, path: String| json!({ "path": { "type": kind, "value": path } });
    let infer: Vec<Value> = subject.models().map(|model| path("Exact", format!("{model}/infer"))).collect();
    let others = subject.models().chain(shared()).map(|prefix| path("PathPrefix", prefix)).collect::<Vec<_>>();
    let timeout = format!("{}ms", (subject.timeout + BEYOND).as_millis());
    let rules = json!([
        { "matches": infer, "backendRefs": backends, "timeouts": { "request": timeout } },
        // Among them WebSockets, which last.
        { "matches": others, "backendRefs": backends },
    ]);
    let mut routes = vec![route(HTTP_ROUTE, "", subject.host(config.hostname.as_deref()), rules)];
    if let Some(host) = subject.host(config.grpc_hostname.as_deref()) {
        let calls = [GRPC_SERVICE, GRPC_HEALTH].map(|service| json!({ "method": { "service": service } }));
        let rules = json!([{ "matches": calls, "backendRefs": backends }]);
        routes.push(route(GRPC_ROUTE, "-grpc", Some(host), rules));
    }
    routes
}

/// Ingresses.
pub(super) fn ingresses(subject: Subject<'_>) -> Vec<(Kind, Value)> {
    let config = subject.config;
    let backend = json!({ "service": { "name": config.service, "port": { "number": config.port } } });
    let ingress = |ending: &str, annotations: Map<String, Value>, host: Option<String>, prefixes: Vec<String>| {
        let paths: Vec<Value> = prefixes
            .into_iter()
            .map(|path| json!({ "path": path, "pathType": "Prefix", "backend": backend }))
            .collect();
        let mut rule = json!({ "http": { "paths": paths } });
        let mut spec = json!({ "ingressClassName": config.ingress_class });
        if let Some(secret) = &config.tls_secret {
            spec["tls"] = json!([{ "secretName": secret }]);
        }
        if let Some(host) = host {
            rule["host"] = host.as_str().into();
            if config.tls_secret.is_some() {
                spec["tls"][0]["hosts"] = json!([host]);
            }
        }
        spec["rules"] = json!([rule]);
        (INGRESS, subject.object(INGRESS, ending, annotations, &spec))
    };
    let http = subject.models().chain(shared()).collect();
    let mut ingresses = vec![ingress("", Map::new(), subject.host(config.hostname.as_deref()), http)];
    if let Some(host) = subject.host(config.grpc_hostname.as_deref()) {
        let annotations = config.grpc_annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
        let prefixes = [GRPC_SERVICE, GRPC_HEALTH].map(|service| format!("/{service}")).to_vec();
        ingresses.push(ingress("-grpc", annotations.collect(), Some(host), prefixes));
    }
    ingresses
}

/// What is no deployment's own: results that are polled, and the health of the server.
fn shared() -> impl Iterator<Item = String> {
    ["/v2/requests", "/v2/health"].into_iter().map(str::to_owned)
}

impl Subject<'_> {
    /// The paths of the model.
    fn models(&self) -> impl Iterator<Item = String> {
        let (namespace, name) = (&self.id.namespace, &self.id.name);
        let short = (namespace.as_str() == "default").then(|| format!("/v2/models/{name}"));
        std::iter::once(format!("/v2/namespaces/{namespace}/models/{name}")).chain(short)
    }

    fn host(&self, pattern: Option<&str>) -> Option<String> {
        Some(hostname(pattern?, self.id.namespace.as_str(), self.id.name.as_str()))
    }

    fn object(&self, kind: Kind, ending: &str, more: Map<String, Value>, spec: &Value) -> Value {
        let common = self.config.annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
        let annotations: Map<String, Value> = common.chain(more).collect();
        json!({
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": { "name": format!("{}{ending}", names::deployment(self.id)), "annotations": annotations },
            "spec": spec,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> KubernetesConfig {
        KubernetesConfig {
            enabled: true,
            gateway: "public".into(),
            gateway_namespace: Some("gateways".into()),
            hostname: Some("{name}.{namespace}.models.example".into()),
            grpc_hostname: Some("grpc.models.example".into()),
            ingress_class: "nginx".into(),
            tls_secret: Some("certificate".into()),
            ..KubernetesConfig::default()
        }
    }

    fn subject<'a>(id: &'a DeploymentId, config: &'a KubernetesConfig) -> Subject<'a> {
        Subject { id, timeout: Duration::from_secs(2), config }
    }

    #[test]
    fn a_route_takes_the_paths_of_its_model_and_waits_longer_than_the_door() {
        let id = "team.digits".parse().unwrap();
        let config = config();
        let made = routes(subject(&id, &config));
        assert_eq!(made.iter().map(|(kind, _)| kind.kind).collect::<Vec<_>>(), ["HTTPRoute", "GRPCRoute"]);
        let spec = &made[0].1["spec"];
        assert_eq!(spec["hostnames"], json!(["digits.team.models.example"]));
        assert_eq!(spec["parentRefs"], json!([{ "name": "public", "namespace": "gateways" }]));
        assert_eq!(spec["rules"][0]["matches"][0]["path"]["value"], "/v2/namespaces/team/models/digits/infer");
        assert_eq!(spec["rules"][0]["timeouts"]["request"], "3000ms");
        assert_eq!(spec["rules"][1]["matches"].as_array().unwrap().len(), 3);
        assert!(spec["rules"][1].get("timeouts").is_none(), "a WebSocket lasts");
        assert_eq!(made[1].1["spec"]["hostnames"], json!(["grpc.models.example"]));
        let id = "default.digits".parse().unwrap();
        let made = routes(subject(&id, &config));
        assert_eq!(made[0].1["spec"]["rules"][0]["matches"][1]["path"]["value"], "/v2/models/digits/infer");
    }

    #[test]
    fn grpc_has_an_ingress_of_its_own_because_controllers_must_be_told() {
        let id = "default.digits".parse().unwrap();
        let mut config = config();
        config.grpc_annotations.insert("nginx.ingress.kubernetes.io/backend-protocol".into(), "GRPC".into());
        let made = ingresses(subject(&id, &config));
        assert!(made[0].1["metadata"]["annotations"].as_object().unwrap().is_empty());
        assert_eq!(
            made[0].1["spec"]["tls"],
            json!([{ "secretName": "certificate", "hosts": ["digits.default.models.example"] }])
        );
        assert_eq!(made[1].1["metadata"]["annotations"].as_object().unwrap().len(), 1);
        assert_eq!(made[1].1["spec"]["rules"][0]["http"]["paths"][0]["path"], "/inference.GRPCInferenceService");
        config.grpc_hostname = None;
        assert_eq!((ingresses(subject(&id, &config)).len(), routes(subject(&id, &config)).len()), (1, 1));
    }
}

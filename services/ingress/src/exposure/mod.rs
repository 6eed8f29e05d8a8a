//! The way to the door from outside of a cluster: routes of a Gateway, or Ingresses, for each deployment; and the proof that a gateway took them.

mod render;

use crate::config::KubernetesConfig;
use render::Subject;
use serde_json::Value;
use slipway_cluster::{ApiError, ConnectError, Kind, Part, place, text};
use slipway_kernel::{DeploymentId, Finding, FindingKind, Item, Proof};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const HTTP_ROUTE: Kind =
    Kind { api_version: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", plural: "httproutes", is_optional: true };
const GRPC_ROUTE: Kind = Kind { kind: "GRPCRoute", plural: "grpcroutes", ..HTTP_ROUTE };
const INGRESS: Kind =
    Kind { api_version: "networking.k8s.io/v1", kind: "Ingress", plural: "ingresses", is_optional: false };
const KINDS: [Kind; 3] = [HTTP_ROUTE, GRPC_ROUTE, INGRESS];

/// How long a gateway may take to say what it thinks of a route.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The routes of all deployments.
pub struct Exposure {
    part: Part,
    config: KubernetesConfig,
}

impl Exposure {
    /// None where none are wanted.
    ///
    /// # Errors
    /// When no cluster is known.
    pub async fn open(config: &KubernetesConfig) -> Result<Option<Self>, ConnectError> {
        if !config.enabled {
            return Ok(None);
        }
        let found = slipway_cluster::connect(config.kubeconfig.as_deref(), None).await?;
        let part = Part::new(found, config.namespace.as_deref(), &config.installation, "ingress", &KINDS);
        Ok(Some(Self { part, config: config.clone() }))
    }

    /// Makes the routes of a deployment and waits until a gateway has taken them.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn expose(&self, id: &DeploymentId, timeout: Duration) -> Result<(Vec<Item>, Vec<Proof>), Finding> {
        let subject = Subject { id, timeout, config: &self.config };
        let by_gateway = !self.config.gateway.is_empty()
            && self.part.objects().serves(HTTP_ROUTE).await.map_err(ApiError::finding)?;
        if !by_gateway && self.config.ingress_class.is_empty() {
            let message = format!(
                "the cluster serves no {} for the Gateway \"{}\", or not to this service; install the Gateway API, or name a class in kubernetes.ingress_class",
                HTTP_ROUTE.api_version, self.config.gateway
            );
            return Err(Finding::deterministic(FindingKind::Misconfigured, message));
        }
        let wanted = if by_gateway { render::routes(subject) } else { render::ingresses(subject) };
        let kept = self.part.keep(id, wanted).await.map_err(ApiError::finding)?;
        if let Some(kind) = kept.unserved.first() {
            let message = format!("the cluster serves no {} of {}", kind.kind, kind.api_version);
            return Err(Finding::deterministic(FindingKind::Misconfigured, message));
        }
        let item = |(kind, object): &(Kind, Value)| {
            let host = ["/spec/hostnames/0", "/spec/rules/0/host"].into_iter().map(|at| text(object, at));
            let host = host.into_iter().find(|host| !host.is_empty()).unwrap_or("any host");
            Item { name: kind.kind.to_owned(), value: format!("{}: {host}", place(object)) }
        };
        let items = kept.objects.iter().map(item).collect();
        let mut proofs = Vec::new();
        if by_gateway {
            for (kind, object) in &kept.objects {
                proofs.push(self.accepted(*kind, object).await?);
            }
        }
        Ok((items, proofs))
    }

    /// Removes them.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn remove(&self, id: &DeploymentId) -> Result<Vec<Item>, ApiError> {
        let removed = self.part.keep(id, Vec::new()).await?.removed.into_iter();
        Ok(removed
            .map(|(kind, name)| Item { name: format!("{} {name}", kind.kind), value: "removed".into() })
            .collect())
    }

    /// A gateway routes by it: a route that nobody took leads nowhere, and says so nowhere else.
    async fn accepted(&self, kind: Kind, object: &Value) -> Result<Proof, Finding> {
        let deadline = Instant::now() + ACCEPTED_WITHIN;
        let (route, gateway) = (format!("{} {}", kind.kind, place(object)), &self.config.gateway);
        loop {
            let seen =
                self.part.objects().get(kind, text(object, "/metadata/name")).await.map_err(ApiError::finding)?;
            match said(&seen, gateway) {
                Said::Taken(by) => {
                    let detail = format!("{route} was taken by {by} for the Gateway \"{gateway}\"");
                    return Ok(Proof { name: "route accepted".to_owned(), detail });
                }
                Said::Refused(why) => {
                    let message = format!("the Gateway \"{gateway}\" does not take {route}: {why}");
                    return Err(Finding::deterministic(FindingKind::Misconfigured, message));
                }
                Said::Nothing if Instant::now() > deadline => {
                    let message = format!(
                        "no gateway has taken {route} within {} s; does the Gateway \"{gateway}\" exist, and does its controller run?",
                        ACCEPTED_WITHIN.as_secs()
                    );
                    return Err(Finding::transient(FindingKind::Misconfigured, message));
                }
                Said::Nothing => sleep(LOOK_AGAIN).await,
            }
        }
    }
}

/// What a gateway says of a route.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Nothing, or nothing yet of the route as it is now.
    Nothing,
    /// It routes by it; the controller that does.
    Taken(String),
    /// It does not; why.
    Refused(String),
}

fn said(route: &Value, gateway: &str) -> Said {
    let generation = route["metadata"]["generation"].as_u64().unwrap_or(0);
    let parents = route["status"]["parents"].as_array().into_iter().flatten();
    let Some(parent) = parents.into_iter().find(|parent| parent["parentRef"]["name"] == gateway) else {
        return Said::Nothing;
    };
    let condition = |kind: &str| {
        let all = parent["conditions"].as_array()?;
        let found = all.iter().find(|condition| condition["type"] == kind)?;
        (found["observedGeneration"].as_u64().unwrap_or(generation) >= generation).then_some(found)
    };
    for kind in ["Accepted", "ResolvedRefs"] {
        match condition(kind) {
            None => return Said::Nothing,
            Some(found) if found["status"] == "False" => {
                return Said::Refused(format!("{} ({})", text(found, "/message"), text(found, "/reason")));
            }
            Some(found) if found["status"] != "True" => return Said::Nothing,
            Some(_) => {}
        }
    }
    Said::Taken(text(parent, "/controllerName").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn route(accepted: &str, resolved: &str, observed: u64) -> Value {
        let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "Why", "message": "because", "observedGeneration": observed });
        json!({
            "metadata": { "generation": 2 },
            "status": { "parents": [{
                "parentRef": { "name": "public" }, "controllerName": "example/controller",
                "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", resolved)],
            }] },
        })
    }

    #[test]
    fn a_route_is_taken_when_its_gateway_says_so_of_its_newest_form() {
        let of = |route: &Value| said(route, "public");
        assert_eq!(of(&route("True", "True", 2)), Said::Taken("example/controller".into()));
        assert_eq!(of(&route("True", "True", 1)), Said::Nothing, "that was of an earlier one");
        assert_eq!(of(&route("True", "False", 2)), Said::Refused("because (Why)".into()));
        assert_eq!(of(&route("Unknown", "True", 2)), Said::Nothing);
        assert_eq!(said(&route("True", "True", 2), "other"), Said::Nothing);
        assert_eq!(of(&json!({ "metadata": { "generation": 1 } })), Said::Nothing);
    }
}

//! `slipway connect`: how the mesh of a Kubernetes cluster is reached from here, noted in the data folder.

use crate::{
    cli::{ConnectArgs, Format, Global},
    context::{Context, write_private},
    failure::{Failure, chain},
    kubernetes,
    output::{self, Mark},
};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret, Service, ServicePort};
use kube::{Api, Client, api::ListParams};
use slipway_bus::{Principal, keys};

/// The folder below the data folder for what comes from a cluster, apart from the keys of a mesh that runs here.
const FOLDER: &str = "cluster";
/// The port of the broker's Service for clients, by its name.
const CLIENT_PORT: &str = "client";
/// Nodes looked at for one that has an address.
const NODES: u32 = 20;

pub(crate) async fn run(args: &ConnectArgs, global: &Global) -> Result<(), Failure> {
    let (client, namespace) = kubernetes::installed(&args.cluster).await?;
    let place = Place { client, namespace, release: args.cluster.release.clone() };
    let seed = place.operator_seed().await?;
    let ca = place.broker_ca().await?;
    let scheme = if ca.is_some() { "tls" } else { "nats" };
    let nats_url = match &args.nats {
        Some(url) => url.clone(),
        None => place.address(&format!("{}-nats", place.release), &[CLIENT_PORT], scheme, "--nats").await?,
    };
    let ingress_url = match &args.ingress {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => place.address(&format!("{}-ingress", place.release), &["https", "http"], "", "--ingress").await?,
    };
    let folder = std::path::absolute(global.data.join(FOLDER));
    let folder = folder.map_err(|error| Failure::local(format!("{}: {error}", global.data.display())))?;
    let operator_seed_file = folder.join(keys::file_name(&Principal::Operator));
    write_private(&operator_seed_file, &format!("{}\n", seed.trim()))?;
    let ca_file = match ca {
        Some(pem) => {
            let file = folder.join("broker-ca.crt");
            write_private(&file, &pem)?;
            Some(file)
        }
        None => None,
    };
    let admin_url = String::new();
    let context = Context { nats_url, operator_seed_file, ca_file, remote: true, ingress_url, admin_url, pid: 0 };
    context.write(&global.data)?;
    show(&context, global).await
}

/// Says what was noted, and whether the broker answers there.
async fn show(context: &Context, global: &Global) -> Result<(), Failure> {
    let reached = context.connect().await;
    if global.output == Format::Json {
        output::json(context);
    } else {
        output::line(output::heading("the mesh of the cluster is noted"));
        output::line(format!("  log    {}", context.nats_url));
        output::line(format!("  models {}/v2/models/NAME/infer", context.ingress_url));
        output::line(format!("  key    {}", context.operator_seed_file.display()));
    }
    match reached {
        Ok(bus) => {
            bus.close().await;
            if global.output == Format::Human {
                output::line(format!("{} the broker answers; next: slipway deploy -f FILE", Mark::Good.sign()));
            }
            Ok(())
        }
        Err(failure) => {
            Err(failure.hint("what is noted stays; is the address reachable from here? `--nats URL` names another"))
        }
    }
}

/// An installation in a cluster.
struct Place {
    client: Client,
    namespace: String,
    release: String,
}

impl Place {
    async fn operator_seed(&self) -> Result<String, Failure> {
        let name = format!("{}-key-{}", self.release, Principal::Operator);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = secrets.get_opt(&name).await.map_err(|error| self.failed("Secret", &name, &error))?;
        let found = found.ok_or_else(|| {
            Failure::input(format!("there is no Secret {}/{name}", self.namespace))
                .hint("name the namespace with --kube-namespace, and the release with --release; a new installation needs a moment")
        })?;
        let file = keys::file_name(&Principal::Operator);
        let seed = found.data.unwrap_or_default().remove(&file).and_then(|seed| String::from_utf8(seed.0).ok());
        let seed = seed.filter(|seed| keys::public_of(seed).is_some());
        seed.ok_or_else(|| {
            Failure::local(format!("Secret {}/{name} holds no nkey seed under `{file}`", self.namespace))
        })
    }

    /// The authority of the broker's certificate; none where it has no TLS, or a certificate of somebody else's.
    async fn broker_ca(&self) -> Result<Option<String>, Failure> {
        let name = format!("{}-broker-ca", self.release);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = maps.get_opt(&name).await.map_err(|error| self.failed("ConfigMap", &name, &error))?;
        Ok(found.and_then(|map| map.data.unwrap_or_default().remove("ca.crt")))
    }

    /// Where a Service is reached from outside, as a URL. Without a scheme it is the name of the port.
    async fn address(&self, name: &str, ports: &[&str], scheme: &str, flag: &str) -> Result<String, Failure> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = services.get_opt(name).await.map_err(|error| self.failed("Service", name, &error))?;
        let unknown = || {
            Failure::input(format!("there is no Service {}/{name}", self.namespace))
                .hint(format!("say where it is reached from here: {flag} URL"))
        };
        let service = found.ok_or_else(unknown)?;
        let port = port(&service, ports).ok_or_else(unknown)?;
        let scheme = if scheme.is_empty() { port.name.as_deref().unwrap_or("http") } else { scheme };
        let reach = reach(&service, &port);
        let (host, port) = match reach {
            Reach::At(host, port) => (host, port),
            Reach::Node(port) => (self.node().await?, port),
            Reach::Within(port) => {
                return Err(Failure::input(format!(
                    "Service {}/{name} is reached from inside the cluster only",
                    self.namespace
                ))
                .hint(format!(
                    "kubectl -n {} port-forward service/{name} {port} and then {flag} {scheme}://127.0.0.1:{port}; \
                         or give the Service the type LoadBalancer or NodePort",
                    self.namespace
                )));
            }
        };
        Ok(format!("{scheme}://{}:{port}", in_url(&host)))
    }

    /// An address of a node.
    async fn node(&self) -> Result<String, Failure> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let found = nodes.list(&ListParams::default().limit(NODES)).await;
        let found = found.map_err(|error| self.failed("list of", "nodes", &error))?;
        let address = found.items.iter().find_map(node_address);
        address.ok_or_else(|| Failure::unreachable("no node of the cluster has an address"))
    }

    fn failed(&self, kind: &str, name: &str, error: &kube::Error) -> Failure {
        Failure::unreachable(format!("{kind} {}/{name} cannot be read: {}", self.namespace, chain(error)))
    }
}

/// The first of these ports that the Service has.
fn port(service: &Service, names: &[&str]) -> Option<ServicePort> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    names.iter().find_map(|name| ports.iter().find(|port| port.name.as_deref() == Some(*name))).cloned()
}

/// From where a port of a Service is reached.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    /// At an address of its own.
    At(String, i32),
    /// At any node.
    Node(i32),
    /// From inside the cluster.
    Within(i32),
}

fn reach(service: &Service, port: &ServicePort) -> Reach {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let points = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let mut hosts = points.filter_map(|point| point.hostname.clone().or_else(|| point.ip.clone()));
    match (hosts.next(), port.node_port) {
        (Some(host), _) => Reach::At(host, port.port),
        (None, Some(node_port)) => Reach::Node(node_port),
        (None, None) => Reach::Within(port.port),
    }
}

fn node_address(node: &Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let of = |kind: &str| addresses.iter().find(|address| address.type_ == kind).map(|address| address.address.clone());
    of("ExternalIP").or_else(|| of("InternalIP"))
}

fn in_url(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(spec: &Value, status: &Value) -> Service {
        serde_json::from_value(json!({ "metadata": { "name": "slipway-nats" }, "spec": spec, "status": status }))
            .unwrap()
    }

    #[test]
    fn a_service_is_reached_where_its_type_says() {
        let port_of = |node_port: Value| {
            json!({ "ports": [
            { "name": "monitor", "port": 8222 }, { "name": "client", "port": 4222, "nodePort": node_port }
        ] })
        };
        let balanced = json!({ "loadBalancer": { "ingress": [{ "ip": "10.0.0.7" }] } });
        for (spec, status, expected) in [
            (port_of(json!(null)), json!({}), Reach::Within(4222)),
            (port_of(json!(30_422)), json!({}), Reach::Node(30_422)),
            (port_of(json!(30_422)), balanced, Reach::At("10.0.0.7".to_owned(), 4222)),
        ] {
            let service = service(&spec, &status);
            let port = port(&service, &[CLIENT_PORT]).unwrap();
            assert_eq!(reach(&service, &port), expected);
        }
        assert!(port(&service(&port_of(json!(null)), &json!({})), &["http"]).is_none());
    }

    #[test]
    fn a_node_is_reached_from_outside_if_it_can_be() {
        let node = |addresses: Value| -> Node {
            serde_json::from_value(json!({ "metadata": {}, "status": { "addresses": addresses } })).unwrap()
        };
        let inner = json!({ "type": "InternalIP", "address": "10.0.0.1" });
        let outer = json!({ "type": "ExternalIP", "address": "203.0.113.5" });
        assert_eq!(node_address(&node(json!([inner, outer]))).as_deref(), Some("203.0.113.5"));
        assert_eq!(node_address(&node(json!([inner]))).as_deref(), Some("10.0.0.1"));
        assert_eq!(node_address(&node(json!([]))), None);
        assert_eq!(in_url("fd00::1"), "[fd00::1]");
    }
}

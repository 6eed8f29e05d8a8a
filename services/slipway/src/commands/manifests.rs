//! The objects that an installation would make in its cluster for a document, made by the controller's own renderer with that installation's
//! settings: what `planned` would name. Nothing is written, and the cluster is only asked.

use super::plan::{platform, roomless, selected, unserved};
use crate::{
    cli::{Format, Global, InstallationArgs},
    document,
    failure::{Failure, chain},
    kubernetes, output,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde_json::Value;
use slipway_cluster::Objects;
use slipway_controller::{
    domain::{
        first_plan,
        manifest::{
            Model,
            kubernetes::{self as manifest, Cluster, Order},
        },
    },
    target::kubernetes::SCALED_OBJECT,
};
use slipway_kernel::{
    InfrastructureReady, MachineFacts,
    spec::{ModelDeployment, Target},
};
use slipway_runtime::{Layers, ServiceConfig};
use std::path::Path;

/// The target that objects of a cluster are made for.
const TARGET: &str = "kubernetes";

/// A document, and the objects of its first revision in the order in which they are made.
pub(super) struct Manifests {
    pub(super) document: ModelDeployment,
    pub(super) objects: Vec<Value>,
}

/// An installation in a cluster.
struct Installation {
    cluster: Cluster,
    /// Engines of the worker's image.
    engines: Vec<String>,
}

/// Prints them.
pub(super) async fn show(file: &Path, args: &InstallationArgs, global: &Global) -> Result<(), Failure> {
    let Manifests { objects, .. } = manifests(file, args, global).await?;
    if global.output == Format::Json {
        output::json(&serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects }));
        return Ok(());
    }
    for object in &objects {
        output::line(format!("---\n{}", yaml(object)?.trim_end()));
    }
    Ok(())
}

/// An object as YAML.
pub(super) fn yaml(object: &Value) -> Result<String, Failure> {
    serde_norway::to_string(object).map_err(|error| Failure::local(format!("an object has no YAML: {error}")))
}

/// Makes them.
pub(super) async fn manifests(file: &Path, args: &InstallationArgs, global: &Global) -> Result<Manifests, Failure> {
    let document = document::read(file)?;
    if document.spec.infrastructure.target == Target::Local {
        return Err(Failure::input("spec.infrastructure.target: `local` has processes and no objects of a cluster")
            .hint("`auto` and `kubernetes` have"));
    }
    let installation = installation(args).await?;
    let machine = MachineFacts { engines: installation.engines, ..MachineFacts::default() };
    let preview = platform(&document, TARGET, &machine, global).await?;
    let selected = selected(&preview).ok_or_else(|| unserved(&preview))?;
    let ready = InfrastructureReady { target: TARGET.to_owned(), machine, proofs: Vec::new() };
    let plan = first_plan(&document.spec, &selected, &ready).map_err(|finding| roomless(&finding))?;
    let mut list = manifest::document(&Order {
        deployment: &document.id(),
        revision: args.revision,
        plan: &plan,
        model: &Model::of(&selected, document.spec.infrastructure.gpu),
        scale: document.spec.scale,
        placement: &document.spec.placement(),
        cluster: &installation.cluster,
    });
    let objects = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    Ok(Manifests { document, objects })
}

async fn installation(args: &InstallationArgs) -> Result<Installation, Failure> {
    if args.controller.is_empty() { of_cluster(args).await } else { of_files(args) }
}

/// As files say.
fn of_files(args: &InstallationArgs) -> Result<Installation, Failure> {
    let mut layers = Layers::new();
    for file in &args.controller {
        layers = layers.file(file).map_err(|error| Failure::input(chain(&error)))?;
    }
    let config: slipway_controller::Config = load(layers)?;
    let namespace = config.kubernetes.namespace.clone().ok_or_else(|| {
        Failure::input("kubernetes.namespace is unset in the controller's settings")
            .hint("name the namespace of the workers there: without a cluster nothing else tells it")
    })?;
    let cluster = cluster(&config, namespace, args.keda)?;
    Ok(Installation { cluster, engines: args.engines.clone() })
}

/// As the installation's own settings say.
async fn of_cluster(args: &InstallationArgs) -> Result<Installation, Failure> {
    let (client, place) = kubernetes::installed(&args.cluster).await?;
    let release = &args.cluster.release;
    let config: slipway_controller::Config = load(settings(&client, &place, &format!("{release}-controller")).await?)?;
    let provisioner: slipway_provisioner::Config =
        load(settings(&client, &place, &format!("{release}-provisioner")).await?)?;
    let namespace = config.kubernetes.namespace.clone().unwrap_or(place);
    let has_keda = Objects::new(client, &namespace, "slipway").serves(SCALED_OBJECT).await;
    let has_keda = has_keda.map_err(|error| Failure::unreachable(error.to_string()))?;
    let cluster = cluster(&config, namespace, has_keda)?;
    Ok(Installation { cluster, engines: provisioner.kubernetes.engines })
}

fn cluster(config: &slipway_controller::Config, namespace: String, has_keda: bool) -> Result<Cluster, Failure> {
    if !config.kubernetes.enabled {
        return Err(Failure::input("kubernetes.enabled: false in the controller's settings")
            .hint("that controller keeps workers as processes of its machine, and makes no objects"));
    }
    Ok(config.kubernetes.cluster(&config.bus, &config.common.telemetry, namespace, has_keda))
}

/// The settings that a service of the installation is started with.
async fn settings(client: &Client, namespace: &str, name: &str) -> Result<Layers, Failure> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = maps.get_opt(name).await.map_err(|error| {
        Failure::unreachable(format!("ConfigMap {namespace}/{name} cannot be read: {}", chain(&error)))
    })?;
    let mut data = found.and_then(|map| map.data).ok_or_else(|| {
        Failure::input(format!("there is no ConfigMap {namespace}/{name} with the settings of the service")).hint(
            "name the namespace with --kube-namespace and the release with --release, or give settings with --controller FILE",
        )
    })?;
    let mut layers = Layers::new();
    // In the order in which the chart's pods read them.
    for file in ["service.toml", "own.toml"] {
        if let Some(text) = data.remove(file) {
            let origin = format!("{file} of ConfigMap {namespace}/{name}");
            layers = layers.toml(&origin, &text).map_err(|error| Failure::input(chain(&error)))?;
        }
    }
    Ok(layers)
}

fn load<C: ServiceConfig>(layers: Layers) -> Result<C, Failure> {
    layers.load().map_err(|refusals| Failure::input(format!("settings of {} are refused:\n{refusals}", C::SERVICE)))
}

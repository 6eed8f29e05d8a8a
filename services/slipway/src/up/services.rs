//! Settings of each service for one machine, and starting it.

use crate::{cli::UpArgs, failure::Failure, output, services::for_service};
use slipway_bus::{Principal, keys::KeyRing};
use slipway_kernel::Service;
use slipway_runtime::{Layers, Process, ServiceConfig};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use toml::{Table, Value, toml};

/// Services that run inside `slipway up`; workers are processes of their own, started by the controller.
pub(super) fn in_process() -> Vec<Service> {
    Service::ALL.into_iter().filter(|service| *service != Service::InferenceWorker).collect()
}

/// What the services of this machine are told, below what the user's file, environment and flags say.
pub(super) struct Settings {
    defaults: BTreeMap<Service, Table>,
    file: Option<(PathBuf, Table)>,
    set: Vec<String>,
}

impl Settings {
    pub(super) fn new(
        args: &UpArgs,
        data: &Path,
        keys: &KeyRing,
        url: &str,
        admin: SocketAddr,
    ) -> Result<Self, Failure> {
        let mut defaults: BTreeMap<Service, Table> =
            Service::ALL.into_iter().map(|service| (service, every(args, service, data, keys, url))).collect();
        for (service, table) in own(args, keys, admin)? {
            merge(defaults.entry(service).or_default(), table);
        }
        let file = args.config.as_deref().map(read_file).transpose()?;
        Ok(Self { defaults, file, set: args.set.clone() })
    }

    fn load<C: ServiceConfig>(&self, service: Service) -> Result<C, Failure> {
        let name = service.name();
        let local = |error: slipway_runtime::ConfigError| Failure::input(crate::failure::chain(&error));
        let mut layers = Layers::new().table("slipway up", self.defaults.get(&service).cloned().unwrap_or_default());
        if let Some((file, sections)) = &self.file
            && let Some(Value::Table(section)) = sections.get(name)
        {
            layers = layers.table(&file.display().to_string(), section.clone());
        }
        layers = layers.own_environment(name);
        for setting in &self.set {
            if let Some(own) = setting.strip_prefix(&format!("{name}.")) {
                layers = layers.set(own).map_err(local)?;
            }
        }
        layers.load::<C>().map_err(|refusals| Failure::input(format!("settings of {name} are refused:\n{refusals}")))
    }
}

fn read_file(file: &Path) -> Result<(PathBuf, Table), Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| Failure::input(format!("{shown}: {error}")))?;
    let table: Table = text.parse().map_err(|error| Failure::input(format!("{shown}: {error}")))?;
    let unknown: Vec<&str> = table.keys().map(String::as_str).filter(|key| key.parse::<Service>().is_err()).collect();
    if unknown.is_empty() {
        return Ok((file.to_path_buf(), table));
    }
    let known = Service::ALL.map(Service::name).join(", ");
    Err(Failure::input(format!("{shown}: no section {}; known: {known}", unknown.join(", "))))
}

/// Starts a service inside the process.
///
/// # Errors
/// Its settings, all that is refused of them.
pub(super) fn start(service: Service, settings: &Settings, process: &Process) -> Result<(), Failure> {
    macro_rules! start_one {
        ($service:ident,) => {{
            let config: $service::Config = settings.load(service)?;
            let frame = process.frame(service.name());
            // The connection's own condition, from before the first moment: the process is not ready until all have connected.
            let _ = frame.health.condition("nats");
            frame.tasks.spawn("run", Box::pin($service::run(config, frame.clone())));
        }};
    }
    for_service!(service, start_one!());
    Ok(())
}

/// Prints the effective settings of services, a section each.
///
/// # Errors
/// What is refused of them.
pub(super) fn dump(services: &[Service], settings: &Settings) -> Result<(), Failure> {
    for service in services {
        macro_rules! text_of {
            ($service:ident,) => {
                slipway_runtime::dump(&settings.load::<$service::Config>(*service)?)
            };
        }
        let text: Result<String, slipway_runtime::ConfigError> = for_service!(service, text_of!());
        let text = text.map_err(|error| Failure::local(crate::failure::chain(&error)))?;
        output::line(format!("# ---- {service}\n{text}"));
    }
    Ok(())
}

/// What every service is told. The telemetry is for the workers, which get the controller's: in this process the flags rule.
fn every(args: &UpArgs, service: Service, data: &Path, keys: &KeyRing, url: &str) -> Table {
    let (data, seed, filter) = (text(data), text(&keys.seed_file(Principal::Service(service))), args.log.clone());
    let mut table = toml! {
        [common]
        data_dir = data
        [common.telemetry]
        filter = filter
        [bus]
        url = url
        nkey_seed_file = seed
    };
    if let Some(otlp) = &args.otlp {
        merge(
            &mut table,
            toml! { [common.telemetry]
            otlp_endpoint = (otlp.clone()) },
        );
    }
    table
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// What single services are told besides.
fn own(args: &UpArgs, keys: &KeyRing, admin: SocketAddr) -> Result<Vec<(Service, Table)>, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::local(format!("own program: {error}")))?;
    let (program, http, admin) = (text(&program), args.http.to_string(), admin.to_string());
    let door = format!("http://{http}");
    let (public_door, metrics) = (door.clone(), format!("http://{admin}"));
    let validator = keys.public(Principal::Service(Service::Validator)).to_owned();
    let (operator, client) = (keys.public(Principal::Operator).to_owned(), keys.public(Principal::Client).to_owned());
    let worker = vec![program.clone(), "inference-worker".to_owned()];
    let local = worker.clone();
    Ok(vec![
        (
            Service::Provisioner,
            toml! { [local]
            worker = worker },
        ),
        (
            Service::Controller,
            toml! {
                [local]
                worker_command = local
            on_shutdown = "stop"
                [[gate.principals]]
                key = operator
                actor = "operator"
                namespaces = ["*"]
                verbs = ["*"]
                [[gate.principals]]
                key = client
                actor = "client"
                namespaces = ["default"]
                verbs = ["deploy", "pause", "resume", "rollback", "revalidate", "retire"]
            },
        ),
        (
            Service::Ingress,
            toml! {
                [http]
                listen = http
                [auth]
                probe_keys = [validator]
            },
        ),
        (Service::Observability, toml! { ingress_metrics = [admin] }),
        (
            Service::Security,
            toml! { [proof]
            ingress_url = public_door },
        ),
        (
            Service::Validator,
            toml! { [ingress]
            address = door
            admin = metrics },
        ),
    ])
}

//! A broker, a process per service, and an operator who demands and watches.

use crate::{
    figures::{peak, resident},
    roles::SERVICES,
};
use anyhow::{Context as _, bail};
use serde_json::json;
use slipway_bus::{Bus, Command, Principal, Verb, View};
use slipway_kernel::{DeploymentId, FactKey, Service, Slot};
use slipway_testkit::{Appended, NatsServer, Program, free_port, workspace};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use toml::Table;

/// How long the services may take to be at work: eight processes start on whatever cores there are.
const START: Duration = Duration::from_secs(60);
/// How long a demand may wait for its answer when a thousand are made at once.
const ANSWER: Duration = Duration::from_secs(300);
/// How often the operator looks. What is measured are the broker's times, so this only delays the end of a run.
const LOOK: Duration = Duration::from_millis(50);

/// A running mesh. Its processes end with it.
pub struct Mesh {
    // Before the broker and the folder: they end before those go.
    parts: Vec<(Service, Program)>,
    operator: Bus,
    view: View,
    server: NatsServer,
    /// The services' admin endpoints, and what asks them.
    admin: Vec<SocketAddr>,
    http: reqwest::Client,
    _folder: TempDir,
}

/// Memory of one process in MiB.
#[derive(Clone, Debug)]
pub struct Memory {
    pub name: &'static str,
    pub now: f64,
    pub peak: f64,
}

impl Mesh {
    /// Starts one and waits until a first deployment has passed through all of it.
    pub async fn start() -> anyhow::Result<Self> {
        let server = NatsServer::secured().await;
        let folder = tempfile::tempdir()?;
        let operator = server.bus(Principal::Operator).await;
        let key = operator.identity().context("the operator has a key")?;
        let program = std::env::current_exe()?;
        let (mut parts, mut admin) = (Vec::new(), Vec::new());
        for service in SERVICES {
            let data = folder.path().join(service.name());
            fs::create_dir_all(&data)?;
            let file = data.join("config.toml");
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            admin.push(address);
            fs::write(&file, config(service, &server, &data, &key, address)?.to_string())?;
            let mut command = std::process::Command::new(&program);
            command.arg("--role").arg(service.name()).arg(&file).current_dir(&data);
            parts.push((
                service,
                Program::start(service.name(), command, &folder.path().join(format!("{service}.log"))),
            ));
        }
        let view = operator.log().follow().await?;
        let http = reqwest::Client::builder().no_proxy().timeout(START).build()?;
        let mut mesh = Self { parts, operator, view, server, admin, http, _folder: folder };
        let first = id("warm-up")?;
        mesh.demand_patiently(&first).await?;
        let left = mesh.wait(vec![first], START).await?;
        if !left.is_empty() {
            bail!("the first deployment was not released in {START:?}:\n{}\n{}", mesh.standing(&left), mesh.said());
        }
        Ok(mesh)
    }

    async fn demand_patiently(&mut self, id: &DeploymentId) -> anyhow::Result<()> {
        let begun = Instant::now();
        while let Err(error) = demand(&self.operator, id).await {
            self.all_run()?;
            if begun.elapsed() > START {
                bail!("no gate after {START:?}: {error:#}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Where each service tells how it does.
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        &self.admin
    }

    /// What asks there.
    pub const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The operator, to demand with.
    pub fn operator(&self) -> Bus {
        self.operator.clone()
    }

    /// Waits until all are released; returns those that were not in time.
    pub async fn wait(
        &mut self,
        mut wanted: Vec<DeploymentId>,
        timeout: Duration,
    ) -> anyhow::Result<Vec<DeploymentId>> {
        let begun = Instant::now();
        while begun.elapsed() < timeout {
            wanted.retain(|id| !self.view.facts(id).iter().any(|fact| fact.key.slot == Slot::Release));
            if wanted.is_empty() {
                break;
            }
            self.all_run()?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(wanted)
    }

    fn all_run(&mut self) -> anyhow::Result<()> {
        for (service, program) in &mut self.parts {
            if let Some(status) = program.status() {
                bail!("{service} ended with {status}:\n{}", program.last_words());
            }
        }
        Ok(())
    }

    /// Whether a deployment came to one revision, released at the first attempt of every question.
    pub fn is_straight(&self, id: &DeploymentId) -> bool {
        let Some(folded) = self.view.get(id) else { return false };
        let deployment = &folded.deployment;
        let released =
            deployment.newest().and_then(|g| g.latest()).is_some_and(|r| r.is_released() && r.id.revision.0 == 1);
        let once = self.view.facts(id).iter().all(|fact| fact.key.attempt.0 == 0);
        released && once && deployment.generations.len() == 1 && deployment.set_aside.is_empty()
    }

    /// What the logs of all services say in warnings, and how often; the service first.
    pub fn warnings(&self) -> Vec<(Service, usize)> {
        let count =
            |program: &Program| program.said().lines().filter(|l| l.contains("WARN") || l.contains("ERROR")).count();
        self.parts.iter().map(|(service, program)| (*service, count(program))).filter(|(_, n)| *n > 0).collect()
    }

    /// The end of what every service said.
    pub fn said(&self) -> String {
        self.parts.iter().map(|(service, program)| format!("--- {service}\n{}\n", program.last_words())).collect()
    }

    /// Which facts the deployments have, of those that are not through.
    pub fn standing(&self, left: &[DeploymentId]) -> String {
        let newest = |id| {
            let facts = self.view.facts(id);
            let mut slots: Vec<_> = facts.iter().map(|f| (f.key.order(), f.answer.name())).collect();
            slots.sort();
            slots.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
        };
        left.iter().take(5).map(|id| format!("{id}: {}\n", newest(id))).collect()
    }

    /// When each fact was appended.
    pub async fn appended(&self) -> anyhow::Result<Vec<(FactKey, i128)>> {
        let key = |fact: Appended| {
            let key = slipway_bus::topology::parse_fact(&fact.subject).map_err(anyhow::Error::msg)?;
            Ok((key, fact.at))
        };
        self.server.appended().await.into_iter().map(key).collect()
    }

    /// Memory of every service, and of the broker.
    pub fn memory(&self) -> Vec<Memory> {
        let services = self.parts.iter().map(|(service, program)| (service.name(), Some(program.pid())));
        let broker = std::iter::once(("nats-server", self.server.pid()));
        let read = |(name, pid): (&'static str, Option<u32>)| {
            let pid = pid?;
            Some(Memory { name, now: resident(pid)?, peak: peak(pid)? })
        };
        services.chain(broker).filter_map(read).collect()
    }
}

/// The id of a deployment.
pub fn id(name: &str) -> anyhow::Result<DeploymentId> {
    format!("default.{name}").parse().map_err(|error| anyhow::anyhow!("{name}: {error}"))
}

/// Demands a deployment of the digits model whose rollout has one step and waits for nothing.
pub async fn demand(bus: &Bus, id: &DeploymentId) -> anyhow::Result<()> {
    let model = workspace().join("infra/examples/digits-v1.onnx");
    let data = json!({
        "apiVersion": "slipway.dev/v1", "kind": "ModelDeployment",
        "metadata": { "name": id.name, "namespace": id.namespace },
        "spec": {
            "model": { "uri": format!("file://{}", model.display()) },
            "infrastructure": { "target": "local" },
            "rollout": { "steps": [100], "hold": "0s", "watch": "0s" },
        },
    });
    let (namespace, source) = (id.namespace.clone(), "bench".to_owned());
    let command = Command { namespace, verb: Verb::Deploy, source, id: id.to_string(), data };
    let answer = bus.intake().send(&command, ANSWER).await?;
    if !answer.accepted {
        bail!("{id} was refused: {} {:?}", answer.message, answer.refusals);
    }
    Ok(())
}

fn config(
    service: Service,
    server: &NatsServer,
    data: &Path,
    operator: &str,
    admin: SocketAddr,
) -> anyhow::Result<Table> {
    let admin = admin.to_string();
    let seed = server.seed_file(Principal::Service(service)).context("a secured broker has seeds")?;
    let mut table = toml::toml! {
        [common.admin]
        listen = admin
        [common.telemetry]
        filter = "warn"
        [bus]
    };
    let mut put = |section: &str, key: &str, value: String| {
        if let Some(section) = table.get_mut(section).and_then(toml::Value::as_table_mut) {
            section.insert(key.to_owned(), value.into());
        }
    };
    put("common", "data_dir", data.display().to_string());
    put("bus", "url", server.url());
    put("bus", "nkey_seed_file", seed.display().to_string());
    let own = match service {
        Service::Controller => toml::toml! {
            [[gate.principals]]
            key = operator
            actor = "operator"
            namespaces = ["*"]
            verbs = ["*"]
        },
        Service::Ingress => toml::toml! {
            [http]
            listen = "127.0.0.1:0"
        },
        _ => Table::new(),
    };
    table.extend(own);
    Ok(table)
}

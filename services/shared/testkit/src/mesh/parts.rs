//! The mesh in parts: a process per service, and per replica, on one broker.

use super::{DataFolder, MeshOptions, READY, clean_environment, is_ready};
use crate::{NatsProxy, NatsServer, Program, free_port, tools::slipway_binary};
use slipway_bus::Principal;
use slipway_kernel::Service;
use std::{fs, process::Command};

/// Services as processes of their own. Ends with all of them when it is dropped.
#[derive(Debug)]
pub struct MeshParts {
    // In this order: the services end before the broker, the broker before its files go.
    parts: Vec<Part>,
    folder: DataFolder,
    nats: NatsServer,
    options: MeshOptions,
}

/// One process.
#[derive(Debug)]
pub struct Part {
    /// The services in it.
    pub services: Vec<Service>,
    /// The process.
    pub program: Program,
    /// What stands between it and the broker.
    pub proxy: NatsProxy,
    admin: u16,
    http: u16,
    number: usize,
}

impl MeshParts {
    /// Services that run as processes of their own; workers are started by the controller.
    #[must_use]
    pub fn services() -> Vec<Service> {
        Service::ALL.into_iter().filter(|service| *service != Service::InferenceWorker).collect()
    }

    /// Starts a broker and, beside it, a process for each of `parts`. The first one with the ingress has the folder's door.
    ///
    /// # Panics
    /// When one of them is not ready in time.
    pub async fn start(parts: &[Vec<Service>], options: MeshOptions) -> Self {
        let nats = NatsServer::secured().await;
        let folder = DataFolder::at(nats.dir());
        let mut mesh = Self { parts: Vec::new(), folder, nats, options };
        mesh.note_context();
        let is_door = |services: &Vec<Service>| services.contains(&Service::Ingress);
        let ports: Vec<u16> = parts.iter().map(|_| free_port()).collect();
        let doors = parts.iter().zip(&ports).filter(|(services, _)| is_door(services));
        let metrics: Vec<String> = doors.map(|(_, admin)| format!("127.0.0.1:{admin}")).collect();
        mesh.options.set.push(format!("observability.ingress_metrics={}", metrics.join(",")));
        let first = parts.iter().position(is_door);
        for (number, (services, admin)) in parts.iter().zip(ports).enumerate() {
            // Everybody else knows the door by this port; only a second door has one of its own.
            let second = is_door(services) && first != Some(number);
            let http = if second { free_port() } else { mesh.folder.http_port() };
            let proxy = NatsProxy::start(&mesh.nats.url()).await;
            let program = mesh.launch(services, &proxy, admin, http, number);
            mesh.parts.push(Part { services: services.clone(), program, proxy, admin, http, number });
        }
        mesh.wait_ready().await;
        mesh
    }

    /// The commands find the mesh by what the part with the broker writes; here that is nobody.
    fn note_context(&self) {
        let context = format!(
            "nats_url = \"{}\"\noperator_seed_file = \"{}\"\ningress_url = \"{}\"\nadmin_url = \"http://127.0.0.1:1\"\npid = {}\n",
            self.nats.url(),
            self.folder.seed_file(Principal::Operator).display(),
            self.folder.door(),
            std::process::id()
        );
        fs::write(self.folder.path().join("context.toml"), context).expect("the context is written");
    }

    fn launch(&self, services: &[Service], proxy: &NatsProxy, admin: u16, http: u16, number: usize) -> Program {
        let names: Vec<&str> = services.iter().map(|service| service.name()).collect();
        let mut command = Command::new(slipway_binary());
        command.arg("--data").arg(self.folder.path()).args([
            "up",
            "--services",
            &names.join(","),
            "--nats",
            &proxy.url(),
        ]);
        command.args(["--http", &format!("127.0.0.1:{http}"), "--admin", &format!("127.0.0.1:{admin}")]);
        // A setting of a service that is not in this part is passed over.
        self.options.apply(&mut command);
        clean_environment(&mut command, self.folder.path());
        let name = format!("part-{number}-{}", names.join("+"));
        let program = Program::start(&name, command, &self.folder.path().join(format!("{name}.log")));
        proxy.belongs_to(program.pid());
        program
    }

    /// Waits until every part is ready.
    ///
    /// # Panics
    /// When one is not in time.
    pub async fn wait_ready(&mut self) {
        let client = self.folder.client().clone();
        for part in &mut self.parts {
            let (admin, services) = (part.admin, part.services.clone());
            part.program.wait_ready(READY, || is_ready(&client, admin, &services)).await;
        }
    }

    /// What a user does with it.
    #[must_use]
    pub const fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// The broker.
    pub const fn nats(&mut self) -> &mut NatsServer {
        &mut self.nats
    }

    /// The parts.
    pub fn parts(&mut self) -> &mut [Part] {
        &mut self.parts
    }

    /// The first part with this service.
    ///
    /// # Panics
    /// When there is none.
    pub fn part(&mut self, service: Service) -> &mut Part {
        self.parts.iter_mut().find(|part| part.services.contains(&service)).expect("a part has the service")
    }

    /// Starts again every part that has ended, as a supervisor would, and says which.
    pub fn revive(&mut self) -> Vec<usize> {
        let ended: Vec<usize> = (0..self.parts.len()).filter(|n| !self.parts[*n].program.is_running()).collect();
        for n in &ended {
            let part = &self.parts[*n];
            let program = self.launch(&part.services, &part.proxy, part.admin, part.http, part.number);
            self.parts[*n].program = program;
        }
        ended
    }
}

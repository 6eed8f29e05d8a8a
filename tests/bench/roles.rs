//! One service as a process, with its effects simulated.

use async_trait::async_trait;
use slipway_bus::Bus;
use slipway_controller::target::simulated::Simulated as SimulatedTarget;
use slipway_ingress::Subject;
use slipway_kernel::{
    Finding, Item, Proof, Service,
    spec::{Placement, Target},
};
use slipway_platform_selector::{ExamineError, Examined, Order, Workshop};
use slipway_provisioner::{
    Installation,
    domain::{stack::Chosen, surroundings::Surroundings},
    effects::Prepared,
    local::{NotReady, Order as PlaceOrder},
    stack::Hears,
};
use slipway_runtime::{Frame, boot_from};
use std::{process::ExitCode, sync::Arc};
use tokio::sync::OnceCell;

/// The services that take part. Workers are simulated.
pub const SERVICES: [Service; 8] = [
    Service::Provisioner,
    Service::PlatformSelector,
    Service::Controller,
    Service::Ingress,
    Service::SinkWriter,
    Service::Observability,
    Service::Security,
    Service::Validator,
];

/// Lives as the service until it is told to end.
pub fn run(role: &str, config: &str) -> ExitCode {
    let arguments = [role, "--config", config].map(Into::into);
    match role.parse() {
        Ok(Service::Provisioner) => boot_from("provisioner", arguments, provisioner),
        Ok(Service::PlatformSelector) => boot_from("platform-selector", arguments, platform_selector),
        Ok(Service::Controller) => boot_from("controller", arguments, |config, frame| {
            slipway_controller::run_with(config, frame, Arc::new(SimulatedTarget::default()))
        }),
        Ok(Service::Ingress) => boot_from("ingress", arguments, |config, frame| {
            slipway_ingress::run_with(config, frame, Arc::new(OpenDoor))
        }),
        Ok(Service::SinkWriter) => boot_from("sink-writer", arguments, slipway_sink_writer::run),
        Ok(Service::Observability) => boot_from("observability", arguments, |config, frame| {
            slipway_observability::run_with(config, frame, slipway_observability::Simulated)
        }),
        Ok(Service::Security) => boot_from("security", arguments, |config, frame| {
            slipway_security::run_with(config, frame, slipway_security::Simulated)
        }),
        Ok(Service::Validator) => boot_from("validator", arguments, |config, frame| {
            slipway_validator::run_with(config, frame, Arc::new(slipway_validator::Simulated))
        }),
        Ok(Service::InferenceWorker) | Err(_) => ExitCode::FAILURE,
    }
}

async fn provisioner(config: slipway_provisioner::Config, frame: Frame) -> anyhow::Result<()> {
    let installation = Installation::new(config.clone(), frame.data_dir.clone())?;
    let machine = ReadyMachine { surroundings: installation.surroundings(&Placement::default()).await };
    slipway_provisioner::run_with(config, frame, machine).await
}

async fn platform_selector(config: slipway_platform_selector::Config, frame: Frame) -> anyhow::Result<()> {
    let workshop = Workshop::new(&config, &frame.data_dir)?;
    slipway_platform_selector::run_with(config, frame, ReadOnce { workshop, examined: OnceCell::new() }).await
}

/// The machine as it was at the start, always ready.
struct ReadyMachine {
    surroundings: Surroundings,
}

#[async_trait]
impl slipway_provisioner::Effects for ReadyMachine {
    async fn surroundings(&self, _: &Placement) -> Surroundings {
        self.surroundings.clone()
    }

    fn executors(&self) -> Vec<Target> {
        vec![Target::Local]
    }

    async fn prepare(&self, _: Target, _: &PlaceOrder, _: &dyn Hears) -> Result<Prepared, NotReady> {
        Ok(Prepared { machine: self.surroundings.machine.clone(), proofs: vec![simulated()] })
    }

    async fn remove(&self, _: &PlaceOrder, _: &[Chosen], _: &dyn Hears) -> Result<Vec<Item>, NotReady> {
        Ok(Vec::new())
    }

    async fn drifted(&self, _: &PlaceOrder) -> Result<Vec<String>, NotReady> {
        Ok(Vec::new())
    }
}

/// One model for all deployments: really fetched, read and pinned for the first.
struct ReadOnce {
    workshop: Workshop,
    examined: OnceCell<Examined>,
}

#[async_trait]
impl slipway_platform_selector::Effects for ReadOnce {
    async fn examine(&self, order: &Order, bus: &Bus) -> Result<Examined, ExamineError> {
        self.examined.get_or_try_init(|| self.workshop.examine(order, bus)).await.cloned()
    }
}

/// A door of which nothing is proved. Routing by the log, with the report of it, is real.
struct OpenDoor;

#[async_trait]
impl slipway_ingress::Effects for OpenDoor {
    async fn prove(&self, _: Subject<'_>) -> Result<Vec<Proof>, Finding> {
        Ok(vec![simulated()])
    }
}

fn simulated() -> Proof {
    Proof { name: "simulated".to_owned(), detail: "simulated".to_owned() }
}

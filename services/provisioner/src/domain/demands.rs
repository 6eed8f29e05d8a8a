//! What a spec demands of an infrastructure.

use slipway_kernel::{
    ByteSize, CpuMillis, Span,
    spec::{Approval, Control, Elasticity, Gpu, Spec, Target},
};

/// The part of a spec that the choice depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Demands {
    /// The target asked for, or `Auto`.
    pub target: Target,
    /// Regions the data may be in; empty = anywhere.
    pub residency: Vec<String>,
    /// Regimes to comply with.
    pub compliance: Vec<String>,
    /// Who may run the machines and the cluster.
    pub control: Control,
    /// How the load behaves.
    pub elasticity: Elasticity,
    /// What the network to the clients may cost.
    pub latency_budget: Option<Span>,
    /// The most it may cost an hour, in the currency of the price table.
    pub budget_per_hour: Option<f64>,
    /// Whether a GPU is needed.
    pub gpu: Gpu,
    /// Whether a person must approve.
    pub needs_approval: bool,
    /// Processor time of one worker.
    pub cpu: CpuMillis,
    /// Memory of one worker.
    pub memory: ByteSize,
    /// GPU memory of one worker; 0 = whatever there is.
    pub gpu_memory: ByteSize,
    /// Workers to begin with, at least 1.
    pub workers: u32,
    /// The most workers.
    pub max_workers: u32,
    /// Where the artifact comes from.
    pub artifact: ArtifactPlace,
}

/// Where an artifact comes from: it need not travel to where it lies already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactPlace {
    /// A file of this machine.
    File,
    /// An object in the broker's store.
    Bus,
    /// Somewhere on the network.
    Web,
}

impl Demands {
    /// The demands in `spec`.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        let infrastructure = &spec.infrastructure;
        Self {
            target: infrastructure.target,
            residency: infrastructure.residency.clone(),
            compliance: infrastructure.compliance.clone(),
            control: infrastructure.control,
            elasticity: infrastructure.elasticity,
            latency_budget: infrastructure.latency_budget,
            budget_per_hour: infrastructure.budget_per_hour,
            gpu: infrastructure.gpu,
            needs_approval: infrastructure.approval == Approval::Manual,
            cpu: spec.resources.cpu,
            memory: spec.resources.memory,
            gpu_memory: spec.resources.gpu_memory,
            workers: spec.scale.min.max(1),
            max_workers: spec.scale.max.max(spec.scale.min).max(1),
            artifact: if spec.model.uri.starts_with("file:") {
                ArtifactPlace::File
            } else if spec.model.uri.starts_with("nats-object:") {
                ArtifactPlace::Bus
            } else {
                ArtifactPlace::Web
            },
        }
    }

    /// GPUs that `workers` workers need: one each, if a GPU is required.
    #[must_use]
    pub fn gpus(&self, workers: u32) -> u32 {
        if self.gpu == Gpu::Required { workers } else { 0 }
    }

    /// Cores that `workers` workers need.
    #[must_use]
    pub fn cores(&self, workers: u32) -> f64 {
        f64::from(self.cpu.0) / 1_000.0 * f64::from(workers)
    }

    /// Gibibytes of memory that `workers` workers need.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a price needs no more than 52 bits of bytes")]
    pub fn memory_gib(&self, workers: u32) -> f64 {
        self.memory_bytes(workers) as f64 / f64::from(1 << 30)
    }

    /// Bytes of memory that `workers` workers need.
    #[must_use]
    pub fn memory_bytes(&self, workers: u32) -> u64 {
        self.memory.0.saturating_mul(u64::from(workers))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Demands that nothing speaks against.
    pub(crate) fn modest() -> Demands {
        Demands {
            target: Target::Auto,
            residency: Vec::new(),
            compliance: Vec::new(),
            control: Control::Any,
            elasticity: Elasticity::Steady,
            latency_budget: None,
            budget_per_hour: None,
            gpu: Gpu::None,
            needs_approval: false,
            cpu: CpuMillis(1_000),
            memory: ByteSize::mebibytes(512),
            gpu_memory: ByteSize(0),
            workers: 1,
            max_workers: 4,
            artifact: ArtifactPlace::File,
        }
    }

    #[test]
    fn a_spec_with_defaults_is_modest() {
        let document = serde_json::json!({ "metadata": { "name": "d" }, "spec": { "model": { "uri": "file:///m" } } });
        let deployment = slipway_kernel::spec::ModelDeployment::read(&document).unwrap();
        assert_eq!(Demands::of(&deployment.spec), modest());
    }

    #[test]
    fn only_a_required_gpu_counts() {
        let optional = Demands { gpu: Gpu::Optional, ..modest() };
        let required = Demands { gpu: Gpu::Required, ..modest() };
        assert_eq!((optional.gpus(3), required.gpus(3)), (0, 3));
    }
}

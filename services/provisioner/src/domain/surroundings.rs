//! What is there to choose from: an input of the decision, found by the shell and by configuration.

use super::prices::Prices;
use slipway_kernel::{GpuFacts, InfrastructureChosen, MachineFacts, Span, spec::Target};

/// Everything the choice knows beside the spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Surroundings {
    /// This machine.
    pub machine: MachineFacts,
    /// What the operator says of this machine.
    pub local: OwnPlace,
    /// How many times over the machine's cores may be promised to workers, at least 1.
    pub cpu_overcommit: f64,
    /// What the operator says of the cluster that is there.
    pub kubernetes: OwnPlace,
    /// What GPUs that cluster has.
    pub kubernetes_gpus: ClusterGpus,
    /// What the operator says of machines that could be set up.
    pub bare_metal: OwnPlace,
    /// What the network between the clients and a cloud region costs.
    pub cloud_latency: Span,
    /// The targets that this installation can carry out.
    pub executors: Vec<Target>,
    /// What can be reached from here.
    pub reach: Reach,
    /// What things cost.
    pub prices: Prices,
}

/// What only its owner can say of a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPlace {
    /// Where it is (`eu`, `on-prem`…).
    pub regions: Vec<String>,
    /// The regimes it complies with.
    pub compliance: Vec<String>,
    /// Whether machines and cluster are run by those who run this installation, and by no vendor.
    pub own: bool,
    /// What the network between it and the clients costs.
    pub latency: Span,
}

/// The GPUs of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterGpus {
    /// These are on its nodes.
    Seen(Vec<GpuFacts>),
    /// Nobody looked, or nodes come when they are needed: whether it has some, as the operator says.
    Said(bool),
}

/// What this installation has access to. Found by looking for credentials, never by using them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// How a Kubernetes cluster would be reached, if one would.
    pub kubernetes: Option<String>,
    /// What speaks for access to AWS.
    pub aws: Option<String>,
    /// What speaks for access to Azure.
    pub azure: Option<String>,
    /// What speaks for access to Google Cloud.
    pub gcp: Option<String>,
}

/// Whether this installation could act on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether this installation has an executor for it.
    pub executable: bool,
    /// Whether it can be reached from here.
    pub reachable: bool,
    /// One sentence.
    pub note: String,
}

/// The targets that a choice is made among, in the order that breaks ties.
pub const TARGETS: [Target; 6] =
    [Target::Local, Target::Kubernetes, Target::BareMetal, Target::Aws, Target::Azure, Target::Gcp];

/// The name of a target in facts.
#[must_use]
pub const fn name(target: Target) -> &'static str {
    match target {
        Target::Auto => "auto",
        Target::Local => "local",
        Target::Kubernetes => "kubernetes",
        Target::Aws => "aws",
        Target::Azure => "azure",
        Target::Gcp => "gcp",
        Target::BareMetal => "bare-metal",
    }
}

impl Surroundings {
    /// Whether this installation could act on `target`.
    #[must_use]
    pub fn access(&self, target: Target) -> Access {
        let executable = self.executors.contains(&target);
        let missing = if executable { String::new() } else { format!("; {NO_EXECUTOR}") };
        let (reachable, found) = match target {
            Target::Local | Target::Auto => (true, "always there".to_owned()),
            Target::Kubernetes if executable => (true, "workers are kept there".to_owned()),
            Target::Kubernetes => found(self.reach.kubernetes.as_ref(), "no kubeconfig and no cluster around"),
            Target::Aws | Target::Azure | Target::Gcp if executable => (true, "stacks are made there".to_owned()),
            Target::Aws => found(self.reach.aws.as_ref(), "no AWS credentials configured"),
            Target::Azure => found(self.reach.azure.as_ref(), "no Azure credentials configured"),
            Target::Gcp => found(self.reach.gcp.as_ref(), "no Google Cloud credentials configured"),
            Target::BareMetal => (false, "no machines to set up are configured".to_owned()),
        };
        Access { executable, reachable, note: format!("access: {found}{missing}") }
    }
}

/// Said of a candidate that this installation cannot make ready.
const NO_EXECUTOR: &str = "this installation has no executor for it";

/// The targets that the installation which chose so could carry out.
#[must_use]
pub fn executors_of(chosen: &InfrastructureChosen) -> Vec<Target> {
    let has_one = |target: &Target| {
        let candidate = chosen.candidates.iter().find(|candidate| candidate.target == name(*target));
        candidate.is_some_and(|candidate| !candidate.reasons.iter().any(|reason| reason.contains(NO_EXECUTOR)))
    };
    TARGETS.into_iter().filter(has_one).collect()
}

fn found(reach: Option<&String>, otherwise: &str) -> (bool, String) {
    reach.map_or_else(|| (false, otherwise.to_owned()), |how| (true, how.clone()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::prices::tests::round;

    /// A small machine on premises, and nothing else in reach.
    pub(crate) fn small_machine() -> Surroundings {
        Surroundings {
            machine: MachineFacts {
                cores: 2,
                memory_bytes: 8 << 30,
                memory_available_bytes: 6 << 30,
                disk_available_bytes: 100 << 30,
                gpus: Vec::new(),
                gpu_note: "no NVIDIA driver".to_owned(),
                engines: vec!["tract".to_owned()],
                engine_note: "no library".to_owned(),
                architecture: "x86_64".to_owned(),
                operating_system: "linux".to_owned(),
            },
            local: OwnPlace {
                regions: vec!["this-machine".to_owned(), "on-prem".to_owned()],
                compliance: vec!["air-gapped".to_owned()],
                own: true,
                latency: Span::millis(1),
            },
            cpu_overcommit: 2.0,
            kubernetes: OwnPlace { latency: Span::millis(2), ..OwnPlace::default() },
            kubernetes_gpus: ClusterGpus::Said(false),
            bare_metal: OwnPlace {
                regions: vec!["on-prem".to_owned()],
                compliance: vec!["air-gapped".to_owned()],
                own: true,
                latency: Span::millis(1),
            },
            cloud_latency: Span::millis(25),
            executors: vec![Target::Local],
            reach: Reach::default(),
            prices: round(),
        }
    }

    #[test]
    fn who_has_no_executor_says_so_in_the_note() {
        let mut surroundings = small_machine();
        surroundings.reach.kubernetes = Some("the kubeconfig of this user".to_owned());
        let access = surroundings.access(Target::Kubernetes);
        assert!(access.reachable && !access.executable);
        assert_eq!(access.note, "access: the kubeconfig of this user; this installation has no executor for it");
        assert!(surroundings.access(Target::Local).executable);
        assert!(!surroundings.access(Target::Aws).reachable);
        surroundings.executors = vec![Target::Kubernetes];
        let chosen = crate::domain::choose::choose(&crate::domain::demands::tests::modest(), &surroundings);
        assert_eq!(executors_of(&chosen), [Target::Kubernetes]);
        assert_eq!(surroundings.access(Target::Kubernetes).note, "access: workers are kept there");
        assert!(!surroundings.access(Target::Local).executable);
    }
}

//! The configuration of the controller.

mod kubernetes;

pub use kubernetes::KubernetesConfig;

use crate::{
    domain::Deadlines,
    gate::PrincipalConfig,
    target::local::{Setup, Surroundings, default_command, host_name},
};
use serde::{Deserialize, Serialize};
use slipway_bus::BusConfig;
use slipway_kernel::{Refusal, Span};
use slipway_runtime::{Common, ServiceConfig};
use std::{io, path::PathBuf, time::Duration};

/// The whole configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every service has.
    pub common: Common,
    /// The broker.
    pub bus: BusConfig,
    /// The gate.
    pub gate: GateConfig,
    /// How long each state may last.
    pub deadlines: Deadlines,
    /// The workers on this machine.
    pub local: LocalConfig,
    /// The workers in a cluster.
    pub kubernetes: KubernetesConfig,
}

/// The gate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GateConfig {
    /// Who may demand what. Without anybody nothing can be demanded.
    pub principals: Vec<PrincipalConfig>,
}

/// What happens to workers when the controller ends as it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnShutdown {
    /// They go on; the next controller takes them over. Without one they end by themselves after 30 s.
    #[default]
    Leave,
    /// They are drained and ended first.
    Stop,
}

/// The workers on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalConfig {
    /// Whether this replica may keep workers. Of several machines at one broker only one runs the local target.
    pub enabled: bool,
    /// Name of this machine in the lease; unset: the host name. Replicas on one machine must agree on it.
    pub host: Option<String>,
    /// Program and first arguments of a worker; empty: `slipway inference-worker` inside `slipway`, else
    /// `slipway-inference-worker` beside this program.
    pub worker_command: Vec<String>,
    /// File with the workers' nkey seed; unset: `inference-worker.nk` beside the controller's own.
    pub worker_seed_file: Option<PathBuf>,
    /// How long the lease on the workers holds without renewal: another replica takes over after this.
    pub lease: Span,
    /// How long a worker that is to end may finish what it has; 5 s later it is killed.
    pub drain: Span,
    /// What happens to the workers when the controller ends.
    pub on_shutdown: OnShutdown,
    /// Whether memory is bounded by control groups where the kernel lets this process make them.
    pub control_groups: bool,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            host: None,
            worker_command: Vec::new(),
            worker_seed_file: None,
            lease: Span::seconds(10),
            drain: Span::seconds(10),
            on_shutdown: OnShutdown::default(),
            control_groups: true,
        }
    }
}

impl Config {
    /// The local target's setup, with what was left open filled in.
    ///
    /// # Errors
    /// When the data folder or the own program cannot be found.
    pub fn setup(&self, data_dir: &std::path::Path) -> io::Result<Setup> {
        std::fs::create_dir_all(data_dir)?;
        let local = &self.local;
        let beside = |own: &PathBuf| own.with_file_name("inference-worker.nk");
        let seed = local.worker_seed_file.clone().or_else(|| self.bus.nkey_seed_file.as_ref().map(beside));
        let absolute = |path: PathBuf| std::path::absolute(path);
        let bus = BusConfig {
            nkey_seed_file: seed.map(absolute).transpose()?,
            ca_file: self.bus.ca_file.clone().map(absolute).transpose()?,
            ..self.bus.clone()
        };
        let command = if local.worker_command.is_empty() { default_command()? } else { local.worker_command.clone() };
        Ok(Setup {
            command,
            around: Surroundings {
                data: std::fs::canonicalize(data_dir)?,
                host: local.host.clone().unwrap_or_else(host_name),
                bus,
                telemetry: self.common.telemetry.clone(),
                drain: local.drain,
            },
            lease: local.lease.0,
            stop_with_controller: local.on_shutdown == OnShutdown::Stop,
            control_groups: local.control_groups,
        })
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "controller";
    const ABOUT: &'static str = "The gate, the plan, the rollout and the loop: carries each deployment to its end.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for (n, principal) in self.gate.principals.iter().enumerate() {
            principal.check(&format!("gate.principals[{n}]"), &mut refusals);
        }
        let mut within = |path: &str, span: Span, from: u64, to: u64| {
            if !(Duration::from_secs(from)..=Duration::from_secs(to)).contains(&span.0) {
                let allowed = format!("{} to {}", Span::seconds(from), Span::seconds(to));
                refusals.push(Refusal::new(path, span, allowed));
            }
        };
        // Shorter than a second nobody can answer; longer than a month nobody is waiting any more.
        const MONTH: u64 = 31 * 86_400;
        let deadlines = &self.deadlines;
        for (key, span) in [
            ("choice", deadlines.choice),
            ("approval", deadlines.approval),
            ("infrastructure", deadlines.infrastructure),
            ("platform", deadlines.platform),
            ("deploy", deadlines.deploy),
            ("validation", deadlines.validation),
            ("shift", deadlines.shift),
            ("pause", deadlines.pause),
            ("removal", deadlines.removal),
        ] {
            within(&format!("deadlines.{key}"), span, 1, MONTH);
        }
        within("kubernetes.lease", self.kubernetes.lease, 2, 60);
        within("kubernetes.drain", self.kubernetes.drain, 1, 3_600);
        within("local.lease", self.local.lease, 2, 60);
        within("local.drain", self.local.drain, 1, 3_600);
        if let Some(host) = &self.local.host {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
            if !(1..=63).contains(&host.len()) || !host.chars().all(plain) {
                refusals.push(Refusal::new("local.host", host, "1 to 63 characters a-z, 0-9, '-' and '.'"));
            }
        }
        if self.kubernetes.enabled && self.local.enabled {
            let allowed = "false where `kubernetes.enabled` is true: workers run in one place";
            refusals.push(Refusal::new("local.enabled", true, allowed));
        }
        self.kubernetes.check(&mut refusals);
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted() {
        assert_eq!(Config::default().check(), []);
    }

    #[test]
    fn every_value_out_of_range_is_refused_at_once() {
        let mut config = Config::default();
        config.deadlines.deploy = Span::millis(1);
        config.local.lease = Span::seconds(1);
        config.local.host = Some("A b".into());
        let paths: Vec<_> = config.check().into_iter().map(|refusal| refusal.path).collect();
        assert_eq!(paths, ["deadlines.deploy", "local.lease", "local.host"]);
    }

    #[test]
    fn the_workers_key_lies_beside_the_controllers() {
        let mut config = Config::default();
        config.bus.nkey_seed_file = Some("/keys/controller.nk".into());
        let data = tempfile::tempdir().unwrap();
        let setup = config.setup(data.path()).unwrap();
        assert_eq!(setup.around.bus.nkey_seed_file, Some("/keys/inference-worker.nk".into()));
        assert!(setup.around.data.is_absolute() && !setup.command.is_empty());
    }

    #[test]
    fn the_readme_names_every_key_with_its_default() {
        slipway_runtime::check_readme::<Config>(include_str!("../README.md")).unwrap();
    }
}

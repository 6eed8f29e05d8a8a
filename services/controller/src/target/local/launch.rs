//! Starting one worker.

use super::{
    cgroup::{self, ControlGroups},
    process::Identity,
    records::{Record, Records},
    settings::{self, Surroundings},
};
use crate::{
    domain::manifest::{Model, outer_memory_limit, processes::MAX_OPEN_FILES},
    target::Group,
};
use slipway_kernel::{Finding, FindingKind};
use std::{fs, io, path::Path, process::Stdio};
use tokio::process::{Child, Command};

/// What of this process's environment a worker may see: where programs, libraries and temporary files are. Everything
/// else is in its file, so that a variable meant for the controller configures no worker.
const INHERITED: [&str; 13] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "TZ",
    "LD_LIBRARY_PATH",
    // Where ONNX Runtime is, for a worker whose engine is chosen at load.
    "ORT_DYLIB_PATH",
    "RUST_BACKTRACE",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    // Where the headers of CUDA are, and where kernels that were compiled are kept.
    "CUDA_HOME",
    "CUDA_PATH",
    "XDG_CACHE_HOME",
];

/// Why a worker was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No program is configured, or the one that is is not there.
    #[error("the worker's program `{program}` cannot be started")]
    Program {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its file, log or record could not be written.
    #[error("the worker's files cannot be written")]
    Files(#[source] io::Error),
    /// Its settings have no TOML.
    #[error("the worker's settings cannot be written")]
    Settings(#[source] toml::ser::Error),
    /// It ended before it could be looked at.
    #[error("the worker ended as soon as it was started")]
    Vanished,
}

impl LaunchError {
    /// The finding for the log of the deployment.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Program { source, .. } => {
                Finding::deterministic(FindingKind::ImageUnavailable, format!("{self}: {source}"))
            }
            Self::Files(source) => Finding::transient(FindingKind::DependencyUnavailable, format!("{self}: {source}")),
            Self::Settings(source) => Finding::deterministic(FindingKind::Misconfigured, format!("{self}: {source}")),
            Self::Vanished => Finding::deterministic(FindingKind::Crashed, self.to_string()),
        }
    }
}

/// A worker that was started.
#[derive(Debug)]
pub(super) struct Launched {
    /// The process, to be reaped.
    pub(super) child: Child,
    /// The process, to be recognised.
    pub(super) identity: Identity,
    /// Its control group, if it got one.
    pub(super) cgroup: Option<cgroup::Group>,
}

/// Starts workers.
#[derive(Debug)]
pub(super) struct Launcher {
    /// Program and first arguments.
    pub(super) command: Vec<String>,
    /// Where its files go.
    pub(super) records: Records,
    /// What all have in common.
    pub(super) around: Surroundings,
    /// Where memory is bounded by the kernel, if it is.
    pub(super) groups: Option<ControlGroups>,
}

impl Launcher {
    /// Starts the worker that `record` describes and completes the record.
    ///
    /// # Errors
    /// Why it does not run.
    pub(super) fn launch(&self, record: &mut Record, group: &Group, model: &Model) -> Result<Launched, LaunchError> {
        let text = settings::file(&self.around, group, &record.instance, &record.plan, model, record.token);
        let text = text.map_err(LaunchError::Settings)?;
        let file = self.records.write_settings(&record.instance, &text).map_err(LaunchError::Files)?;
        // Before the start: whoever comes after a kill at this point finds a record without a process.
        self.records.write(record).map_err(LaunchError::Files)?;
        let child = self.spawn(&record.instance, &file)?;
        let identity = child.id().and_then(Identity::of).ok_or(LaunchError::Vanished)?;
        record.process = Some(identity.clone());
        if let Err(error) = self.records.write(record) {
            // Nobody could adopt it: better none than one that cannot be found again.
            if let Err(error) = identity.signal(rustix::process::Signal::KILL) {
                tracing::error!(instance = record.instance, %error, "a worker without a record could not be killed");
            }
            return Err(LaunchError::Files(error));
        }
        let cgroup = self.bound(&record.instance, &identity, record.plan.memory.0);
        Ok(Launched { child, identity, cgroup })
    }

    fn spawn(&self, instance: &str, file: &Path) -> Result<Child, LaunchError> {
        let (program, arguments) = self.command.split_first().ok_or_else(|| LaunchError::Program {
            program: String::new(),
            source: io::Error::new(io::ErrorKind::NotFound, "local.worker_command is empty"),
        })?;
        let log = fs::OpenOptions::new().create(true).append(true).open(self.records.log(instance));
        let log = log.map_err(LaunchError::Files)?;
        let also = log.try_clone().map_err(LaunchError::Files)?;
        let inherited = INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        Command::new(program)
            .args(arguments)
            .arg("--config")
            .arg(file)
            .env_clear()
            .envs(inherited)
            .current_dir(&self.around.data)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also)
            // A group of its own: Ctrl-C at the terminal is for the controller, which knows what is to be drained.
            .process_group(0)
            .spawn()
            .map_err(|source| LaunchError::Program { program: program.clone(), source })
    }

    fn bound(&self, instance: &str, identity: &Identity, memory_bytes: u64) -> Option<cgroup::Group> {
        if let Err(error) = identity.limit_files(MAX_OPEN_FILES) {
            tracing::warn!(instance, %error, "the open files of a worker are not bounded");
        }
        let confined = self.groups.as_ref()?.confine(instance, identity, outer_memory_limit(memory_bytes));
        confined
            .inspect_err(
                |error| tracing::warn!(instance, %error, "memory of a worker is watched, not bounded by the kernel"),
            )
            .ok()
    }
}

/// The command that starts a worker where none is configured: this program's own subcommand inside `slipway`, else the
/// worker's program beside this one.
///
/// # Errors
/// When the own path cannot be found.
pub fn default_command() -> io::Result<Vec<String>> {
    let own = std::env::current_exe()?;
    if own.file_stem().is_some_and(|name| name == "slipway") {
        return Ok(vec![own.display().to_string(), "inference-worker".to_owned()]);
    }
    Ok(vec![own.with_file_name("slipway-inference-worker").display().to_string()])
}

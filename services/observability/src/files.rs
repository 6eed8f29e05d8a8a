//! The folder of generated files: written whole or not at all, so that a reader never sees half a rule.

use crate::render;
use serde_json::Value;
use slipway_bus::WorkerRecord;
use slipway_kernel::{DeploymentId, spec::Slo};
use std::{
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    root: PathBuf,
}

/// What is generated per deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Targets,
    Rules,
    Dashboard,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Targets, Self::Rules, Self::Dashboard];

    const fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Targets => ("targets", "json"),
            Self::Rules => ("rules", "yml"),
            Self::Dashboard => ("dashboards", "json"),
        }
    }
}

impl Files {
    pub(crate) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn write_prometheus_config(&self, ingress: &[String]) -> io::Result<()> {
        for kind in Kind::ALL {
            fs::create_dir_all(self.root.join(kind.place().0))?;
        }
        write(&self.root.join("prometheus.yml"), &crate::render::prometheus(ingress))
    }

    pub(crate) fn path(&self, kind: Kind, id: &DeploymentId) -> PathBuf {
        let (folder, ending) = kind.place();
        self.root.join(folder).join(format!("{id}.{ending}"))
    }

    /// Writes all files of a deployment, and tells each with what it is.
    pub(crate) fn generate(
        &self,
        id: &DeploymentId,
        slo: &Slo,
        workers: &[WorkerRecord],
    ) -> io::Result<Vec<(&'static str, PathBuf)>> {
        let parts = [
            (Kind::Targets, "scrape-targets", render::targets(id, workers)),
            (Kind::Rules, "alert-rules", render::rules(id, slo)),
            (Kind::Dashboard, "dashboard", render::dashboard(id, slo)),
        ];
        parts.into_iter().map(|(kind, name, content)| Ok((name, self.write(kind, id, &content)?))).collect()
    }

    pub(crate) fn write(&self, kind: Kind, id: &DeploymentId, content: &Value) -> io::Result<PathBuf> {
        let path = self.path(kind, id);
        write(&path, content)?;
        Ok(path)
    }

    /// Removes the file; whether it was there.
    pub(crate) fn remove(&self, kind: Kind, id: &DeploymentId) -> io::Result<bool> {
        match fs::remove_file(self.path(kind, id)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn write(path: &Path, content: &Value) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // A name of its own keeps two writers from one draft. A process number would not: in a pod it is always 1, and replicas may share a folder.
    let draft = path.with_extension(format!("new-{:016x}", RandomState::new().hash_one(path)));
    let mut file = File::create(&draft)?;
    file.write_all(serde_json::to_string_pretty(content)?.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

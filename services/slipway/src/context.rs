//! Where the running mesh is: written by `slipway up` into the data folder, read by every other command.

use crate::{cli::Global, failure::Failure};
use serde::{Deserialize, Serialize};
use slipway_bus::{Bus, BusConfig, Principal};
use slipway_kernel::DeploymentId;
use slipway_runtime::Frame;
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// What a command needs to know of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The broker.
    pub nats_url: String,
    /// The operator's key, by which the gate knows who asks.
    pub operator_seed_file: PathBuf,
    /// The authority of the broker's certificate, where that is not one that this machine trusts anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Whether the mesh runs elsewhere: it reads no file of this machine, and keeps none here.
    #[serde(default)]
    pub remote: bool,
    /// The door of the models.
    pub ingress_url: String,
    /// Health, metrics and status; empty where there is no one address of them.
    pub admin_url: String,
    /// The process that wrote this; 0 if it does not run the mesh.
    pub pid: u32,
}

const FILE: &str = "context.toml";

impl Context {
    /// Reads the context of the data folder.
    ///
    /// # Errors
    /// If there is none, with what to do.
    pub fn read(data: &Path) -> Result<Self, Failure> {
        let file = data.join(FILE);
        let text = fs::read_to_string(&file).map_err(|error| {
            Failure::unreachable(format!("no mesh is known in {}: {error}", data.display()))
                .hint("start one with `slipway up`, find one in a cluster with `slipway connect`, or name its data folder with `--data DIR`")
        })?;
        toml::from_str(&text).map_err(|error| Failure::local(format!("{} is damaged: {error}", file.display())))
    }

    /// Writes the context, whole or not at all.
    ///
    /// # Errors
    /// If the data folder cannot be written.
    pub fn write(&self, data: &Path) -> Result<(), Failure> {
        let text = toml::to_string(self).map_err(|error| Failure::local(error.to_string()))?;
        let (file, draft) = (data.join(FILE), data.join(".context.toml.new"));
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &file));
        written.map_err(|error| Failure::local(format!("{} cannot be written: {error}", file.display())))
    }

    /// Removes the context if this process wrote it.
    pub fn remove(data: &Path) {
        if Self::read(data).is_ok_and(|context| context.pid == std::process::id()) {
            // Nothing depends on it: a stale one only makes commands say that nobody answers.
            let _ = fs::remove_file(data.join(FILE));
        }
    }

    /// Connects as the operator.
    ///
    /// # Errors
    /// If the broker is not reachable or does not know the key.
    pub async fn connect(&self) -> Result<Bus, Failure> {
        let config = BusConfig {
            url: self.nats_url.clone(),
            nkey_seed_file: Some(self.operator_seed_file.clone()),
            ca_file: self.ca_file.clone(),
            connect_timeout: slipway_kernel::Span::seconds(5),
            ..BusConfig::default()
        };
        Ok(Bus::connect(&config, Principal::Operator, &Frame::detached("slipway")).await?)
    }

    /// The file that holds the plaintext API key of a deployment, on the machine that made it.
    #[must_use]
    pub fn api_key_file(data: &Path, id: &DeploymentId) -> PathBuf {
        data.join("security").join("keys").join(format!("{id}.key"))
    }
}

/// Writes what only its owner may read, making the folders that lead to it. What was there before is replaced as a whole.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_private(file: &Path, text: &str) -> Result<(), Failure> {
    let refuse = |error: std::io::Error| Failure::local(format!("{} cannot be written: {error}", file.display()));
    let folder = file.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refuse)?;
    let draft = file.with_extension(format!("{}.new", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut draft| draft.write_all(text.as_bytes()));
    written.and_then(|()| fs::rename(&draft, file)).map_err(refuse)
}

/// The context of the data folder and a connection to its mesh.
///
/// # Errors
/// As [`Context::read`] and [`Context::connect`].
pub async fn session(global: &Global) -> Result<(Context, Bus), Failure> {
    let context = Context::read(&global.data)?;
    let bus = context.connect().await?;
    Ok((context, bus))
}

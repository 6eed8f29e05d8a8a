//! Configuration: parsed once, into types, at the edge.
//!
//! Three layers, the later winning: TOML files in their order, the environment (`SLIPWAY_<SERVICE>_<SECTION>__<KEY>`, two underscores
//! between levels), `--set section.key=value`. A value that came as text (environment, `--set`) is read as what the field
//! wants, so `SLIPWAY_INGRESS_COMMON__WORKER_THREADS=2` is a number and `…__DATA_DIR=2` a path; a list is written with
//! commas or as a TOML array, a table as a TOML inline table, an empty text unsets an optional key.
//!
//! Nothing is skipped or guessed: a key nobody reads is refused, and all refusals of all layers are reported together,
//! each with its path, the value with where it came from, and what is allowed. Only keys below `#[serde(flatten)]` or in
//! an untagged enum escape the check for unknown keys, because serde buffers those; configurations use neither.

mod dump;
mod every_service;
mod layers;
pub(crate) use layers::environment_prefix;
mod read;
mod readme;
mod secret;
mod tree;

pub use dump::{ConfigKey, dump, keys};
pub use every_service::{AdminConfig, Common, LogFormat, TelemetryConfig};
pub use layers::Layers;
pub use readme::check_readme;
pub use secret::Secret;

use serde::{Serialize, de::DeserializeOwned};
use slipway_kernel::Refusal;
use std::path::PathBuf;

/// The typed configuration of one service.
///
/// Put `#[serde(default)]` on the struct and every struct in it, so that each key is optional and its default stands in
/// `Default`; name keys in `snake_case`; hold a [`Common`] in a field `common`.
pub trait ServiceConfig: DeserializeOwned + Serialize + Default + Send + 'static {
    /// The service's name, which also makes the prefix of its environment variables.
    const SERVICE: &'static str;
    /// One sentence for `--help`.
    const ABOUT: &'static str = "";

    /// The part that every service has.
    fn common(&self) -> &Common;

    /// What the types cannot say: ranges, and values that exclude each other. All of it, not the first.
    fn check(&self) -> Vec<Refusal> {
        Vec::new()
    }
}

/// Why a configuration could not be read or written at all.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read configuration file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text is no TOML. The offending line is not quoted, because it may hold a secret.
    #[error("{origin} is not TOML: line {line}: {message}")]
    Syntax {
        /// The file.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// What the parser expected.
        message: String,
    },
    /// `--set` without `=`, or with an empty path.
    #[error("--set {argument} is not of the form section.key=value")]
    Set {
        /// The part before `=`; the value may be a secret.
        argument: String,
    },
    /// The configuration could not be written as TOML.
    #[error("cannot write the configuration as TOML: {0}")]
    Dump(String),
    /// Values were refused.
    #[error("the configuration is refused:\n{0}")]
    Refused(slipway_kernel::Refusals),
}

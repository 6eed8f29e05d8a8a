//! `spec.outputs`: where results are kept.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, fmt, str::FromStr};

/// A place where every result is written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// The embedded database in the data folder.
    Sqlite(SqliteOutput),
    /// A PostgreSQL table.
    Postgres(PostgresOutput),
    /// Files of JSON lines in a folder.
    Files(FilesOutput),
}

/// When the result of a request that is answered at once is recorded for the outputs. A queued request, and one with an
/// idempotency key, is always recorded before anybody can have its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// The answer does not wait for it. What was answered in the last moments before a crash of the ingress may have no row, nor
    /// what is answered while recording falls behind for long; the latter is counted.
    #[default]
    AfterReply,
    /// An answer that a client has seen is never missing in the outputs; each waits for the broker.
    BeforeReply,
}

/// The embedded database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SqliteOutput {
    /// The table, an SQL identifier.
    pub table: String,
}

impl Default for SqliteOutput {
    fn default() -> Self {
        Self { table: "results".to_owned() }
    }
}

/// A PostgreSQL table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresOutput {
    /// The connection URL, by reference: `env:NAME` or `file:/path`.
    pub url: SecretReference,
    /// The table, an SQL identifier.
    #[serde(default = "results")]
    pub table: String,
}

fn results() -> String {
    "results".to_owned()
}

/// Files of JSON lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesOutput {
    /// The folder: `file:///absolute/path`.
    pub uri: String,
}

pub(super) fn default_outputs() -> Vec<Output> {
    vec![Output::Sqlite(SqliteOutput::default())]
}

/// Where a secret is to be found. The secret itself never stands in a spec, a fact or a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretReference {
    /// In an environment variable of the service that needs it.
    Environment(String),
    /// In a file readable by the service that needs it.
    File(String),
}

const ALLOWED: &str = "a reference: env:NAME or file:/absolute/path (a secret itself never stands in a spec)";

impl FromStr for SecretReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(name) = text.strip_prefix("env:") {
            let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            return if valid { Ok(Self::Environment(name.to_owned())) } else { Err(ALLOWED.to_owned()) };
        }
        match text.strip_prefix("file:") {
            Some(path) if path.starts_with('/') && !path.split('/').any(|part| part == "..") => {
                Ok(Self::File(path.to_owned()))
            }
            _ => Err(ALLOWED.to_owned()),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl Serialize for SecretReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The refused text is not repeated: it may be the secret somebody wrote here by mistake.
        String::deserialize(deserializer)?
            .parse()
            .map_err(|allowed: String| D::Error::custom(format!("expected {allowed}")))
    }
}

impl JsonSchema for SecretReference {
    fn schema_name() -> Cow<'static, str> {
        "SecretReference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(env:[A-Za-z0-9_]+|file:/.+)$", "description": ALLOWED })
    }
}

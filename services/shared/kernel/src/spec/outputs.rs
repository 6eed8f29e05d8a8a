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
    /// Files in a folder.
    Files(FilesOutput),
    /// Objects in a bucket of S3, or of a store that speaks its protocol.
    S3(S3Output),
}

impl Output {
    /// How its objects are laid out, if it keeps many rows in one object.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        match self {
            Self::Sqlite(_) | Self::Postgres(_) => None,
            Self::Files(files) => {
                let format = files.format.of_objects()?;
                Some(Layout::new(format, files.compression, files.partition))
            }
            Self::S3(s3) => Some(s3.layout()),
        }
    }
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

/// Files in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesOutput {
    /// The folder: `file:///absolute/path`.
    pub uri: String,
    /// What a file holds.
    #[serde(default)]
    pub format: FilesFormat,
    /// How it is compressed; if not said, NDJSON is not and Parquet is with snappy. One JSON document a file is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// What rows stand together below one name. One JSON document a file has no partitions.
    #[serde(default)]
    pub partition: Partitioning,
}

/// Objects in a bucket of S3, or of a store that speaks its protocol and honours `If-None-Match: *`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Output {
    /// The bucket; it is not made.
    pub bucket: String,
    /// What the names of all objects begin with, without a slash at either end.
    #[serde(default)]
    pub prefix: String,
    /// Where the store is, if it is not AWS: `https://host[:port]`, or `http://` where nobody can listen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region; if not said, that of the environment, else `us-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The access key, by reference. Without it and `secretKey` the credentials of the environment are used: variables, web
    /// identity, the instance's role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<SecretReference>,
    /// The secret key, by reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<SecretReference>,
    /// What an object holds.
    #[serde(default)]
    pub format: ObjectFormat,
    /// How it is compressed; if not said, NDJSON is not and Parquet is with snappy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// What rows stand together below one name.
    #[serde(default)]
    pub partition: Partitioning,
}

impl S3Output {
    /// How its objects are laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::new(self.format, self.compression, self.partition)
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FilesFormat {
    /// One row as a JSON document, named by its request.
    #[default]
    Json,
    /// Many rows, each a line of JSON.
    Ndjson,
    /// Many rows as a Parquet file.
    Parquet,
}

impl FilesFormat {
    /// The format, if a file of it holds many rows.
    #[must_use]
    pub const fn of_objects(self) -> Option<ObjectFormat> {
        match self {
            Self::Json => None,
            Self::Ndjson => Some(ObjectFormat::Ndjson),
            Self::Parquet => Some(ObjectFormat::Parquet),
        }
    }
}

/// What an object of many rows holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectFormat {
    /// Each row a line of JSON.
    Ndjson,
    /// A Parquet file.
    #[default]
    Parquet,
}

impl ObjectFormat {
    /// The compressions that readers of the format know.
    #[must_use]
    pub const fn compressions(self) -> &'static [Compression] {
        match self {
            Self::Ndjson => &[Compression::None, Compression::Gzip],
            Self::Parquet => &[Compression::None, Compression::Snappy],
        }
    }
}

/// How objects are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    None,
    /// The object as a whole: `.ndjson.gz`.
    Gzip,
    /// The columns of a Parquet file.
    Snappy,
}

/// What rows stand together below one name, by when their requests were accepted, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Partitioning {
    /// `date=2026-11-29/`.
    #[default]
    Day,
    /// `date=2026-11-29/hour=07/`: for more than some hundred results a second.
    Hour,
}

/// How the objects of an output are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What an object holds.
    pub format: ObjectFormat,
    /// How it is compressed.
    pub compression: Compression,
    /// What rows stand together.
    pub partition: Partitioning,
}

impl Layout {
    fn new(format: ObjectFormat, compression: Option<Compression>, partition: Partitioning) -> Self {
        let usual = match format {
            ObjectFormat::Ndjson => Compression::None,
            ObjectFormat::Parquet => Compression::Snappy,
        };
        Self { format, compression: compression.unwrap_or(usual), partition }
    }
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

//! Identities. Each is validated where it is made, so whoever holds one may put it into a subject, a path or a label.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

/// What a DNS label may be (RFC 1123): this bounds every name that ends up in a subject, an object name or a metric label.
const LABEL: &str = "1 to 63 characters a-z, 0-9 and '-', beginning and ending with a letter or digit";

/// A DNS label (RFC 1123).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

/// A namespace: the tenant a deployment belongs to.
pub type Namespace = Label;

impl Label {
    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let valid =
            (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if valid { Ok(Self(text.into())) } else { Err(LABEL.to_owned()) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|allowed| D::Error::custom(format!("`{text}`: expected {allowed}")))
    }
}

impl JsonSchema for Label {
    fn schema_name() -> Cow<'static, str> {
        "Label".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "description": LABEL })
    }
}

/// `<namespace>.<deployment>`: every subject, key, object, label, metric and row begins with it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId {
    /// The namespace.
    pub namespace: Namespace,
    /// The deployment's name in it.
    pub name: Label,
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

impl fmt::Debug for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DeploymentId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('.').ok_or("<namespace>.<deployment>")?;
        Ok(Self { namespace: namespace.parse()?, name: name.parse()? })
    }
}

/// One version of the spec, counted up per deployment by the gate from 1, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u32);

/// 0 before the first manifests, then one per set of manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u32);

/// Which try at a question; the next is legal only after a stored answer that permits it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `<generation>-<revision>`: how a revision is written outside its generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionId {
    /// The generation.
    pub generation: Generation,
    /// The revision in it.
    pub revision: Revision,
}

impl RevisionId {
    /// `RevisionId::new(2, 1)` is `2-1`.
    #[must_use]
    pub const fn new(generation: u32, revision: u32) -> Self {
        Self { generation: Generation(generation), revision: Revision(revision) }
    }
}

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.revision)
    }
}

impl fmt::Debug for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RevisionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = || "<generation>-<revision>, two decimals".to_owned();
        let (generation, revision) = text.split_once('-').ok_or_else(allowed)?;
        Ok(Self {
            generation: Generation(decimal(generation).ok_or_else(allowed)?),
            revision: Revision(decimal(revision).ok_or_else(allowed)?),
        })
    }
}

impl Serialize for RevisionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RevisionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|allowed| D::Error::custom(format!("`{text}`: expected {allowed}")))
    }
}

/// A decimal without sign or leading zero: subjects are compared as text, so each number has one spelling.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

/// The id of one inference request: the key under which its effect happens once.
/// Shared when cloned: every step of a request does that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Arc<str>);

const REQUEST_ID: &str = "1 to 128 characters a-z, A-Z, 0-9, '-' and '_'";

impl RequestId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl FromStr for RequestId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let valid = (1..=128).contains(&text.len()) && text.bytes().all(inner);
        if valid { Ok(Self(text.into())) } else { Err(REQUEST_ID.to_owned()) }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The nine services of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Chooses and prepares the infrastructure.
    Provisioner,
    /// Reads the model and chooses the platform that serves it.
    PlatformSelector,
    /// The gate, the plan, the rollout and the loop.
    Controller,
    /// The public door.
    Ingress,
    /// Persists results and keeps the ledger.
    SinkWriter,
    /// Metrics, alerts, dashboards and the watch on the objectives.
    Observability,
    /// Identities, keys and policy.
    Security,
    /// Joins the four and proves the revision.
    Validator,
    /// Serves requests.
    InferenceWorker,
}

impl Service {
    /// All nine, in the order of the workflow.
    pub const ALL: [Self; 9] = [
        Self::Provisioner,
        Self::PlatformSelector,
        Self::Controller,
        Self::Ingress,
        Self::SinkWriter,
        Self::Observability,
        Self::Security,
        Self::Validator,
        Self::InferenceWorker,
    ];

    /// The five that make something a retired deployment must not leave behind; each answers `removal-<service>`.
    pub const REMOVERS: [Self; 5] =
        [Self::Provisioner, Self::Ingress, Self::SinkWriter, Self::Observability, Self::Security];

    /// The name in subjects, paths and labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provisioner => "provisioner",
            Self::PlatformSelector => "platform-selector",
            Self::Controller => "controller",
            Self::Ingress => "ingress",
            Self::SinkWriter => "sink-writer",
            Self::Observability => "observability",
            Self::Security => "security",
            Self::Validator => "validator",
            Self::InferenceWorker => "inference-worker",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|service| service.name() == text)
            .ok_or_else(|| format!("one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_place_in_a_subject_is_refused() {
        let long = "a".repeat(64);
        for text in ["", "A", "a.b", "a*", ">", "a b", "-a", "a-", "ä", "a/b", "..", "a\n", long.as_str()] {
            assert!(text.parse::<Label>().is_err(), "{text:?}");
        }
        for text in ["a", "digits", "team-b", "0", "a1-2b"] {
            assert_eq!(text.parse::<Label>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!("2-1".parse::<RevisionId>().unwrap(), RevisionId::new(2, 1));
        for text in ["02-1", "2-01", "2", "2-", "-1", "+2-1", "2-1-1", "4294967296-0"] {
            assert!(text.parse::<RevisionId>().is_err(), "{text}");
        }
    }
}

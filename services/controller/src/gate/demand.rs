//! Reading what is demanded: strictly, whatever way it is written.

use super::refused::Refused;
use serde_json::Value;
use slipway_bus::{ContentType, Envelope, Verb, topology::parse_fact};
use slipway_kernel::{
    DeploymentId, FactKey, Generation, Label, Namespace, Refusal, Refusals, RevisionId, spec::ModelDeployment,
};
use slipway_proto::json::Unknown;

/// The longest reason: a sentence or three. Facts are kept for good.
const MAX_REASON: usize = 2_000;

/// A demand that could be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Demand {
    /// A new generation.
    Deploy(Box<ModelDeployment>),
    /// Everything else.
    Command(Command),
}

/// A command about a deployment that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What.
    pub verb: Verb,
    /// About whom.
    pub deployment: DeploymentId,
    /// Only if this is the newest generation.
    pub generation: Option<Generation>,
    /// What the person says.
    pub reason: String,
    /// `rollback`: to which revision.
    pub to: Option<RevisionId>,
    /// `annul`: which fact.
    pub fact: Option<FactKey>,
}

impl Demand {
    /// Whom it concerns.
    #[must_use]
    pub fn deployment(&self) -> DeploymentId {
        match self {
            Self::Deploy(document) => document.id(),
            Self::Command(command) => command.deployment.clone(),
        }
    }
}

/// Reads the data of a demand.
///
/// # Errors
/// `malformed-data`, `invalid-spec`, `invalid-command` or `namespace-mismatch`.
pub(super) fn read(namespace: &Namespace, verb: Verb, envelope: &Envelope) -> Result<Demand, Refused> {
    let message = if verb == Verb::Deploy { "slipway.v1.ModelDeployment" } else { "slipway.v1.Command" };
    let data = envelope.json(message, Unknown::Refuse).map_err(|error| Refused::Malformed(error.to_string()))?;
    // Protobuf has no absent texts and lists: empty ones are written where none were meant.
    let data = if envelope.content == ContentType::Protobuf { without_empty(data) } else { data };
    if verb == Verb::Deploy { deploy(namespace, &data) } else { command(namespace, verb, &data) }
}

fn without_empty(data: Value) -> Value {
    let is_empty = |value: &Value| value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty);
    match data {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !is_empty(value));
            Value::Object(kept.map(|(name, value)| (name, without_empty(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_empty).collect()),
        other => other,
    }
}

fn deploy(namespace: &Namespace, data: &Value) -> Result<Demand, Refused> {
    let document = ModelDeployment::read(data).map_err(Refused::InvalidSpec)?;
    if document.metadata.namespace != *namespace {
        return Err(Refused::NamespaceMismatch {
            document: document.metadata.namespace.to_string(),
            subject: namespace.to_string(),
        });
    }
    Ok(Demand::Deploy(Box::new(document)))
}

const FIELDS: [&str; 5] = ["deployment", "generation", "reason", "to", "fact"];

fn command(namespace: &Namespace, verb: Verb, data: &Value) -> Result<Demand, Refused> {
    let Some(fields) = data.as_object() else {
        let refusal = Refusal::new("(document)", data, "an object with `deployment` and what the verb needs");
        return Err(Refused::InvalidCommand(Refusals(vec![refusal])));
    };
    let mut refusals: Vec<Refusal> = fields
        .iter()
        .filter(|(name, _)| !FIELDS.contains(&name.as_str()))
        .map(|(name, value)| Refusal::new(name, value, format!("no field `{name}` here; known: {}", FIELDS.join(", "))))
        .collect();
    let mut reading = Reading { fields, refusals: &mut refusals };
    let name = reading.text("deployment", "the deployment's name, a DNS label", |text| text.parse::<Label>().ok());
    let generation = reading.generation();
    let reason = reading.reason(verb == Verb::Annul);
    let to = reading.text("to", "<generation>-<revision>", |text| text.parse::<RevisionId>().ok());
    let fact = reading.text("fact", "<namespace>.<deployment>.<generation>.<revision>.<slot>.<attempt>", |text| {
        // People copy subjects from the log as they stand.
        parse_fact(text).or_else(|_| text.parse::<FactKey>()).ok()
    });
    reading.required("deployment", name.is_some(), "the deployment's name");
    reading.required("fact", verb != Verb::Annul || fact.is_some(), "the key of the fact to annul");
    reading.only("to", verb == Verb::Rollback, "rollback");
    reading.only("fact", verb == Verb::Annul, "annul");
    match name {
        Some(name) if refusals.is_empty() => {
            let deployment = DeploymentId { namespace: namespace.clone(), name };
            Ok(Demand::Command(Command { verb, deployment, generation, reason, to, fact }))
        }
        _ => Err(Refused::InvalidCommand(Refusals(refusals))),
    }
}

struct Reading<'a> {
    fields: &'a serde_json::Map<String, Value>,
    refusals: &'a mut Vec<Refusal>,
}

impl Reading<'_> {
    fn refuse(&mut self, path: &str, value: &Value, allowed: &str) {
        self.refusals.push(Refusal::new(path, value, allowed));
    }

    fn text<T>(&mut self, path: &str, allowed: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = self.fields.get(path).filter(|value| !value.is_null())?;
        let parsed = value.as_str().and_then(parse);
        if parsed.is_none() {
            self.refuse(path, value, allowed);
        }
        parsed
    }

    fn generation(&mut self) -> Option<Generation> {
        let value = self.fields.get("generation").filter(|value| !value.is_null())?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
        if number.is_none() {
            self.refuse("generation", value, "a whole number from 1");
        }
        number.map(Generation)
    }

    fn reason(&mut self, needed: bool) -> String {
        let allowed = format!("up to {MAX_REASON} characters{}", if needed { ", and not nothing" } else { "" });
        match self.fields.get("reason").unwrap_or(&Value::Null) {
            Value::Null if !needed => String::new(),
            Value::String(text) if text.chars().count() <= MAX_REASON && !(needed && text.trim().is_empty()) => {
                text.clone()
            }
            other => {
                self.refuse("reason", &other.clone(), &allowed);
                String::new()
            }
        }
    }

    fn required(&mut self, path: &str, is_there: bool, allowed: &str) {
        if !is_there && !self.refusals.iter().any(|refusal| refusal.path == path) {
            self.refusals.push(Refusal::new(path, "(absent)", allowed));
        }
    }

    fn only(&mut self, path: &str, belongs: bool, verb: &str) {
        if let Some(value) = self.fields.get(path).filter(|value| !belongs && !value.is_null()) {
            self.refuse(path, &value.clone(), &format!("only with `{verb}`"));
        }
    }
}

#[cfg(test)]
mod tests;

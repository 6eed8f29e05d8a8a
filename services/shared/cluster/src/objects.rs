//! The calls, and what their failures mean.

use crate::Kind;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::{DynamicObject, PartialObjectMeta},
};
use serde_json::{Value, json};
use slipway_kernel::{Finding, FindingKind};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Somebody else changed the object.
    #[error("it was changed by others: {0}")]
    Conflict(String),
    /// It is not there.
    #[error("it is not there")]
    NotFound,
    /// The same call will be refused again.
    #[error("refused: {0}")]
    Refused(String, Box<Finding>),
    /// It may work the next time.
    #[error("the API server did not do it: {0}")]
    Transient(String),
}

impl ApiError {
    /// What a deployment is told of it: with the evidence, where that the same call will be refused again.
    #[must_use]
    pub fn finding(self) -> Finding {
        match self {
            Self::Refused(_, finding) => *finding,
            other => Finding::transient(FindingKind::DependencyUnavailable, other.to_string()),
        }
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else { return Self::Transient(error.to_string()) };
        let message = status.message.clone();
        // A namespace that goes refuses what is new with 403 as well, and so does a quota.
        let finding = |kind, what: &str| Box::new(Finding::deterministic(kind, format!("{what}: {message}")));
        match status.code {
            404 => Self::NotFound,
            409 => Self::Conflict(message),
            403 if message.contains("exceeded quota") => {
                let finding = finding(FindingKind::Unschedulable, "the quota of the namespace has no room");
                Self::Refused(message, finding)
            }
            403 if message.contains("being terminated") => {
                let finding = finding(FindingKind::Misconfigured, "the namespace is being removed");
                Self::Refused(message, finding)
            }
            400 | 403 if message.contains("denied") || message.contains("violates") => {
                let finding = finding(FindingKind::PolicyViolation, "the cluster does not admit an object");
                Self::Refused(message, finding)
            }
            401 | 403 => {
                let finding = finding(FindingKind::Misconfigured, "this service may not do this in the cluster");
                Self::Refused(message, finding)
            }
            400 | 405 | 422 => {
                let finding = finding(FindingKind::Misconfigured, "the cluster takes no such object");
                Self::Refused(message, finding)
            }
            _ => Self::Transient(format!("{} {message}", status.code)),
        }
    }
}

/// The objects of one namespace.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    namespace: String,
    manager: String,
}

impl Objects {
    /// As the field manager of this name: what it applies is its own, and whoever changes that is seen.
    #[must_use]
    pub fn new(client: Client, namespace: &str, manager: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), manager: manager.to_owned() }
    }

    /// Where they are.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The objects of a kind, but for what they are and do.
    #[must_use]
    pub fn metadata_of(&self, kind: Kind) -> Api<PartialObjectMeta<DynamicObject>> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    fn of(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    /// All objects of a kind that a selector finds, as they are now: no cache answers.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn list(&self, kind: Kind, labels: &str, fields: &str) -> Result<Vec<Value>, ApiError> {
        let mut params = ListParams::default().limit(500);
        if !labels.is_empty() {
            params = params.labels(labels);
        }
        if !fields.is_empty() {
            params = params.fields(fields);
        }
        let (api, mut all) = (self.of(kind), Vec::new());
        loop {
            let page = api.list(&params).await?;
            let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            for item in page.items {
                let mut item = value(&item)?;
                item["apiVersion"] = kind.api_version.into();
                item["kind"] = kind.kind.into();
                all.push(item);
            }
            match next {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    /// One object.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Value, ApiError> {
        value(&self.of(kind).get(name).await?)
    }

    /// Whether the cluster serves a kind to who asks; a right that is missing is an answer too.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn serves(&self, kind: Kind) -> Result<bool, ApiError> {
        match self.of(kind).list(&ListParams::default().limit(1)).await.map_err(ApiError::from) {
            Ok(_) => Ok(true),
            Err(ApiError::NotFound | ApiError::Refused(..)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes it what it shall be. Without `force`, a field that others have set is a conflict.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn apply(&self, kind: Kind, object: &Value, force: bool) -> Result<Value, ApiError> {
        let params = PatchParams::apply(&self.manager);
        let params = if force { params.force() } else { params };
        let name = text(object, "/metadata/name");
        value(&self.of(kind).patch(name, &params, &Patch::Apply(object)).await?)
    }

    /// Makes it, if it is not there.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn create(&self, kind: Kind, object: &Value) -> Result<Value, ApiError> {
        let object: DynamicObject = serde_json::from_value(object.clone()).map_err(|error| malformed(&error))?;
        let params = PostParams { field_manager: Some(self.manager.clone()), ..PostParams::default() };
        value(&self.of(kind).create(&params, &object).await?)
    }

    /// Writes an object over the one that was read, if nobody else has since.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn replace(&self, kind: Kind, object: &Value) -> Result<Value, ApiError> {
        let name = text(object, "/metadata/name").to_owned();
        let object: DynamicObject = serde_json::from_value(object.clone()).map_err(|error| malformed(&error))?;
        let params = PostParams { field_manager: Some(self.manager.clone()), ..PostParams::default() };
        value(&self.of(kind).replace(&name, &params, &object).await?)
    }

    /// How many replicas a workload has, as another manager than that of the rest: whoever scales it takes the number over.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn scale(&self, kind: Kind, name: &str, replicas: u32, manager: &str) -> Result<(), ApiError> {
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        self.of(kind).patch_scale(name, &params, &Patch::Merge(json!({ "spec": { "replicas": replicas } }))).await?;
        Ok(())
    }

    /// Removes exactly the object that was seen; one that was made anew under its name stays.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn delete(&self, kind: Kind, name: &str, uid: &str) -> Result<(), ApiError> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams::background().preconditions(preconditions);
        match self.of(kind).delete(name, &params).await.map_err(ApiError::from) {
            Ok(_) | Err(ApiError::NotFound | ApiError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A string in an object, empty where it is not.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A label of an object.
#[must_use]
pub fn label<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"]["labels"].get(name).and_then(Value::as_str).unwrap_or_default()
}

/// An annotation of an object.
#[must_use]
pub fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"]["annotations"].get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether its removal has begun.
#[must_use]
pub fn is_leaving(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

/// Namespace and name of an object, as people write them.
#[must_use]
pub fn place(object: &Value) -> String {
    format!("{}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}

fn value(object: &DynamicObject) -> Result<Value, ApiError> {
    serde_json::to_value(object).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::Transient(format!("an object cannot be read: {error}"))
}

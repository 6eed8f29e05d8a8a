//! The calls that the target makes, and what their failures mean.

use super::objects::{Kind, text};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::{DynamicObject, PartialObjectMeta},
};
use serde_json::{Value, json};
use slipway_kernel::{Finding, FindingKind};

/// The field manager: what it applied is its own, and whoever changes that is seen.
const MANAGER: &str = "slipway";
/// Who says with how many workers a scaler begins. Another manager than that of the rest: the scaler takes the number over.
const STARTER: &str = "slipway-start";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
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
                let finding = finding(FindingKind::Misconfigured, "the controller may not do this in the cluster");
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
pub(super) struct Objects {
    client: Client,
    namespace: String,
}

impl Objects {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// The objects of a kind, but for what they are and do.
    pub(super) fn metadata_of(&self, kind: Kind) -> Api<PartialObjectMeta<DynamicObject>> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    fn of(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    /// All objects of a kind that a selector finds, as they are now: no cache answers.
    pub(super) async fn list(&self, kind: Kind, labels: &str, fields: &str) -> Result<Vec<Value>, ApiError> {
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

    /// Makes it what it shall be. Without `force`, a field that others have set is a conflict.
    pub(super) async fn apply(&self, kind: Kind, object: &Value, force: bool) -> Result<Value, ApiError> {
        let params = PatchParams::apply(MANAGER);
        let params = if force { params.force() } else { params };
        let name = text(object, "/metadata/name");
        value(&self.of(kind).patch(name, &params, &Patch::Apply(object)).await?)
    }

    /// Makes it, if it is not there.
    pub(super) async fn create(&self, kind: Kind, object: &Value) -> Result<Value, ApiError> {
        let object: DynamicObject = serde_json::from_value(object.clone()).map_err(|error| malformed(&error))?;
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        value(&self.of(kind).create(&params, &object).await?)
    }

    /// Writes an object over the one that was read, if nobody else has since.
    pub(super) async fn replace(&self, kind: Kind, object: &Value) -> Result<Value, ApiError> {
        let name = text(object, "/metadata/name").to_owned();
        let object: DynamicObject = serde_json::from_value(object.clone()).map_err(|error| malformed(&error))?;
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        value(&self.of(kind).replace(&name, &params, &object).await?)
    }

    /// With how many workers a scaler begins.
    pub(super) async fn start_with(&self, kind: Kind, name: &str, replicas: u32) -> Result<(), ApiError> {
        let params = PatchParams { field_manager: Some(STARTER.to_owned()), ..PatchParams::default() };
        self.of(kind).patch_scale(name, &params, &Patch::Merge(json!({ "spec": { "replicas": replicas } }))).await?;
        Ok(())
    }

    /// Removes exactly the object that was seen; one that was made anew under its name stays.
    pub(super) async fn delete(&self, kind: Kind, name: &str, uid: &str) -> Result<(), ApiError> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams::background().preconditions(preconditions);
        match self.of(kind).delete(name, &params).await.map_err(ApiError::from) {
            Ok(_) | Err(ApiError::NotFound | ApiError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn value(object: &DynamicObject) -> Result<Value, ApiError> {
    serde_json::to_value(object).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::Transient(format!("an object cannot be read: {error}"))
}

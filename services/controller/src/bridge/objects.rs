//! The calls that the bridge makes, each about one object as it was read.

use super::wire::{API_VERSION, KIND};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta},
};
use serde_json::{Value, json};
use slipway_proto::custom_resource::{GROUP, PLURAL, VERSION};

/// The field manager of the bridge: what it writes is its own, and can be told from what others write.
pub(super) const MANAGER: &str = "slipway-bridge";
/// Keeps a resource until what came of it is gone.
pub(super) const FINALIZER: &str = "slipway.dev/retire";
/// All namespaces.
const ALL: &str = "*";
/// Resources in one answer to a list.
const PAGE: u32 = 500;

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The cluster does not know the resource.
    #[error("the cluster serves no {PLURAL}.{GROUP}")]
    NotServed,
    /// It was changed or removed since it was read.
    #[error("{0} was changed meanwhile")]
    Moved(String),
    /// The cluster refused, or failed.
    #[error("the API server did not {action}: {source}")]
    Cluster {
        /// What was asked.
        action: String,
        /// What it says.
        source: Box<kube::Error>,
    },
    /// Something that it said cannot be read.
    #[error("an object of the cluster cannot be read: {0}")]
    Unreadable(String),
    /// The gate or the log.
    #[error(transparent)]
    Bus(#[from] slipway_bus::BusError),
    /// The gate.
    #[error(transparent)]
    Gate(#[from] slipway_bus::IntakeError),
}

/// The resources of the namespaces that this installation cares for.
pub(super) struct Resources {
    client: Client,
    namespaces: Vec<String>,
    instance: String,
}

fn kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL)
}

impl Resources {
    pub(super) fn new(client: Client, namespaces: &[String], instance: &str) -> Self {
        let all = namespaces.iter().any(|namespace| namespace == ALL);
        let namespaces = if all { vec![ALL.to_owned()] } else { namespaces.to_vec() };
        Self { client, namespaces, instance: instance.to_owned() }
    }

    /// The resources of each namespace, or of all.
    fn apis<K>(&self) -> impl Iterator<Item = Api<K>>
    where
        K: kube::Resource<DynamicType = ApiResource, Scope = kube::core::DynamicResourceScope>,
    {
        self.namespaces.iter().map(|namespace| match namespace.as_str() {
            ALL => Api::all_with(self.client.clone(), &kind()),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &kind()),
        })
    }

    /// To watch them: their status and spec do not matter.
    pub(super) fn metadata(&self) -> impl Iterator<Item = Api<PartialObjectMeta<DynamicObject>>> {
        self.apis()
    }

    /// All of them, as they are now: no cache answers.
    pub(super) async fn list(&self) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        for api in self.apis::<DynamicObject>() {
            let mut params = ListParams::default().limit(PAGE);
            loop {
                let page = api.list(&params).await.map_err(|error| match code(&error) {
                    404 => Failure::NotServed,
                    _ => cluster("list ModelDeployments", error),
                })?;
                let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
                for item in page.items {
                    all.push(serde_json::to_value(item).map_err(|error| Failure::Unreadable(error.to_string()))?);
                }
                match next {
                    Some(token) => params = params.continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(all)
    }

    /// Puts the finalizer on it.
    pub(super) async fn hold(&self, object: &Value) -> Result<Value, Failure> {
        let mut body = identity(object);
        body["metadata"]["finalizers"] = json!([FINALIZER]);
        let params = PatchParams::apply(MANAGER);
        self.written(object, "hold", self.of(object).patch(name(object), &params, &Patch::Apply(&body)).await)
    }

    /// Takes the finalizer off it. No apply: one that somebody else has written as well would stay.
    pub(super) async fn let_go(&self, object: &Value) -> Result<(), Failure> {
        let others = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        let others: Vec<&Value> = others.filter(|finalizer| **finalizer != FINALIZER).collect();
        let body = json!({ "metadata": {
            "resourceVersion": object["metadata"]["resourceVersion"],
            "finalizers": others,
        }});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patched = self.of(object).patch(name(object), &params, &Patch::Merge(&body)).await;
        self.written(object, "let go", patched).map(drop)
    }

    /// Writes its status.
    pub(super) async fn tell(&self, object: &Value, status: &Value) -> Result<Value, Failure> {
        let mut body = identity(object);
        body["status"] = status.clone();
        let params = PatchParams::apply(MANAGER).force();
        let patched = self.of(object).patch_status(name(object), &params, &Patch::Apply(&body)).await;
        self.written(object, "tell", patched)
    }

    /// Makes an event, unless it was made already.
    pub(super) async fn event(&self, event: &Value) -> Result<(), Failure> {
        let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("events.k8s.io", "v1", "Event"), "events");
        let namespace = event["metadata"]["namespace"].as_str().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let event: DynamicObject =
            serde_json::from_value(event.clone()).map_err(|error| Failure::Unreadable(error.to_string()))?;
        match api.create(&PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }, &event).await
        {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == 409 => Ok(()),
            Err(error) => Err(cluster("make an event", error)),
        }
    }

    /// Who makes events, by the name of its replica.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    fn of(&self, object: &Value) -> Api<DynamicObject> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        Api::namespaced_with(self.client.clone(), namespace, &kind())
    }

    fn written(
        &self,
        object: &Value,
        action: &str,
        outcome: Result<DynamicObject, kube::Error>,
    ) -> Result<Value, Failure> {
        match outcome {
            Ok(written) => serde_json::to_value(written).map_err(|error| Failure::Unreadable(error.to_string())),
            // Gone, or another one of the same name.
            Err(error) if [404, 409].contains(&code(&error)) => Err(Failure::Moved(name(object).to_owned())),
            Err(error) => Err(cluster(&format!("{action} {}", name(object)), error)),
        }
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Exactly the object that was read: one that was changed since, or made anew under its name, is not meant.
fn identity(object: &Value) -> Value {
    let metadata = &object["metadata"];
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
    })
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

fn cluster(action: &str, source: kube::Error) -> Failure {
    Failure::Cluster { action: action.to_owned(), source: Box::new(source) }
}

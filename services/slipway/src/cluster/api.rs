//! The calls to the API server.

use super::{
    InitError,
    config::Config,
    objects::{Change, Data, Everything, Found, Id, Kind, Object},
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::PostParams, core::Status};
use std::collections::BTreeMap;

/// Who made it, for other tools: not Helm, which would remove it with the release.
const LABELS: [(&str, &str); 2] =
    [("app.kubernetes.io/managed-by", "slipway"), ("app.kubernetes.io/part-of", "slipway")];
/// What is found by this is what an uninstallation leaves: keys and certificates, which are never made twice.
const KEPT: (&str, &str) = ("slipway.dev/kept", "true");

/// The objects of a cluster.
pub(super) struct Cluster {
    client: Client,
    labels: BTreeMap<String, String>,
}

impl Cluster {
    /// The cluster of the configuration, else that of the own pod, else that of `KUBECONFIG`.
    pub(super) async fn find(config: &Config) -> anyhow::Result<Self> {
        let client = slipway_cluster::connect(config.kubeconfig.as_deref(), None).await?.client;
        let own = LABELS.into_iter().chain([KEPT]).map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(Self { client, labels: config.labels.clone().into_iter().chain(own).collect() })
    }

    /// What is there of these.
    pub(super) async fn read(&self, ids: &[Id]) -> Result<Everything, InitError> {
        let mut everything = Everything::new();
        for id in ids {
            if let Some(found) = self.get(id).await? {
                everything.insert(id.clone(), found);
            }
        }
        Ok(everything)
    }

    async fn get(&self, id: &Id) -> Result<Option<Found>, InitError> {
        let action = || format!("read {id}");
        Ok(match id.kind {
            Kind::Secret => {
                let found = self.secrets(id).get_opt(&id.name).await.map_err(failed(action))?;
                found.map(|secret| Found { data: texts(secret.data), version: version(secret.metadata) })
            }
            Kind::ConfigMap => {
                let found = self.config_maps(id).get_opt(&id.name).await.map_err(failed(action))?;
                found.map(|map| Found { data: map.data.unwrap_or_default(), version: version(map.metadata) })
            }
        })
    }

    /// Makes a change, unless somebody was faster: the next look tells.
    pub(super) async fn make(&self, change: &Change) -> Result<(), InitError> {
        let (object, version) = match change {
            Change::Create(object) => (object, None),
            Change::Replace(object, version) => (object, Some(version.clone())),
        };
        let (id, params) = (&object.id, PostParams::default());
        let metadata = self.metadata(object, version.clone());
        let made = match (id.kind, version) {
            (Kind::Secret, None) => self.secrets(id).create(&params, &secret(object, metadata)).await.map(drop),
            (Kind::Secret, Some(_)) => {
                self.secrets(id).replace(&id.name, &params, &secret(object, metadata)).await.map(drop)
            }
            (Kind::ConfigMap, None) => self.config_maps(id).create(&params, &map(object, metadata)).await.map(drop),
            (Kind::ConfigMap, Some(_)) => {
                self.config_maps(id).replace(&id.name, &params, &map(object, metadata)).await.map(drop)
            }
        };
        match made {
            Ok(()) => {
                tracing::info!(object = %id, "made");
                Ok(())
            }
            // It exists, it changed, or it went away meanwhile.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) && !is_of_namespace(&status) => {
                tracing::debug!(object = %id, "somebody else was faster");
                Ok(())
            }
            Err(error) => Err(failed(|| format!("make {id}"))(error)),
        }
    }

    fn metadata(&self, object: &Object, version: Option<String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(object.id.name.clone()),
            namespace: Some(object.id.namespace.clone()),
            labels: Some(self.labels.clone()),
            resource_version: version,
            ..ObjectMeta::default()
        }
    }

    fn secrets(&self, id: &Id) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &id.namespace)
    }

    fn config_maps(&self, id: &Id) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &id.namespace)
    }
}

/// Whether it is the namespace that is not there.
fn is_of_namespace(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| details.kind == "namespaces")
}

fn failed(action: impl FnOnce() -> String) -> impl FnOnce(kube::Error) -> InitError {
    move |source| InitError::Api { action: action(), source: Box::new(source) }
}

fn version(metadata: ObjectMeta) -> String {
    metadata.resource_version.unwrap_or_default()
}

/// What is no text is none of ours.
fn texts(data: Option<BTreeMap<String, ByteString>>) -> Data {
    let text = |(key, value): (String, ByteString)| Some((key, String::from_utf8(value.0).ok()?));
    data.into_iter().flatten().filter_map(text).collect()
}

fn secret(object: &Object, metadata: ObjectMeta) -> Secret {
    Secret {
        metadata,
        string_data: Some(object.data.clone()),
        immutable: object.is_immutable.then_some(true),
        ..Secret::default()
    }
}

fn map(object: &Object, metadata: ObjectMeta) -> ConfigMap {
    ConfigMap {
        metadata,
        data: Some(object.data.clone()),
        immutable: object.is_immutable.then_some(true),
        ..ConfigMap::default()
    }
}

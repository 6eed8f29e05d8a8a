//! The objects: what they are called, and what is in them.

use super::config::Config;
use slipway_bus::Principal;
use std::{collections::BTreeMap, fmt};

/// What a Secret or `ConfigMap` holds.
pub(super) type Data = BTreeMap<String, String>;

/// The authority of the broker's certificate, for who mounts it.
pub(super) const CA: &str = "ca.crt";
/// The certificate of the broker.
pub(super) const CERTIFICATE: &str = "tls.crt";
/// Its key.
pub(super) const KEY: &str = "tls.key";
/// The configuration of the broker.
pub(super) const CONFIGURATION: &str = "nats.conf";
/// The part of it that a broker of somebody else needs.
pub(super) const AUTHORIZATION: &str = "authorization.conf";
/// What the servers of the broker say to each other.
pub(super) const ROUTES_PASSWORD: &str = "routes-password";

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object as it shall be.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) id: Id,
    pub(super) data: Data,
    /// Whether the API server lets nobody change it: keys are made once.
    pub(super) is_immutable: bool,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.data.keys().collect();
        f.debug_struct("Object").field("id", &self.id).field("data", &keys).finish_non_exhaustive()
    }
}

/// An object as it is.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) data: Data,
    /// What a change must be made on top of.
    pub(super) version: String,
}

/// Everything that is there.
pub(super) type Everything = BTreeMap<Id, Found>;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Make it, if it is still not there.
    Create(Object),
    /// Put this in its place, if it still is as it was seen.
    Replace(Object, String),
}

fn secret(config: &Config, name: String) -> Id {
    Id { kind: Kind::Secret, namespace: config.namespace.clone(), name }
}

/// The Secret with the seed of a principal.
pub(super) fn key(config: &Config, principal: Principal) -> Id {
    secret(config, format!("{}-key-{principal}", config.name))
}

/// The Secret with the seed of a client of models.
pub(super) fn client_key(config: &Config, client: &slipway_bus::InferenceClient) -> Id {
    secret(config, format!("{}-client-{client}", config.name))
}

/// The Secret with the workers' key where they run, if that is another namespace.
pub(super) fn worker_key(config: &Config) -> Option<Id> {
    let own = key(config, Principal::Service(slipway_kernel::Service::InferenceWorker));
    let namespace = config.workers().to_owned();
    (namespace != own.namespace).then_some(Id { namespace, ..own })
}

/// The `ConfigMap` with what services must know of the keys of others, a file for each.
pub(super) fn identities(config: &Config) -> Id {
    Id { kind: Kind::ConfigMap, ..secret(config, format!("{}-identities", config.name)) }
}

/// The Secret with the authority of the mesh.
pub(super) fn authority(config: &Config) -> Id {
    secret(config, format!("{}-authority", config.name))
}

/// The Secret with the authority of the broker's certificate. Nobody mounts it.
pub(super) fn broker_authority(config: &Config) -> Id {
    secret(config, format!("{}-broker-authority", config.name))
}

/// The Secret with the broker's certificate.
pub(super) fn broker_tls(config: &Config) -> Id {
    secret(config, format!("{}-broker-tls", config.name))
}

/// The `ConfigMap`s with the certificate of the broker's authority, one in each namespace.
pub(super) fn broker_ca(config: &Config) -> Vec<Id> {
    let own = Id { kind: Kind::ConfigMap, ..secret(config, format!("{}-broker-ca", config.name)) };
    let mut all = vec![own.clone()];
    if config.workers() != own.namespace {
        all.push(Id { namespace: config.workers().to_owned(), ..own });
    }
    all
}

/// The Secret with the broker's configuration.
pub(super) fn broker_config(config: &Config) -> Id {
    secret(config, format!("{}-broker-config", config.name))
}

/// All of them.
pub(super) fn all(config: &Config) -> Vec<Id> {
    let mut all: Vec<Id> = Principal::ALL.into_iter().map(|principal| key(config, principal)).collect();
    all.extend(config.clients.iter().map(|client| client_key(config, client)));
    all.extend(worker_key(config));
    all.extend([identities(config), authority(config), broker_config(config)]);
    if config.has_certificates() {
        all.extend([broker_authority(config), broker_tls(config)]);
        all.extend(broker_ca(config));
    }
    all
}

//! The API keys of a deployment: the text of its own in a file for its owner, that of others told once to an operator who asks, the digests
//! in the table that the ingress reads.

use crate::{
    domain::api_key::{self, RANDOM_BYTES, Step},
    error::{KeyError, chain},
    files,
    telemetry::SecurityMetrics,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use slipway_bus::{ApiKeyDemand, ApiKeyRecord, Bus, IssuedApiKey, LeaseKey, View};
use slipway_kernel::{DeploymentId, Digest, Item, Service};
use std::{path::PathBuf, time::Duration};

/// The work on the keys of a deployment, done by one replica at a time.
pub(crate) const WORK: &str = "keys";
/// How long a replica that died keeps the others from a deployment's keys.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// The keys of all deployments.
#[derive(Clone, Debug)]
pub(crate) struct ApiKeys {
    bus: Bus,
    folder: PathBuf,
    in_files: bool,
    metrics: SecurityMetrics,
}

impl ApiKeys {
    pub(crate) const fn new(bus: Bus, folder: PathBuf, in_files: bool, metrics: SecurityMetrics) -> Self {
        Self { bus, folder, in_files, metrics }
    }

    /// What becomes of a demand of an operator; nothing is said when it cannot be told now, and the demand may be repeated.
    pub(crate) async fn issue(&self, view: &View, demand: ApiKeyDemand) -> Option<IssuedApiKey> {
        let refuse = |refused: String| Some(IssuedApiKey { key: None, refused });
        let Ok(id) = demand.deployment.parse::<DeploymentId>() else {
            return refuse(format!("`{}` is no deployment: <namespace>.<name>", demand.deployment));
        };
        match self.issue_one(view, &id).await {
            Ok(Ok(key)) => Some(IssuedApiKey { key: Some(key), refused: String::new() }),
            Ok(Err(refused)) => refuse(refused),
            Err(error) => {
                tracing::warn!(deployment = %id, error = %chain(&error), "a key that was asked for could not be made");
                None
            }
        }
    }

    async fn issue_one(&self, view: &View, id: &DeploymentId) -> Result<Result<String, String>, KeyError> {
        // With whoever removes the keys of a deployment, never beside him.
        let Some(lease) = self.bus.leases().acquire(&LeaseKey::new(id, Service::Security, WORK), LEASE).await? else {
            return Ok(Err(format!("the keys of {id} are being seen to; ask again in a moment")));
        };
        let known = self.bus.api_keys().list(id).await?.len();
        let folded = view.get(id);
        if let Err(refused) = api_key::issuable(id, folded.as_deref().map(|folded| &folded.deployment), known) {
            return Ok(Err(refused));
        }
        let key = new_key();
        self.announce(id, &digest_of(&key)).await?;
        drop(lease);
        self.metrics.key_made();
        tracing::info!(deployment = %id, key = api_key::name(&digest_of(&key)), "an API key was made for an operator");
        Ok(Ok(key))
    }

    fn file(&self, id: &DeploymentId) -> PathBuf {
        self.folder.join(format!("{id}.key"))
    }

    /// Sees to it that the deployment has its key. Under a lease: two at once would make two.
    pub(crate) async fn ensure(&self, id: &DeploymentId, wanted: bool) -> Result<Item, KeyError> {
        if !self.in_files {
            let value =
                if wanted { "told to an operator who asks for one" } else { "none is issued, as the spec wants" };
            return Ok(Item { name: "api-key".to_owned(), value: value.to_owned() });
        }
        files::private_folder(&self.folder)?;
        let known: Vec<String> = self.bus.api_keys().list(id).await?.into_iter().map(|record| record.hash).collect();
        let key = self.in_file(id)?;
        let digest = key.as_deref().map(digest_of);
        let value = match api_key::step(wanted, &known, digest.as_deref()) {
            Step::NotWanted => "none is issued, as the spec wants".to_owned(),
            Step::Keep if key.is_none() => "its digest is known; its file was taken away".to_owned(),
            Step::Keep => format!("in {}", self.file(id).display()),
            Step::Announce => {
                self.announce(id, &digest.unwrap_or_default()).await?;
                format!("in {}, made known again", self.file(id).display())
            }
            Step::Make => {
                let key = new_key();
                files::write_secret(&self.file(id), &format!("{key}\n"))?;
                self.announce(id, &digest_of(&key)).await?;
                self.metrics.key_made();
                tracing::info!(deployment = %id, file = %self.file(id).display(), "an API key was made");
                format!("made, in {}", self.file(id).display())
            }
        };
        Ok(Item { name: "api-key".to_owned(), value })
    }

    /// The key in the file, if it is one. The file is its owner's: how he protects it is his affair.
    fn in_file(&self, id: &DeploymentId) -> Result<Option<String>, KeyError> {
        let text = files::read_public(&self.file(id))?;
        Ok(text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| api_key::is_key(text)))
    }

    async fn announce(&self, id: &DeploymentId, digest: &str) -> Result<(), KeyError> {
        let key_id = api_key::name(digest);
        let record = ApiKeyRecord {
            principal: api_key::principal(&key_id),
            key_id,
            hash: digest.to_owned(),
            created: self.bus.clock().now(),
            expires: None,
        };
        Ok(self.bus.api_keys().put(id, &record).await?)
    }

    /// Removes what the ingress knows first: from then on the key is good for nothing.
    pub(crate) async fn remove(&self, id: &DeploymentId) -> Result<Vec<Item>, KeyError> {
        let records = self.bus.api_keys().remove_all(id).await?;
        let file = files::remove(&self.file(id))?;
        let item = |name: &str, value: String| Item { name: name.to_owned(), value };
        let mut items = vec![item("api-keys", format!("{records} removed"))];
        if file {
            items.push(item("key-file", format!("{} removed", self.file(id).display())));
        }
        Ok(items)
    }
}

fn new_key() -> String {
    format!("{}{}", api_key::PREFIX, URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()))
}

fn digest_of(key: &str) -> String {
    Digest::of(key.as_bytes()).to_string()
}

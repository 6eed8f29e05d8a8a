//! Settings.

use crate::domain::policy::{MODEL_SOURCES, PROTOCOLS, Policy, SECRET_SOURCES};
use serde::{Deserialize, Serialize};
use slipway_bus::BusConfig;
use slipway_kernel::{Refusal, Span};
use slipway_runtime::{Common, ServiceConfig};
use std::{
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// Settings of security.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every service has.
    pub common: Common,
    /// The broker.
    pub bus: BusConfig,
    /// The mesh's own certificate authority.
    pub authority: AuthorityConfig,
    /// The certificates it signs.
    pub identities: IdentitiesConfig,
    /// The keys of callers.
    pub api_keys: ApiKeysConfig,
    /// How it is proved that strangers stay outside.
    pub proof: ProofConfig,
    /// What is allowed, whatever a spec asks for.
    pub policy: Policy,
}

/// The mesh's own certificate authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorityConfig {
    /// Its folder. Unset: `security/ca` in the data folder. Replicas on several hosts share one (a mounted secret).
    pub folder: Option<PathBuf>,
    /// Whether somebody else keeps the folder (`slipway cluster-init`, in a Secret that is mounted there): it is read, never written, and its
    /// keys may be read by the group, as the files of a mounted Secret are.
    pub mounted: bool,
    /// How long one of its certificates is valid; the next is made after two thirds of it.
    pub lifetime: Span,
    /// How long everybody has to hear of a new one before it signs.
    pub settle: Span,
    /// What to do when the mesh trusts an authority whose key is not in the folder.
    pub without_key: Loss,
}

impl Default for AuthorityConfig {
    fn default() -> Self {
        Self {
            folder: None,
            mounted: false,
            lifetime: Span::seconds(365 * 86_400),
            // Followers hear of it within seconds; one that was cut off for minutes has heard of it too.
            settle: Span::seconds(300),
            without_key: Loss::Wait,
        }
    }
}

/// What to do when the mesh trusts an authority whose key is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Sign nothing and say so, until the key is back.
    #[default]
    Wait,
    /// Begin anew, and trust what the lost one signed until it ends by itself.
    Replace,
    /// Begin anew, and trust nothing of the lost one any more: its key is in wrong hands.
    ReplaceAndDistrust,
}

/// The certificates it signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentitiesConfig {
    /// How long a certificate is valid; its holder asks for the next after two thirds of it.
    pub lifetime: Span,
    /// How long a request waits for what may only not have been heard of yet (a plan, a registration) before it is refused.
    pub patience: Span,
    /// Host names that services which serve may have in their certificates, beside addresses.
    pub hosts: Vec<String>,
}

impl Default for IdentitiesConfig {
    fn default() -> Self {
        Self { lifetime: Span::seconds(86_400), patience: Span::seconds(3), hosts: vec!["localhost".to_owned()] }
    }
}

/// The keys of callers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiKeysConfig {
    /// Whether the text of a deployment's own key is kept in a file of the data folder, for its owner to take. Where nobody reaches that
    /// folder none is made, and keys are told to an operator who asks for one.
    pub in_files: bool,
}

impl Default for ApiKeysConfig {
    fn default() -> Self {
        Self { in_files: true }
    }
}

/// How it is proved that strangers stay outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProofConfig {
    /// The public door, `http://host:port`. Unset: it is not tried here; the validator tries it under load all the same.
    pub ingress_url: Option<String>,
    /// How long workers have to get their identities before a try ends.
    pub worker_wait: Span,
    /// How long one knock at a door may take.
    pub timeout: Span,
}

impl Default for ProofConfig {
    fn default() -> Self {
        // Three tries of 15 s with their pauses fit into the validator's 60 s.
        Self { ingress_url: None, worker_wait: Span::seconds(15), timeout: Span::seconds(2) }
    }
}

impl Config {
    /// The authority's folder.
    #[must_use]
    pub fn authority_folder(&self, data_dir: &Path) -> PathBuf {
        self.authority.folder.clone().unwrap_or_else(|| data_dir.join("security").join("ca"))
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "security";
    const ABOUT: &'static str =
        "Issues identities and API keys, checks the policy, and proves that strangers stay outside.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let (day, authority) = (86_400, &self.authority);
        within(
            &mut refusals,
            "authority.lifetime",
            authority.lifetime,
            Span::seconds(2 * day)..=Span::seconds(3_650 * day),
        );
        if authority.mounted && authority.folder.is_none() {
            refusals.push(Refusal::new(
                "authority.folder",
                "unset",
                "the folder where it is mounted (authority.mounted)",
            ));
        }
        within(&mut refusals, "authority.settle", authority.settle, Span::seconds(10)..=Span::seconds(day));
        // A successor must be able to take over before its predecessor ends: a third of its life is what there is.
        let longest = Span(authority.lifetime.0 / 4);
        within(&mut refusals, "identities.lifetime", self.identities.lifetime, Span::seconds(10)..=longest);
        within(&mut refusals, "identities.patience", self.identities.patience, Span::millis(100)..=Span::seconds(9));
        within(&mut refusals, "proof.worker_wait", self.proof.worker_wait, Span::millis(100)..=Span::seconds(50));
        within(&mut refusals, "proof.timeout", self.proof.timeout, Span::millis(100)..=Span::seconds(30));
        if let Some(url) = &self.proof.ingress_url
            && !is_http(url)
        {
            refusals.push(Refusal::new("proof.ingress_url", url, "http://host:port or https://host:port"));
        }
        for host in &self.identities.hosts {
            if host.is_empty()
                || host.len() > 253
                || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
            {
                refusals.push(Refusal::new("identities.hosts", host, "host names without wildcards"));
            }
        }
        words(&mut refusals, "policy.model_sources", &self.policy.model_sources, &MODEL_SOURCES);
        words(&mut refusals, "policy.secret_sources", &self.policy.secret_sources, &SECRET_SOURCES);
        words(&mut refusals, "policy.protocols", &self.policy.protocols, &PROTOCOLS);
        for folder in self.policy.secret_folders.iter().filter(|folder| !folder.starts_with('/')) {
            refusals.push(Refusal::new("policy.secret_folders", folder, "absolute paths"));
        }
        if self.policy.max_memory.0 == 0 {
            refusals.push(Refusal::new("policy.max_memory", self.policy.max_memory, "more than 0"));
        }
        refusals
    }
}

fn within<T: PartialOrd + Display>(refusals: &mut Vec<Refusal>, path: &str, value: T, range: RangeInclusive<T>) {
    if !range.contains(&value) {
        refusals.push(Refusal::new(path, value, format!("{} to {}", range.start(), range.end())));
    }
}

fn words(refusals: &mut Vec<Refusal>, path: &str, found: &[String], known: &[&str]) {
    for word in found.iter().filter(|word| !known.contains(&word.as_str())) {
        refusals.push(Refusal::new(path, word, known.join(", ")));
    }
}

fn is_http(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::ByteSize;

    #[test]
    fn the_defaults_are_accepted() {
        assert_eq!(Config::default().check(), []);
    }

    #[test]
    fn each_value_out_of_range_is_refused_by_its_path() {
        let config = Config {
            authority: AuthorityConfig {
                mounted: true,
                lifetime: Span::seconds(1),
                settle: Span::seconds(0),
                ..AuthorityConfig::default()
            },
            identities: IdentitiesConfig {
                lifetime: Span::seconds(1),
                patience: Span::seconds(60),
                hosts: vec!["*.example".to_owned()],
            },
            proof: ProofConfig {
                ingress_url: Some("ingress:8080".to_owned()),
                worker_wait: Span::seconds(0),
                timeout: Span::seconds(0),
            },
            policy: Policy {
                model_sources: vec!["s3".to_owned()],
                secret_sources: vec!["vault".to_owned()],
                protocols: vec!["smoke".to_owned()],
                secret_folders: vec!["relative".to_owned()],
                max_memory: ByteSize(0),
                ..Policy::default()
            },
            ..Config::default()
        };
        let paths: Vec<String> = config.check().into_iter().map(|refusal| refusal.path).collect();
        assert_eq!(
            paths,
            [
                "authority.lifetime",
                "authority.folder",
                "authority.settle",
                "identities.lifetime",
                "identities.patience",
                "proof.worker_wait",
                "proof.timeout",
                "proof.ingress_url",
                "identities.hosts",
                "policy.model_sources",
                "policy.secret_sources",
                "policy.protocols",
                "policy.secret_folders",
                "policy.max_memory",
            ]
        );
    }

    #[test]
    fn the_readme_lists_the_settings_as_they_are() {
        slipway_runtime::check_readme::<Config>(include_str!("../README.md")).unwrap();
    }
}

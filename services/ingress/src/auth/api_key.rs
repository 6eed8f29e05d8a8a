//! API keys: `slw_` and 43 characters of base64url. Only their SHA-256 is known here.

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use slipway_kernel::{DeploymentId, Timestamp};
use std::{collections::BTreeMap, sync::Arc};
use subtle::ConstantTimeEq as _;

/// What every key begins with.
pub const PREFIX: &str = "slw_";
/// The rest of it: 32 random bytes in base64url.
const SECRET_CHARACTERS: usize = 43;

/// One key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHash {
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// As whom its bearer is known.
    pub principal: String,
    /// Until when it is good.
    pub expires: Option<Timestamp>,
}

/// The keys of all deployments, swapped as a whole.
#[derive(Debug, Default)]
pub struct ApiKeys(ArcSwap<BTreeMap<DeploymentId, Vec<KeyHash>>>);

impl ApiKeys {
    /// Takes the keys that hold from now on.
    pub fn set(&self, keys: BTreeMap<DeploymentId, Vec<KeyHash>>) {
        self.0.store(Arc::new(keys));
    }

    /// As whom the bearer of `key` is known to the deployment, if at all. Every key of the deployment is compared, each in
    /// constant time.
    #[must_use]
    pub fn principal(&self, deployment: &DeploymentId, key: &str, now: Timestamp) -> Option<String> {
        if !is_well_formed(key) {
            return None;
        }
        let presented: [u8; 32] = Sha256::digest(key).into();
        let keys = self.0.load();
        let mut found = None;
        for kept in keys.get(deployment)? {
            let fresh = kept.expires.is_none_or(|expires| now < expires);
            if bool::from(kept.sha256.ct_eq(&presented)) && fresh {
                found = Some(&kept.principal);
            }
        }
        found.cloned()
    }
}

/// Whether it is worth hashing.
fn is_well_formed(key: &str) -> bool {
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    key.strip_prefix(PREFIX).is_some_and(|secret| secret.len() == SECRET_CHARACTERS && secret.bytes().all(base64url))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const KEY: &str = "slw_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";

    pub(crate) fn keys(deployment: &DeploymentId, key: &str, expires: Option<Timestamp>) -> ApiKeys {
        let hash = KeyHash { sha256: Sha256::digest(key).into(), principal: "api-key:key-1".to_owned(), expires };
        let keys = ApiKeys::default();
        keys.set(BTreeMap::from([(deployment.clone(), vec![hash])]));
        keys
    }

    #[test]
    fn a_key_is_good_for_its_deployment_until_it_expires() {
        let (mine, other): (DeploymentId, DeploymentId) = ("a.d".parse().unwrap(), "b.d".parse().unwrap());
        let keys = keys(&mine, KEY, Some(Timestamp(100)));
        assert_eq!(keys.principal(&mine, KEY, Timestamp(99)).as_deref(), Some("api-key:key-1"));
        assert_eq!(keys.principal(&mine, KEY, Timestamp(100)), None);
        assert_eq!(keys.principal(&other, KEY, Timestamp(99)), None);
    }

    #[test]
    fn what_is_not_the_key_is_refused() {
        let mine: DeploymentId = "a.d".parse().unwrap();
        let keys = keys(&mine, KEY, None);
        let last = format!("{}R", &KEY[..KEY.len() - 1]);
        for key in
            ["", "slw_", "SLW_", &KEY[..46], &format!("{KEY}A"), &last, &KEY.replace('a', " "), &KEY.to_lowercase()]
        {
            assert_eq!(keys.principal(&mine, key, Timestamp(0)), None, "{key}");
        }
    }
}

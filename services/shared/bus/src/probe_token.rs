//! The verified mark of validation traffic: a short-lived statement signed with the validator's own key.
//!
//! `base64url(claims) "." base64url(signature)`. Whoever knows the validator's public key can check it without asking anybody.

use crate::connect::Bus;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde::{Deserialize, Serialize};
use slipway_kernel::{DeploymentId, Timestamp};
use std::time::Duration;

/// The longest life of a mark. A stolen one is worth little after it.
const LONGEST: Duration = Duration::from_secs(600);
/// The longest text that is looked at.
const MAX_TEXT: usize = 1_024;

/// What a mark says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeClaims {
    /// Whom the traffic is for.
    pub deployment: String,
    /// Until when it holds.
    pub expires: Timestamp,
}

/// Why a mark is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeTokenError {
    /// This process holds no key to sign with.
    #[error("there is no key to sign with")]
    NoKey,
    /// Not of the form of a mark.
    #[error("the probe token cannot be read")]
    Malformed,
    /// Signed by somebody else, or altered.
    #[error("the probe token is not signed by the validator")]
    Forged,
    /// Too old, or valid for longer than any mark may be.
    #[error("the probe token has expired")]
    Expired,
    /// For another deployment.
    #[error("the probe token is for another deployment")]
    Foreign,
}

/// Issues and checks marks.
#[derive(Clone, Copy, Debug)]
pub struct ProbeToken;

impl ProbeToken {
    /// A mark for traffic to one deployment, signed with the key of `bus`.
    ///
    /// # Errors
    /// When the connection has no key.
    pub fn issue(bus: &Bus, deployment: &DeploymentId, valid_for: Duration) -> Result<String, ProbeTokenError> {
        let expires = bus.clock().now().after(valid_for.min(LONGEST));
        sign(bus.key().ok_or(ProbeTokenError::NoKey)?, deployment, expires)
    }

    /// Checks a mark against the validator's public key.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(
        token: &str,
        validator_public_key: &str,
        deployment: &DeploymentId,
        now: Timestamp,
    ) -> Result<ProbeClaims, ProbeTokenError> {
        if token.len() > MAX_TEXT {
            return Err(ProbeTokenError::Malformed);
        }
        let (body, signature) = token.split_once('.').ok_or(ProbeTokenError::Malformed)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| ProbeTokenError::Malformed);
        let (claims, signature) = (decode(body)?, decode(signature)?);
        let key = KeyPair::from_public_key(validator_public_key).map_err(|_| ProbeTokenError::Forged)?;
        key.verify(&claims, &signature).map_err(|_| ProbeTokenError::Forged)?;
        let claims: ProbeClaims = serde_json::from_slice(&claims).map_err(|_| ProbeTokenError::Malformed)?;
        if claims.expires <= now || claims.expires > now.after(LONGEST) {
            return Err(ProbeTokenError::Expired);
        }
        if claims.deployment != deployment.to_string() {
            return Err(ProbeTokenError::Foreign);
        }
        Ok(claims)
    }
}

fn sign(key: &KeyPair, deployment: &DeploymentId, expires: Timestamp) -> Result<String, ProbeTokenError> {
    let claims = ProbeClaims { deployment: deployment.to_string(), expires };
    let body = serde_json::to_vec(&claims).map_err(|_| ProbeTokenError::Malformed)?;
    let signature = key.sign(&body).map_err(|_| ProbeTokenError::NoKey)?;
    Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(body), URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn id() -> DeploymentId {
        "default.digits".parse().unwrap()
    }

    fn check(token: &str, key: &KeyPair, now: Timestamp) -> Result<ProbeClaims, ProbeTokenError> {
        ProbeToken::verify(token, &key.public_key(), &id(), now)
    }

    #[test]
    fn only_a_fresh_mark_of_the_validator_for_this_deployment_is_accepted() {
        let (validator, stranger) = (KeyPair::new_user(), KeyPair::new_user());
        let token = sign(&validator, &id(), NOW.after(Duration::from_secs(60))).unwrap();
        assert!(check(&token, &validator, NOW).is_ok());
        assert_eq!(check(&token, &stranger, NOW), Err(ProbeTokenError::Forged));
        assert_eq!(check(&token, &validator, NOW.after(Duration::from_secs(61))), Err(ProbeTokenError::Expired));
        let eternal = sign(&validator, &id(), Timestamp(u64::MAX)).unwrap();
        assert_eq!(check(&eternal, &validator, NOW), Err(ProbeTokenError::Expired));
        let other = sign(&validator, &"default.other".parse().unwrap(), NOW.after(Duration::from_secs(60))).unwrap();
        assert_eq!(check(&other, &validator, NOW), Err(ProbeTokenError::Foreign));
    }

    #[test]
    fn what_is_no_mark_is_malformed() {
        let key = KeyPair::new_user();
        for text in ["", ".", "a.b.c", "####.####", &"a".repeat(2_000)] {
            assert!(check(text, &key, NOW).is_err(), "{text:.20}");
        }
    }
}

//! The mark of validation traffic: a token signed with the validator's key, or our own for the proof that the door works.
//!
//! With it an unreleased revision can be reached, and access rules and rate limits do not apply.

use arc_swap::ArcSwapOption;
use slipway_bus::ProbeToken;
use slipway_kernel::{DeploymentId, Timestamp};
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// Who sends marked traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prober {
    /// The validator.
    Validator,
    /// This process, for its own proof.
    Ourselves,
}

impl Prober {
    /// As whom the workers and the results know it.
    #[must_use]
    pub const fn principal(self) -> &'static str {
        match self {
            Self::Validator => "service:validator",
            Self::Ourselves => "service:ingress",
        }
    }
}

/// Checks marks.
#[derive(Debug)]
pub struct Probes {
    keys: Vec<String>,
    own: String,
    /// The last mark that was good: a load test sends thousands with the same one, and a signature costs 50 µs.
    last: ArcSwapOption<Good>,
}

#[derive(Debug)]
struct Good {
    token: String,
    deployment: DeploymentId,
    expires: Timestamp,
}

impl Probes {
    /// Accepts marks signed with one of the validator's public keys.
    #[must_use]
    pub fn new(keys: Vec<String>) -> Self {
        // Two random UUIDs are 244 random bits; the mark never leaves this process.
        let own = format!("own.{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        Self { keys, own, last: ArcSwapOption::empty() }
    }

    /// Our own mark, good until this process ends.
    #[must_use]
    pub fn own(&self) -> &str {
        &self.own
    }

    /// Whose mark it is, if it is good for the deployment.
    #[must_use]
    pub fn check(&self, token: &str, deployment: &DeploymentId, now: Timestamp) -> Option<Prober> {
        if bool::from(token.as_bytes().ct_eq(self.own.as_bytes())) {
            return Some(Prober::Ourselves);
        }
        let again = |good: &Good| good.token == token && good.deployment == *deployment && now < good.expires;
        if self.last.load().as_deref().is_some_and(again) {
            return Some(Prober::Validator);
        }
        let claims = self.keys.iter().find_map(|key| ProbeToken::verify(token, key, deployment, now).ok())?;
        let good = Good { token: token.to_owned(), deployment: deployment.clone(), expires: claims.expires };
        self.last.store(Some(Arc::new(good)));
        Some(Prober::Validator)
    }
}

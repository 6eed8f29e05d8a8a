//! A secret that all replicas of a service share, without any of them having to keep or send it.

use crate::connect::Bus;
use sha2::{Digest as _, Sha256};

impl Bus {
    /// 32 bytes for `purpose`, the same for every holder of this connection's credential and unknown to everybody else. None where the
    /// connection has no credential.
    ///
    /// They are the SHA-256 of the credential's signature of the purpose: a signature of Ed25519 is always the same (RFC 8032, 5.1.6), and
    /// nothing else that is signed begins as this does.
    #[must_use]
    pub fn shared_secret(&self, purpose: &str) -> Option<[u8; 32]> {
        let signature = self.key()?.sign(format!("slipway shared secret\n{purpose}").as_bytes()).ok()?;
        Some(Sha256::digest(signature).into())
    }
}

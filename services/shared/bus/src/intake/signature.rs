//! Who sent it: the sender signs with its nkey, the bus verifies, the gate maps the key to a person and his rights. No secret travels.

use crate::wire::header;
use async_nats::HeaderMap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::{KeyPair, KeyPairType};
use sha2::{Digest as _, Sha256};

pub(super) const KEY: &str = "slipway-key";
pub(super) const SIGNATURE: &str = "slipway-signature";

/// A public key whose holder has signed the message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerifiedKey {
    /// The public user nkey (`U…`).
    pub public: String,
}

/// What a message says about its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// It is signed by the holder of this key.
    Verified(VerifiedKey),
    /// It has a signature that does not hold.
    Invalid(String),
}

/// What is signed. Source and id are in it, so that a signature cannot be carried over to another message.
fn signed(subject: &str, body: &[u8], source: &str, id: &str) -> String {
    format!("{subject}\n{}\n{source}\n{id}", hex::encode(Sha256::digest(body)))
}

/// Signs a message.
pub(super) fn sign(
    headers: &mut HeaderMap,
    key: &KeyPair,
    subject: &str,
    body: &[u8],
    source: &str,
    id: &str,
) -> Result<(), nkeys::error::Error> {
    let signature = key.sign(signed(subject, body, source, id).as_bytes())?;
    headers.insert(KEY, key.public_key());
    headers.insert(SIGNATURE, URL_SAFE_NO_PAD.encode(signature));
    Ok(())
}

/// Verifies a message.
pub(super) fn verify(headers: &HeaderMap, subject: &str, body: &[u8], source: &str, id: &str) -> Credential {
    let (key, signature) = match (header(headers, KEY), header(headers, SIGNATURE)) {
        (None, None) => return Credential::None,
        (Some(key), Some(signature)) => (key.trim(), signature.trim()),
        _ => return Credential::Invalid(format!("`{KEY}` and `{SIGNATURE}` belong together")),
    };
    let invalid = |reason: &str| Credential::Invalid(reason.to_owned());
    let Ok(pair) = KeyPair::from_public_key(key) else { return invalid("the key is no public nkey") };
    if pair.key_pair_type() != KeyPairType::User {
        return invalid("the key is no user's");
    }
    // Padding is optional in what senders write.
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')) else {
        return invalid("the signature is not base64url");
    };
    match pair.verify(signed(subject, body, source, id).as_bytes(), &signature) {
        Ok(()) => Credential::Verified(VerifiedKey { public: key.to_owned() }),
        Err(_) => invalid("the signature does not hold"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "slipway.intake.default.deploy";

    fn signed_by(key: &KeyPair) -> HeaderMap {
        let mut headers = HeaderMap::new();
        sign(&mut headers, key, SUBJECT, b"body", "ci", "1").unwrap();
        headers
    }

    #[test]
    fn a_signature_holds_for_exactly_what_was_signed() {
        let key = KeyPair::new_user();
        let headers = signed_by(&key);
        let verified = Credential::Verified(VerifiedKey { public: key.public_key() });
        assert_eq!(verify(&headers, SUBJECT, b"body", "ci", "1"), verified);
        let others: [(&str, &[u8], &str, &str); 4] = [
            ("slipway.intake.default.retire", b"body", "ci", "1"),
            (SUBJECT, b"other", "ci", "1"),
            (SUBJECT, b"body", "cj", "1"),
            (SUBJECT, b"body", "ci", "2"),
        ];
        for (subject, body, source, id) in others {
            assert!(matches!(verify(&headers, subject, body, source, id), Credential::Invalid(_)));
        }
    }

    #[test]
    fn a_key_without_a_signature_or_of_another_kind_is_invalid() {
        assert_eq!(verify(&HeaderMap::new(), SUBJECT, b"", "ci", "1"), Credential::None);
        let mut headers = signed_by(&KeyPair::new_user());
        headers.insert(KEY, KeyPair::new_user().public_key());
        assert!(matches!(verify(&headers, SUBJECT, b"body", "ci", "1"), Credential::Invalid(_)));
        headers.insert(KEY, "UNONSENSE");
        assert!(matches!(verify(&headers, SUBJECT, b"body", "ci", "1"), Credential::Invalid(_)));
        let server = KeyPair::new_server();
        assert!(matches!(verify(&signed_by(&server), SUBJECT, b"body", "ci", "1"), Credential::Invalid(_)));
        let mut alone = HeaderMap::new();
        alone.insert(KEY, server.public_key());
        assert!(matches!(verify(&alone, SUBJECT, b"", "ci", "1"), Credential::Invalid(_)));
    }
}

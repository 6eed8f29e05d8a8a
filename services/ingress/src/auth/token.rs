//! JSON Web Tokens, as RFC 8725 wants them read: the algorithm is the key's, nothing in a header is followed, every claim
//! that is relied on is required. Pure: keys and time are arguments.

use super::public_key::PublicKey;
use crate::limits;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;
use slipway_kernel::{Timestamp, spec::Jwt};
use std::{collections::BTreeMap, fmt};

/// Why a token is not accepted. For tests and debug logs: its sender is told nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url, or longer than any token.
    #[error("not a compact token")]
    Form,
    /// Header or claims are no JSON object, or hold a key twice.
    #[error("header or claims are no object with each key once")]
    Json,
    /// The header holds something that could change how it is read (`jku`, `jwk`, `x5u`, `crit`, `b64`, `zip`, `enc`…).
    #[error("a header field that is not followed")]
    Header,
    /// `alg` is none of ours.
    #[error("an algorithm that is not accepted")]
    Algorithm,
    /// `typ` is that of no access token.
    #[error("a token of another type")]
    Type,
    /// No key has that name, or none is named and there are several.
    #[error("no key of that name")]
    UnknownKey,
    /// The signature is not the key's, or the key has another algorithm.
    #[error("a wrong signature")]
    Signature,
    /// `iss` is not the issuer.
    #[error("another issuer")]
    Issuer,
    /// `aud` does not hold the audience.
    #[error("another audience")]
    Audience,
    /// `sub` is missing, empty or too long.
    #[error("no subject")]
    Subject,
    /// `exp` is missing, no whole number, past, or further away than a token may live.
    #[error("expired, or without a sensible end")]
    Expiry,
    /// `nbf` or `iat` lies in the future, or is no whole number.
    #[error("not valid yet")]
    NotYet,
    /// The claims are those of an ID token.
    #[error("an ID token, which is not meant for us")]
    IdToken,
}

/// The longest subject; OpenID Connect allows 255.
const MAX_SUBJECT: usize = 255;
/// The longest name of a key that is compared.
const MAX_KID: usize = 256;

/// A token that was read and not yet believed.
#[derive(Debug)]
pub struct Unverified<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: &'static str,
    kid: Option<String>,
    claims: Vec<u8>,
}

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(pub String);

impl Unverified<'_> {
    /// The key it names.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }
}

/// Takes a token apart. Nothing of it is believed yet.
///
/// # Errors
/// Whatever no token of ours looks like.
pub fn read(token: &str) -> Result<Unverified<'_>, TokenError> {
    if token.len() > limits::TOKEN_BYTES {
        return Err(TokenError::Form);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
    // A token with five parts is encrypted; we read none, so nothing can be unpacked either.
    if claims.contains('.') || header.is_empty() || claims.is_empty() || signature.is_empty() {
        return Err(TokenError::Form);
    }
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form);
    let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
    let mut fields = object(&header)?;
    let algorithm = match fields.remove("alg") {
        Some(Value::String(alg)) => match alg.as_str() {
            "EdDSA" => "EdDSA",
            "ES256" => "ES256",
            "RS256" => "RS256",
            _ => return Err(TokenError::Algorithm),
        },
        _ => return Err(TokenError::Algorithm),
    };
    match fields.remove("typ") {
        None => {}
        Some(Value::String(typ)) => {
            let typ = typ.to_ascii_lowercase();
            if !["jwt", "at+jwt", "application/at+jwt"].contains(&typ.as_str()) {
                return Err(TokenError::Type);
            }
        }
        Some(_) => return Err(TokenError::Type),
    }
    let kid = match fields.remove("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= MAX_KID => Some(kid),
        Some(_) => return Err(TokenError::Header),
    };
    // What is left would have to be followed, and is not: jku, jwk, x5u, x5c, crit, b64, zip, enc, cty.
    if fields.is_empty() {
        Ok(Unverified { signed, signature, algorithm, kid, claims })
    } else {
        Err(TokenError::Header)
    }
}

/// The key that must have signed the token: the one it names; if it names none, the only one.
///
/// # Errors
/// [`TokenError::UnknownKey`].
pub fn key_for<'k>(token: &Unverified<'_>, keys: &'k [PublicKey]) -> Result<&'k PublicKey, TokenError> {
    match (token.kid(), keys) {
        // A key without a name (PEM) is the only one there is, whatever the token calls it.
        (kid, [only]) if kid.is_none() || only.kid.is_none() => Ok(only),
        (None, _) => Err(TokenError::UnknownKey),
        (Some(kid), keys) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)).ok_or(TokenError::UnknownKey),
    }
}

/// Checks signature and claims.
///
/// # Errors
/// Why it is not accepted.
pub fn verify(token: &Unverified<'_>, key: &PublicKey, wanted: &Jwt, now: Timestamp) -> Result<Subject, TokenError> {
    if token.algorithm != key.algorithm.name() || !key.verifies(token.signed.as_bytes(), &token.signature) {
        return Err(TokenError::Signature);
    }
    let claims = object(&token.claims)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(&wanted.issuer) {
        return Err(TokenError::Issuer);
    }
    let meant = match claims.get("aud") {
        Some(Value::String(audience)) => *audience == wanted.audience,
        Some(Value::Array(audiences)) => audiences.iter().any(|audience| audience.as_str() == Some(&wanted.audience)),
        _ => false,
    };
    if !meant {
        return Err(TokenError::Audience);
    }
    // Claims that only ID tokens have (OpenID Connect Core, 2 and 3.1.3.6), and what Keycloak says outright.
    let id_token = ["nonce", "at_hash", "c_hash"].iter().any(|name| claims.contains_key(*name));
    if id_token || matches!(text("typ"), Some("ID" | "Refresh" | "Offline")) {
        return Err(TokenError::IdToken);
    }
    check_times(&claims, now)?;
    match text("sub") {
        Some(subject) if (1..=MAX_SUBJECT).contains(&subject.len()) => Ok(Subject(subject.to_owned())),
        _ => Err(TokenError::Subject),
    }
}

fn check_times(claims: &BTreeMap<String, Value>, now: Timestamp) -> Result<(), TokenError> {
    let now = now.0 / 1_000;
    let leeway = limits::CLOCK_LEEWAY.as_secs();
    // Whole seconds only: a fraction or a text is no date that any issuer writes.
    let expires = claims.get("exp").and_then(Value::as_u64).ok_or(TokenError::Expiry)?;
    if expires.saturating_add(leeway) <= now || expires > now + limits::TOKEN_LIFE.as_secs() {
        return Err(TokenError::Expiry);
    }
    for name in ["nbf", "iat"] {
        if let Some(value) = claims.get(name) {
            let since = value.as_u64().ok_or(TokenError::NotYet)?;
            if since > now + leeway {
                return Err(TokenError::NotYet);
            }
        }
    }
    Ok(())
}

/// A JSON object with each key once. serde_json alone would keep the last of two, other readers the first.
fn object(bytes: &[u8]) -> Result<BTreeMap<String, Value>, TokenError> {
    struct Once(BTreeMap<String, Value>);

    impl<'de> Deserialize<'de> for Once {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Fields;

            impl<'de> Visitor<'de> for Fields {
                type Value = Once;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object with each key once")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                    let mut fields = BTreeMap::new();
                    while let Some((name, value)) = entries.next_entry()? {
                        if fields.insert(name, value).is_some() {
                            return Err(A::Error::custom("a key is there twice"));
                        }
                    }
                    Ok(Once(fields))
                }
            }

            deserializer.deserialize_map(Fields)
        }
    }

    serde_json::from_slice(bytes).map(|Once(fields)| fields).map_err(|_| TokenError::Json)
}

#[cfg(test)]
pub(crate) mod tests;

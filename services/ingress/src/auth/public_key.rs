//! Public keys of token issuers. The algorithm belongs to the key and is never taken from a token.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::Deserialize;
use x509_parser::{prelude::FromDer as _, x509::SubjectPublicKeyInfo};

use crate::limits;

/// An algorithm of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// As tokens and JWKs name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// One public key.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// Its name, if the issuer gave it one.
    pub kid: Option<String>,
    /// The one algorithm it verifies.
    pub algorithm: Algorithm,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    /// The point (EdDSA, ES256), or an RSA key in DER.
    Bytes(Vec<u8>),
    /// Modulus and exponent.
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

/// Why a set of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Neither a JWK set nor a PEM public key.
    #[error("neither a JWK set nor a PEM public key: {0}")]
    Unreadable(String),
    /// Nothing in it verifies EdDSA, ES256 or RS256.
    #[error("no usable key (Ed25519, P-256, or RSA of at least 2048 bits) among {0}")]
    NoneUsable(usize),
    /// More keys than any issuer has.
    #[error("more than {} keys", limits::JWKS_KEYS)]
    TooMany,
}

impl PublicKey {
    /// Whether `signature` over `message` was made with this key.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::EdDsa => &ED25519,
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        match &self.material {
            Material::Bytes(bytes) => UnparsedPublicKey::new(algorithm, bytes).verify(message, signature).is_ok(),
            Material::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
        }
    }
}

/// Reads a JWK set or one PEM public key. Keys of other kinds, sizes and uses are passed over: an issuer may have them for
/// others.
///
/// # Errors
/// If it is neither, or no key in it can be used.
pub fn read(text: &[u8]) -> Result<Vec<PublicKey>, KeySetError> {
    let is_json = text.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
    let (found, keys) = if is_json {
        let set: JwkSet = serde_json::from_slice(text).map_err(|error| KeySetError::Unreadable(error.to_string()))?;
        (set.keys.len(), set.keys.into_iter().filter_map(jwk).collect::<Vec<_>>())
    } else {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text)
            .map_err(|error| KeySetError::Unreadable(error.to_string()))?;
        (1, spki(&der).into_iter().collect())
    };
    if found > limits::JWKS_KEYS {
        return Err(KeySetError::TooMany);
    }
    if keys.is_empty() { Err(KeySetError::NoneUsable(found)) } else { Ok(keys) }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Jwk {
    kty: String,
    crv: String,
    alg: Option<String>,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    x: String,
    y: String,
    n: String,
    e: String,
}

fn jwk(key: Jwk) -> Option<PublicKey> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let (algorithm, material) = match (key.kty.as_str(), key.crv.as_str()) {
        ("OKP", "Ed25519") => (Algorithm::EdDsa, Material::Bytes(bytes(&key.x).filter(|x| x.len() == 32)?)),
        ("EC", "P-256") => {
            let (x, y) = (bytes(&key.x)?, bytes(&key.y)?);
            let uncompressed = [&[4][..], &x, &y].concat();
            (Algorithm::Es256, Material::Bytes(Some(uncompressed).filter(|_| x.len() == 32 && y.len() == 32)?))
        }
        // ring refuses numbers with leading zeros, which some issuers write.
        ("RSA", _) => {
            let number = |text: &str| bytes(text).map(|b| b.into_iter().skip_while(|b| *b == 0).collect::<Vec<u8>>());
            let n = number(&key.n).filter(|n| n.len() >= 256)?;
            (Algorithm::Rs256, Material::Rsa { n, e: number(&key.e)? })
        }
        _ => return None,
    };
    let meant = key.alg.is_none_or(|alg| alg == algorithm.name())
        && key.r#use.is_none_or(|purpose| purpose == "sig")
        && key.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    meant.then_some(PublicKey { kid: key.kid, algorithm, material })
}

/// A subject public key info by its object identifiers (RFC 8410, RFC 5480, RFC 8017).
fn spki(der: &[u8]) -> Option<PublicKey> {
    let (_, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
    let bits = info.subject_public_key.data.to_vec();
    let curve = || info.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).map(|oid| oid.to_id_string());
    let algorithm = match info.algorithm.algorithm.to_id_string().as_str() {
        "1.3.101.112" => Algorithm::EdDsa,
        "1.2.840.10045.2.1" if curve().as_deref() == Some("1.2.840.10045.3.1.7") => Algorithm::Es256,
        "1.2.840.113549.1.1.1" => Algorithm::Rs256,
        _ => return None,
    };
    Some(PublicKey { kid: None, algorithm, material: Material::Bytes(bits) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_the_standards_verify() {
        // RFC 8037, appendix A.4 (EdDSA).
        let eddsa =
            json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] });
        let keys = read(eddsa.to_string().as_bytes()).unwrap();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert!(keys[0].verifies(message, &URL_SAFE_NO_PAD.decode(signature).unwrap()));
        // RFC 7515, appendix A.3 (ES256).
        let es256 = json!({ "keys": [{ "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" }] });
        let keys = read(es256.to_string().as_bytes()).unwrap();
        let message = b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(keys[0].verifies(message, &signature));
        assert!(!keys[0].verifies(message, &[0; 64]), "r = s = 0");
        assert!(!keys[0].verifies(message, &[]));
        assert!(!keys[0].verifies(&message[1..], &signature));
    }

    #[test]
    fn keys_for_other_uses_and_weak_ones_are_passed_over() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        for key in [
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "use": "enc" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "key_ops": ["sign"] }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "alg": "ES256" }),
            json!({ "kty": "OKP", "crv": "X25519", "x": x }),
            json!({ "kty": "oct", "k": x, "alg": "HS256" }),
            json!({ "kty": "RSA", "n": x, "e": "AQAB" }),
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": "AA" }),
        ] {
            let error = read(json!({ "keys": [key] }).to_string().as_bytes()).unwrap_err();
            assert_eq!(error, KeySetError::NoneUsable(1), "{key}");
        }
        for text in ["", "{}", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "ssh-ed25519 AAAA"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}

//! The attacks of RFC 8725 as a table, and tokens to make them with.

use super::{
    super::public_key::{self, PublicKey},
    *,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;

/// When the tokens of the table are read.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);
const SECONDS: u64 = NOW.0 / 1_000;

/// An issuer that signs with EdDSA (`ed-1`) and ES256 (`ec-1`).
pub(crate) struct Issuer {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let random = ring::rand::SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self {
            ed: Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap(),
        }
    }

    pub(crate) fn jwks(&self) -> Vec<u8> {
        let point = self.ec.public_key().as_ref();
        let keys = json!({ "keys": [
            { "kid": "ed-1", "kty": "OKP", "crv": "Ed25519", "x": b64(self.ed.public_key()) },
            { "kid": "ec-1", "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]) },
        ] });
        keys.to_string().into_bytes()
    }

    pub(crate) fn keys(&self) -> Vec<PublicKey> {
        public_key::read(&self.jwks()).unwrap()
    }

    /// Whatever is in it, signed as `alg` of the header says (with EdDSA if it says nothing we sign with).
    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = if header.contains("ES256") {
            self.ec.sign(&ring::rand::SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec()
        } else {
            self.ed.sign(signed.as_bytes()).as_ref().to_vec()
        };
        format!("{signed}.{}", b64(signature))
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// A good token that ends at `exp` (seconds).
    pub(crate) fn token(&self, exp: u64) -> String {
        let mut claims = claims();
        claims["exp"] = json!(exp);
        self.sign(&header(), &claims)
    }
}

pub(crate) fn wanted() -> Jwt {
    Jwt { issuer: "https://issuer.example".to_owned(), audience: "slipway".to_owned(), jwks: String::new() }
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "ed-1" })
}

fn claims() -> Value {
    json!({ "iss": "https://issuer.example", "aud": "slipway", "sub": "robot", "exp": SECONDS + 600, "iat": SECONDS })
}

fn with(mut value: Value, changes: &Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(name)
        } else {
            value.as_object_mut().unwrap().insert(name.clone(), change.clone())
        };
    }
    value
}

fn check(issuer: &Issuer, token: &str) -> Result<Subject, TokenError> {
    let keys = issuer.keys();
    let token = read(token)?;
    verify(&token, key_for(&token, &keys)?, &wanted(), NOW)
}

#[test]
fn a_good_token_speaks_for_its_subject() {
    let issuer = Issuer::new();
    for change in [
        json!({}),
        json!({ "typ": "JWT" }),
        json!({ "typ": "application/at+jwt" }),
        json!({ "typ": null }),
        json!({ "alg": "ES256", "kid": "ec-1" }),
    ] {
        let token = issuer.sign(&with(header(), &change), &claims());
        assert_eq!(check(&issuer, &token), Ok(Subject("robot".to_owned())), "{change}");
    }
    for change in [
        json!({ "aud": ["other", "slipway"] }),
        json!({ "exp": SECONDS - 59 }),
        json!({ "nbf": SECONDS + 60 }),
        json!({ "iat": SECONDS + 60 }),
        json!({ "iat": null }),
        json!({ "scope": "infer", "azp": "robot" }),
    ] {
        let token = issuer.sign(&header(), &with(claims(), &change));
        assert_eq!(check(&issuer, &token), Ok(Subject("robot".to_owned())), "{change}");
    }
}

#[test]
fn a_header_that_tries_something_is_refused() {
    use TokenError::{Algorithm, Header, Signature, Type, UnknownKey};
    let issuer = Issuer::new();
    for (change, error) in [
        (json!({ "alg": "none" }), Algorithm),
        (json!({ "alg": "None" }), Algorithm),
        (json!({ "alg": "nOnE" }), Algorithm),
        (json!({ "alg": "HS256" }), Algorithm),
        (json!({ "alg": "RS512" }), Algorithm),
        (json!({ "alg": "eddsa" }), Algorithm),
        (json!({ "alg": null }), Algorithm),
        (json!({ "alg": ["EdDSA"] }), Algorithm),
        // The key of that name has another algorithm.
        (json!({ "alg": "RS256" }), Signature),
        (json!({ "alg": "ES256" }), Signature),
        (json!({ "kid": "ec-1" }), Signature),
        (json!({ "kid": "ed-2" }), UnknownKey),
        (json!({ "kid": null }), UnknownKey),
        (json!({ "kid": "../../etc/passwd" }), UnknownKey),
        (json!({ "kid": "' OR 1=1 --" }), UnknownKey),
        (json!({ "kid": "https://evil.example/keys" }), UnknownKey),
        (json!({ "kid": 1 }), Header),
        (json!({ "kid": "k".repeat(300) }), Header),
        (json!({ "jku": "https://evil.example/keys" }), Header),
        (json!({ "x5u": "https://evil.example/cert" }), Header),
        (json!({ "jwk": { "kty": "oct", "k": "AA" } }), Header),
        (json!({ "x5c": ["AA"] }), Header),
        (json!({ "crit": ["b64"], "b64": false }), Header),
        (json!({ "crit": ["unknown"] }), Header),
        (json!({ "zip": "DEF" }), Header),
        (json!({ "cty": "JWT" }), Header),
        (json!({ "typ": "id_token+jwt" }), Type),
        (json!({ "typ": "logout+jwt" }), Type),
        (json!({ "typ": 1 }), Type),
    ] {
        let token = issuer.sign(&with(header(), &change), &claims());
        assert_eq!(check(&issuer, &token), Err(error), "{change}");
    }
}

#[test]
fn claims_that_do_not_fit_are_refused() {
    use TokenError::{Audience, Expiry, IdToken, Issuer as Iss, NotYet, Subject as Sub};
    let issuer = Issuer::new();
    for (change, error) in [
        (json!({ "iss": "https://issuer.example/" }), Iss),
        (json!({ "iss": "https://evil.example" }), Iss),
        (json!({ "iss": ["https://issuer.example"] }), Iss),
        (json!({ "iss": null }), Iss),
        (json!({ "aud": "other" }), Audience),
        (json!({ "aud": ["other"] }), Audience),
        (json!({ "aud": [] }), Audience),
        (json!({ "aud": { "slipway": true } }), Audience),
        (json!({ "aud": null }), Audience),
        (json!({ "exp": null }), Expiry),
        (json!({ "exp": SECONDS - 60 }), Expiry),
        (json!({ "exp": 0 }), Expiry),
        (json!({ "exp": -1 }), Expiry),
        (json!({ "exp": SECONDS as f64 + 600.5 }), Expiry),
        (json!({ "exp": (SECONDS + 600).to_string() }), Expiry),
        (json!({ "exp": 253_402_300_799_u64 }), Expiry),
        (json!({ "exp": u64::MAX }), Expiry),
        (json!({ "nbf": SECONDS + 61 }), NotYet),
        (json!({ "nbf": "soon" }), NotYet),
        (json!({ "iat": SECONDS + 61 }), NotYet),
        (json!({ "iat": 1.5 }), NotYet),
        (json!({ "sub": "" }), Sub),
        (json!({ "sub": null }), Sub),
        (json!({ "sub": 7 }), Sub),
        (json!({ "sub": "s".repeat(256) }), Sub),
        (json!({ "nonce": "n" }), IdToken),
        (json!({ "at_hash": "h" }), IdToken),
        (json!({ "typ": "ID" }), IdToken),
        (json!({ "typ": "Refresh" }), IdToken),
    ] {
        let token = issuer.sign(&header(), &with(claims(), &change));
        assert_eq!(check(&issuer, &token), Err(error), "{change}");
    }
}

#[test]
fn a_signature_that_is_not_there_or_not_of_the_key_is_refused() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let good = issuer.sign(&header(), &claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let es256 = issuer.sign(&json!({ "alg": "ES256", "kid": "ec-1" }), &claims());
    let (es256, _) = es256.rsplit_once('.').unwrap();
    for (token, error) in [
        (format!("{signed}."), TokenError::Form),
        (signed.to_owned(), TokenError::Form),
        (format!("{es256}.{}", b64([0; 64])), TokenError::Signature),
        (format!("{es256}.{}", b64([0xff; 64])), TokenError::Signature),
        (format!("{signed}.{}", b64([0; 64])), TokenError::Signature),
        (format!("{signed}.{}", b64([0; 63])), TokenError::Signature),
        (stranger.sign(&header(), &claims()), TokenError::Signature),
        // The public key as the secret of a MAC, which is what RS256 -> HS256 does.
        (issuer.sign(&with(header(), &json!({ "alg": "HS256" })), &claims()), TokenError::Algorithm),
    ] {
        assert_eq!(check(&issuer, &token), Err(error), "{token}");
    }
}

#[test]
fn what_is_no_token_is_refused_by_its_form() {
    let issuer = Issuer::new();
    let good = issuer.sign(&header(), &claims());
    let padded = good.replacen('.', "=.", 1);
    let twice_in_header = issuer.sign_text(r#"{"alg":"EdDSA","kid":"ed-1","alg":"none"}"#, &claims().to_string());
    let twice = issuer.sign_text(&header().to_string(), r#"{"sub":"a","sub":"b"}"#);
    let list = issuer.sign_text(&header().to_string(), "[1]");
    let deep = issuer.sign_text(&header().to_string(), &("{\"a\":".repeat(1_000) + "1" + &"}".repeat(1_000)));
    for (token, error) in [
        (String::new(), TokenError::Form),
        ("..".to_owned(), TokenError::Form),
        ("a.b".to_owned(), TokenError::Form),
        ("a.b.c.d.e".to_owned(), TokenError::Form),
        (format!("{good}.x"), TokenError::Form),
        (padded, TokenError::Form),
        (good.replace('.', " . "), TokenError::Form),
        ("A".repeat(1 << 20), TokenError::Form),
        (twice_in_header, TokenError::Json),
        (twice, TokenError::Json),
        (list, TokenError::Json),
        (deep, TokenError::Json),
    ] {
        assert_eq!(check(&issuer, &token), Err(error), "{token:.60}");
    }
}

/// Made with OpenSSL 3.0, whose private half was thrown away.
const RSA_N: &str = "06-wmSDQYarIS5jypLyaprh6leB5ashuUEz4YzgAiunrHrruH9w5IqQvLuAsZDuIKUMxxQCam2iNagfZzuWX_dsfNodMLqD4iGb9AXvbDpnl6dFxGr5EDwO3rXV70E25uC2YpktDulioYb5NJ-XMPbuKXDjfZFQWXpilmOs-bAN6o1n6iz7IpD71B8Z7YPINmfCE2mbPek_vTyqxdwjqfsvYVyTFAW_tZoEhHz14hJtfuzzBZUGHVKZdy9JNf51dKRjnqZ38uJknFcJbVa3Z9sQsepOEIphKInvdLks_AiOnpknYgy7IQB7CYQYb09qkV6LabwrwxX8Y7MX93XkYnQ";
const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA06+wmSDQYarIS5jypLya
prh6leB5ashuUEz4YzgAiunrHrruH9w5IqQvLuAsZDuIKUMxxQCam2iNagfZzuWX
/dsfNodMLqD4iGb9AXvbDpnl6dFxGr5EDwO3rXV70E25uC2YpktDulioYb5NJ+XM
PbuKXDjfZFQWXpilmOs+bAN6o1n6iz7IpD71B8Z7YPINmfCE2mbPek/vTyqxdwjq
fsvYVyTFAW/tZoEhHz14hJtfuzzBZUGHVKZdy9JNf51dKRjnqZ38uJknFcJbVa3Z
9sQsepOEIphKInvdLks/AiOnpknYgy7IQB7CYQYb09qkV6LabwrwxX8Y7MX93XkY
nQIDAQAB
-----END PUBLIC KEY-----
";
const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InJzYS0xIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjoic2xpcHdheSIsInN1YiI6InJvYm90IiwiZXhwIjoxNzAwMDAzNjAwLCJpYXQiOjE3MDAwMDAwMDB9.rkXyQ5cp2PacxlF3kqhXwsrIShlN26vN5i9DI23X4UEc8_4eybFNoic9_T9bkd0pRV959khW7Lms-J3Ne_iP7y3Cayz4Ovz2CEyKprR8H1M1ZQD85tuTXfet6eiVb_tQQblw2FfwlgD0u_YrY5CRjPgHb5Ov0LzQN045YR_8G5xFFsQfsmhi_pr-2ojIqWj_NllsUgm26TyM_Qy7MtI_AhbeZQYUn9n-peSc9EizkiLO1TH-3xKIoJSCGH0NNVrLMBIVTDdNxGfJv06ZGNyyS64nhF7F5ln9wdWyLagU84RzWK9pX_3w01UwVKj_BwKXK9gNSU2pwZP9v0dekH-TRA";

#[test]
fn a_token_of_another_implementation_is_accepted_by_its_key_as_jwk_and_as_pem() {
    let jwks = |e: &str| json!({ "keys": [{ "kid": "rsa-1", "kty": "RSA", "n": RSA_N, "e": e, "alg": "RS256" }] });
    for set in [jwks("AQAB").to_string(), jwks("AAEAAQ").to_string(), RSA_PEM.to_owned()] {
        let keys = public_key::read(set.as_bytes()).unwrap();
        let token = read(RSA_TOKEN).unwrap();
        let subject = verify(&token, key_for(&token, &keys).unwrap(), &wanted(), NOW);
        assert_eq!(subject, Ok(Subject("robot".to_owned())));
        let altered = RSA_TOKEN.replace("4eybF", "4eybG");
        let token = read(&altered).unwrap();
        let refused = verify(&token, key_for(&token, &keys).unwrap(), &wanted(), NOW);
        assert_eq!(refused, Err(TokenError::Signature));
    }
}

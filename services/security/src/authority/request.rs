//! Reading certificate requests (PKCS#10). Nothing is decided here.

use crate::domain::identity::{Key, RequestFacts, Unreadable};
use rcgen::SubjectPublicKeyInfo;
use std::net::IpAddr;
use x509_parser::{
    prelude::{FromDer as _, GeneralName, ParsedExtension, X509CertificationRequest},
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo as ParsedKey,
};

/// The largest request, as text. One with an RSA key of 8192 bits and a dozen names is below 4 KiB.
const MAX_BYTES: usize = 16 << 10;

/// What stands in a request, and its public key if it is of a kind that can be certified.
///
/// # Errors
/// When it is no request.
pub(crate) fn read(csr_pem: &str) -> Result<(Option<SubjectPublicKeyInfo>, RequestFacts), Unreadable> {
    let unreadable = |why: String| Unreadable(why);
    if csr_pem.len() > MAX_BYTES {
        return Err(unreadable(format!("{} bytes, at most {MAX_BYTES}", csr_pem.len())));
    }
    let (_, block) =
        x509_parser::pem::parse_x509_pem(csr_pem.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
    if block.label != "CERTIFICATE REQUEST" && block.label != "NEW CERTIFICATE REQUEST" {
        return Err(unreadable("the PEM block is no certificate request".to_owned()));
    }
    let (rest, request) =
        X509CertificationRequest::from_der(&block.contents).map_err(|error| unreadable(error.to_string()))?;
    if !rest.is_empty() {
        return Err(unreadable("something follows the request".to_owned()));
    }
    let parsed_key = &request.certification_request_info.subject_pki;
    let mut facts = RequestFacts {
        key: kind(parsed_key),
        signed: request.verify_signature().is_ok(),
        uris: Vec::new(),
        hosts: Vec::new(),
        addresses: Vec::new(),
        other_names: 0,
        authority: false,
    };
    for extension in request.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    note(&mut facts, name);
                }
            }
            ParsedExtension::BasicConstraints(constraints) => facts.authority |= constraints.ca,
            ParsedExtension::KeyUsage(usage) => facts.authority |= usage.key_cert_sign() || usage.crl_sign(),
            // What else is wished for is not looked at: certificates are made from what was granted.
            _ => {}
        }
    }
    Ok((SubjectPublicKeyInfo::from_der(parsed_key.raw).ok(), facts))
}

fn note(facts: &mut RequestFacts, name: &GeneralName<'_>) {
    match name {
        GeneralName::URI(uri) => facts.uris.push((*uri).to_owned()),
        GeneralName::DNSName(host) => facts.hosts.push((*host).to_owned()),
        GeneralName::IPAddress(bytes) => match address(bytes) {
            Some(address) => facts.addresses.push(address),
            None => facts.other_names += 1,
        },
        _ => facts.other_names += 1,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// By the algorithm the key itself names; the curve's points have that curve's size.
fn kind(key: &ParsedKey<'_>) -> Key {
    const EC: &str = "1.2.840.10045.2.1";
    const P256: &str = "1.2.840.10045.3.1.7";
    const P384: &str = "1.3.132.0.34";
    const ED25519: &str = "1.3.101.112";
    let parameter =
        || key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok()).map(|oid| oid.to_id_string());
    let length = key.subject_public_key.data.len();
    match key.algorithm.algorithm.to_id_string().as_str() {
        EC => match (parameter().as_deref(), length) {
            // An uncompressed point: a mark and two coordinates.
            (Some(P256), 65) => Key::P256,
            (Some(P384), 97) => Key::P384,
            _ => Key::Other,
        },
        ED25519 if length == 32 => Key::Ed25519,
        _ => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => Key::Rsa(rsa.key_size()),
            _ => Key::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use rcgen::{
        BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType,
        SignatureAlgorithm, string::Ia5String,
    };
    use slipway_kernel::Service;
    use slipway_runtime::tls::{KeyAndRequest, SpiffeId};

    fn request(algorithm: &'static SignatureAlgorithm, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    #[test]
    fn a_request_as_the_mesh_makes_them_is_read_whole() {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let made = KeyAndRequest::generate(&SpiffeId::Service(Service::Ingress), &names).unwrap();
        let (key, facts) = read(&made.csr_pem).unwrap();
        assert!(key.is_some());
        assert_eq!(
            facts,
            RequestFacts {
                key: Key::P256,
                signed: true,
                uris: vec!["spiffe://slipway/service/ingress".to_owned()],
                hosts: vec!["localhost".to_owned()],
                addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
                other_names: 0,
                authority: false,
            }
        );
    }

    #[test]
    fn kinds_of_keys_are_told_apart() {
        assert_eq!(read(&request(&PKCS_ECDSA_P384_SHA384, |_| ())).unwrap().1.key, Key::P384);
        assert_eq!(read(&request(&PKCS_ED25519, |_| ())).unwrap().1.key, Key::Ed25519);
    }

    #[test]
    fn what_goes_beyond_an_identity_is_seen() {
        let wants = read(&request(&PKCS_ED25519, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.subject_alt_names.push(SanType::Rfc822Name(Ia5String::try_from("a@b.example").unwrap()));
        }));
        let facts = wants.unwrap().1;
        assert!(facts.authority);
        assert_eq!(facts.other_names, 1);
    }

    #[test]
    fn a_request_signed_by_another_key_is_not_signed() {
        let pem = request(&PKCS_ED25519, |_| ());
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let mut der = block.contents;
        *der.last_mut().unwrap() ^= 1;
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let altered = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
        assert!(read(&pem).unwrap().1.signed);
        assert!(!read(&altered).unwrap().1.signed);
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_reason() {
        let pem = request(&PKCS_ED25519, |_| ());
        let truncated = &pem[..pem.len() / 2];
        let large = format!("{pem}{}", "\n".repeat(20 << 10));
        let key = KeyPair::generate().unwrap().serialize_pem();
        for text in ["", "x", truncated, large.as_str(), key.as_str()] {
            assert!(read(text).is_err(), "{}", &text[..text.len().min(40)]);
        }
    }
}

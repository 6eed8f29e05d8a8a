//! Making certificates: the authority's own, and those it signs. Everything in them is decided here; of a request only its
//! public key is taken.

use crate::domain::{
    authority::Term,
    identity::{Grant, PeerId, Usage},
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, date_time_ymd, string::Ia5String,
};
use slipway_kernel::Timestamp;
use slipway_runtime::tls::SpiffeId;
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Clocks of one mesh may differ by this much: a certificate is valid from a little before it was made.
pub(crate) const SKEW: Duration = Duration::from_secs(300);

/// Bytes of a serial number: 159 random bits, the most that fit the 20 bytes of RFC 5280 as a positive number.
const SERIAL_BYTES: usize = 20;

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Making it failed.
    #[error("the certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// A name cannot stand in a certificate.
    #[error("{0:?} cannot stand in a certificate")]
    Name(String),
    /// It cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Read(String),
    /// The key is not the certificate's.
    #[error("key and certificate do not belong together")]
    Mismatch,
}

/// One of the authority's certificates with its key.
pub(crate) struct Signer {
    issuer: Issuer<'static, KeyPair>,
    /// The certificate.
    pub(crate) pem: String,
    /// Its times.
    pub(crate) term: Term,
}

/// A fresh key and certificate of the authority, as text.
pub(crate) struct Made {
    pub(crate) key_pem: String,
    pub(crate) pem: String,
}

/// Makes a new key and certificate of the authority, valid from `now` for `lifetime`.
pub(crate) fn make_authority(now: Timestamp, lifetime: Duration) -> Result<Made, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "slipway");
    // Tells authorities apart that follow each other.
    params.distinguished_name.push(DnType::CommonName, format!("slipway authority {}", now.0 / 1_000));
    // It signs members of the mesh, never another authority.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial());
    valid(&mut params, now, SKEW, now.after(lifetime));
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok(Made { key_pem: key.serialize_pem(), pem })
}

impl Signer {
    /// From what was kept.
    ///
    /// # Errors
    /// When one of them cannot be read or they do not belong together.
    pub(crate) fn read(pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pem(key_pem)?;
        let (term, public_key) = inspect(pem)?;
        if key.public_key_raw() != public_key {
            return Err(CertificateError::Mismatch);
        }
        Ok(Self { issuer: Issuer::from_ca_cert_pem(pem, key)?, pem: pem.to_owned(), term })
    }

    /// Signs what was granted, for the holder of `key`, until `lifetime` from `now` or the authority's own end.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate or signing fails.
    pub(crate) fn sign(
        &self,
        grant: &Grant,
        key: &impl PublicKeyData,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<(String, Timestamp), CertificateError> {
        // Whole seconds, as certificates have them.
        let until = now.after(lifetime).min(self.term.until);
        let until = Timestamp(until.0 / 1_000 * 1_000);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "slipway");
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match grant.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.serial_number = Some(serial());
        params.subject_alt_names = names(grant)?;
        // Holders renew by the share of the whole life that is over: what lies before `now` must be a small part of it.
        valid(&mut params, now, SKEW.min(lifetime / 10), until);
        let certificate: Certificate = params.signed_by(key, &self.issuer)?;
        Ok((certificate.pem(), until))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("term", &self.term).finish_non_exhaustive()
    }
}

/// The times of a certificate of the authority and its public key.
pub(super) fn inspect(pem: &str) -> Result<(Term, Vec<u8>), CertificateError> {
    let unreadable = |reason: String| CertificateError::Read(reason);
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).map_err(|error| unreadable(error.to_string()))?;
    let validity = certificate.validity();
    let millis = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000));
    let since = millis(validity.not_before.timestamp()).after(SKEW);
    let term = Term { since, until: millis(validity.not_after.timestamp()) };
    Ok((term, certificate.public_key().subject_public_key.data.to_vec()))
}

fn names(grant: &Grant) -> Result<Vec<SanType>, CertificateError> {
    let text = |text: &str| Ia5String::try_from(text).map_err(|_| CertificateError::Name(text.to_owned()));
    let mut names = vec![SanType::URI(text(&spiffe(&grant.id).to_string())?)];
    for host in &grant.hosts {
        names.push(SanType::DnsName(text(host)?));
    }
    names.extend(grant.addresses.iter().copied().map(SanType::IpAddress));
    Ok(names)
}

/// The id as certificates hold it.
pub(crate) fn spiffe(id: &PeerId) -> SpiffeId {
    match id.clone() {
        PeerId::Service(service) => SpiffeId::Service(service),
        PeerId::Revision { deployment, revision } => SpiffeId::Revision { deployment, revision },
    }
}

/// The id as the decisions know it.
pub(crate) fn peer(id: SpiffeId) -> PeerId {
    match id {
        SpiffeId::Service(service) => PeerId::Service(service),
        SpiffeId::Revision { deployment, revision } => PeerId::Revision { deployment, revision },
    }
}

/// Sets the times of a certificate: from `skew` before `now` until `until`.
fn valid(params: &mut CertificateParams, now: Timestamp, skew: Duration, until: Timestamp) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.0 / 1_000).saturating_sub(skew);
    params.not_after = epoch + Duration::from_secs(until.0 / 1_000);
}

fn serial() -> SerialNumber {
    let mut bytes = rand::random::<[u8; SERIAL_BYTES]>();
    // Positive, and as long as the rest of it says.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{authority::request, domain::identity::RequestFacts};
    use rcgen::SubjectPublicKeyInfo;
    use slipway_kernel::Service;
    use slipway_runtime::tls::{Identity, KeyAndRequest};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn signer(lifetime: Duration) -> Signer {
        let made = make_authority(NOW, lifetime).unwrap();
        Signer::read(&made.pem, &made.key_pem).unwrap()
    }

    fn asked(id: &PeerId, names: &[&str]) -> (KeyAndRequest, SubjectPublicKeyInfo, RequestFacts) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = KeyAndRequest::generate(&spiffe(id), &names).unwrap();
        let (key, facts) = request::read(&made.csr_pem).unwrap();
        (made, key.unwrap(), facts)
    }

    #[test]
    fn what_is_signed_says_what_was_granted_and_nothing_of_what_was_asked() {
        let id = PeerId::Service(Service::Ingress);
        let (made, key, _) = asked(&id, &["evil.example", "10.0.0.1"]);
        let grant = Grant {
            id: id.clone(),
            usage: Usage::Both,
            addresses: vec!["127.0.0.1".parse().unwrap()],
            hosts: vec!["localhost".to_owned()],
        };
        let (pem, until) = signer(10 * DAY).sign(&grant, &key, NOW, DAY).unwrap();
        assert_eq!(until, NOW.after(DAY));
        let identity = Identity::from_pem(&pem, &made.key_pem).unwrap();
        assert_eq!(*identity.spiffe_id(), spiffe(&id));
        assert_eq!((identity.not_before(), identity.not_after()), (Timestamp(NOW.0 - 300_000), until));
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&block.contents).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        let text = format!("{:?}", names.value.general_names);
        assert!(text.contains("localhost") && text.contains("[127, 0, 0, 1]"), "{text}");
        assert!(!text.contains("evil") && names.value.general_names.len() == 3, "{text}");
        assert!(!certificate.is_ca());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth && !usage.any);
    }

    #[test]
    fn each_usage_is_certified_as_such() {
        let id = PeerId::Service(Service::Validator);
        let (_, key, _) = asked(&id, &[]);
        for (usage, server, client) in [(Usage::Server, true, false), (Usage::Client, false, true)] {
            let grant = Grant { id: id.clone(), usage, addresses: Vec::new(), hosts: Vec::new() };
            let (pem, _) = signer(DAY).sign(&grant, &key, NOW, DAY).unwrap();
            let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
            let (_, certificate) = X509Certificate::from_der(&block.contents).unwrap();
            let found = certificate.extended_key_usage().unwrap().unwrap().value;
            assert_eq!((found.server_auth, found.client_auth), (server, client));
        }
    }

    #[test]
    fn nothing_outlives_the_authority_and_no_two_serial_numbers_are_alike() {
        let id = PeerId::Service(Service::Ingress);
        let (_, key, _) = asked(&id, &[]);
        let grant = Grant { id, usage: Usage::Both, addresses: Vec::new(), hosts: Vec::new() };
        let signer = signer(DAY / 2);
        let (first, until) = signer.sign(&grant, &key, NOW, DAY).unwrap();
        assert_eq!(until, signer.term.until);
        assert_eq!(signer.term, Term { since: NOW, until: NOW.after(DAY / 2) });
        let (second, _) = signer.sign(&grant, &key, NOW, DAY).unwrap();
        let serial = |pem: &str| {
            let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
            let (_, certificate) = X509Certificate::from_der(&block.contents).unwrap();
            certificate.raw_serial().to_vec()
        };
        assert_ne!(serial(&first), serial(&second));
        assert_eq!(serial(&first).len(), SERIAL_BYTES);
    }

    #[test]
    fn a_key_that_is_not_the_certificates_is_refused() {
        let (one, two) = (make_authority(NOW, DAY).unwrap(), make_authority(NOW, DAY).unwrap());
        assert!(matches!(Signer::read(&one.pem, &two.key_pem), Err(CertificateError::Mismatch)));
        assert!(Signer::read("no certificate", &one.key_pem).is_err());
        assert!(Signer::read(&one.pem, "no key").is_err());
        assert!(!format!("{:?}", Signer::read(&one.pem, &one.key_pem).unwrap()).contains("PRIVATE"));
    }
}

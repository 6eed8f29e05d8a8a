//! A key that never leaves its process, and the request for a certificate.

use super::{SpiffeId, TlsError};
use crate::config::Secret;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, string::Ia5String};
use std::net::IpAddr;

/// A fresh key (ECDSA P-256) and the request that goes to the authority.
#[derive(Clone, Debug)]
pub struct KeyAndRequest {
    /// The key, PKCS#8 PEM.
    pub key_pem: Secret,
    /// The request (CSR), PEM: the id as URI, and the names.
    pub csr_pem: String,
}

impl KeyAndRequest {
    /// Makes both. `names` are DNS names and IP addresses for clients that know only those (browsers, probes).
    ///
    /// # Errors
    /// When a name is none, or there is no randomness.
    pub fn generate(id: &SpiffeId, names: &[String]) -> Result<Self, TlsError> {
        let uri = id.to_string();
        let uri = Ia5String::try_from(uri.as_str()).map_err(|_| TlsError::Id { id: uri.clone() })?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = std::iter::once(Ok(SanType::URI(uri)))
            .chain(names.iter().map(|name| alternative_name(name)))
            .collect::<Result<_, _>>()?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "slipway");
        let key = KeyPair::generate().map_err(TlsError::Request)?;
        let csr_pem = params.serialize_request(&key).and_then(|request| request.pem()).map_err(TlsError::Request)?;
        Ok(Self { key_pem: Secret::from(key.serialize_pem()), csr_pem })
    }
}

fn alternative_name(name: &str) -> Result<SanType, TlsError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refuse = || TlsError::Name { name: name.to_owned() };
    rustls::pki_types::DnsName::try_from(name).map_err(|_| refuse())?;
    Ia5String::try_from(name).map(SanType::DnsName).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Service;
    use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509CertificationRequest};

    #[test]
    fn a_request_holds_the_id_and_the_names_and_no_key() {
        let id = SpiffeId::Service(Service::Ingress);
        let made = KeyAndRequest::generate(&id, &["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        assert!(made.csr_pem.contains("CERTIFICATE REQUEST") && !made.csr_pem.contains("PRIVATE"));
        assert!(!format!("{made:?}").contains("PRIVATE"));
        let (_, pem) = x509_parser::pem::parse_x509_pem(made.csr_pem.as_bytes()).unwrap();
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
        let names: Vec<String> = request
            .requested_extensions()
            .unwrap()
            .filter_map(|extension| match extension {
                ParsedExtension::SubjectAlternativeName(names) => Some(names),
                _ => None,
            })
            .flat_map(|names| &names.general_names)
            .map(|name| match name {
                GeneralName::URI(uri) => (*uri).to_owned(),
                GeneralName::DNSName(name) => (*name).to_owned(),
                GeneralName::IPAddress(bytes) => format!("{bytes:?}"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(names, ["spiffe://slipway/service/ingress", "localhost", "[127, 0, 0, 1]"]);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "a b", "ä", "1.2.3.4.5", "host:80"] {
            let made = KeyAndRequest::generate(&SpiffeId::Service(Service::Ingress), &[name.to_owned()]);
            assert!(made.is_err(), "{name}");
        }
    }
}

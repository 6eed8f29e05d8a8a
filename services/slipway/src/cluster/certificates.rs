//! The broker's authority, and the certificate that it gives the broker.

use super::objects::{CA, CERTIFICATE, Data, KEY};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd, string::Ia5String,
};
use slipway_kernel::Timestamp;
use std::{collections::BTreeSet, net::IpAddr, time::Duration};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

const DAY: Duration = Duration::from_secs(86_400);
/// Clocks of one cluster may differ by this much.
const SKEW: Duration = Duration::from_secs(300);
/// How long the authority holds. Nobody replaces it without everybody who connects from outside being told, so it is long; its key is in a Secret
/// that nobody mounts.
const AUTHORITY: Duration = DAY.saturating_mul(3_650);
/// How long a certificate of the broker holds. A third of it is time enough for whatever keeps this from running.
const SERVER: Duration = DAY.saturating_mul(365);

/// A new authority: its certificate and key.
pub(super) fn make_authority(now: Timestamp) -> Result<Data, rcgen::Error> {
    let mut params = params(&format!("slipway broker authority {}", now.0 / 1_000), now, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok([(CA.to_owned(), pem), ("ca.key".to_owned(), key.serialize_pem())].into())
}

/// A certificate for these names, given by the authority in `authority`, with its key. The servers show it to clients and to each other.
pub(super) fn make_server(authority: &Data, names: &BTreeSet<String>, now: Timestamp) -> Result<Data, rcgen::Error> {
    let text = |file: &str| authority.get(file).map(String::as_str).unwrap_or_default();
    let issuer = Issuer::from_ca_cert_pem(text(CA), KeyPair::from_pem(text("ca.key"))?)?;
    let mut params = params("slipway broker", now, SERVER);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(Ia5String::try_from(name.as_str())?),
        });
    }
    let key = KeyPair::generate()?;
    let pem = params.signed_by(&key, &issuer)?.pem();
    Ok([(CERTIFICATE.to_owned(), pem), (KEY.to_owned(), key.serialize_pem()), (CA.to_owned(), text(CA).to_owned())]
        .into())
}

/// Whether the certificate in `server` is one of this authority, for these names, and holds for long enough.
pub(super) fn is_good(server: &Data, authority: &Data, names: &BTreeSet<String>, now: Timestamp) -> bool {
    let read = server.get(CERTIFICATE).and_then(|pem| inspect(pem));
    let renewed_at = |until: Timestamp| Timestamp(until.0.saturating_sub(millis(SERVER / 3)));
    server.contains_key(KEY)
        && server.get(CA) == authority.get(CA)
        && read.is_some_and(|(until, found)| now < renewed_at(until) && found == *names)
}

/// Until when a certificate holds, and for which names.
fn inspect(pem: &str) -> Option<(Timestamp, BTreeSet<String>)> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
    let until = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    Some((Timestamp(until.saturating_mul(1_000)), names.value.general_names.iter().filter_map(name).collect()))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn params(name: &str, now: Timestamp, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "slipway");
    params.distinguished_name.push(DnType::CommonName, name);
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.0 / 1_000).saturating_sub(SKEW);
    params.not_after = epoch + Duration::from_secs(now.0 / 1_000) + lifetime;
    params
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_good_for_its_names_its_authority_and_two_thirds_of_its_life() {
        let (authority, other) = (make_authority(NOW).unwrap(), make_authority(NOW).unwrap());
        let wanted = names(&["nats.slipway.svc", "*.nats-headless.slipway.svc", "127.0.0.1", "localhost", "fd00::7"]);
        let server = make_server(&authority, &wanted, NOW).unwrap();
        assert!(is_good(&server, &authority, &wanted, NOW));
        assert!(is_good(&server, &authority, &wanted, NOW.after(DAY * 240)));
        assert!(!is_good(&server, &authority, &wanted, NOW.after(DAY * 250)));
        assert!(!is_good(&server, &authority, &names(&["localhost"]), NOW));
        assert!(!is_good(&server, &other, &wanted, NOW));
        assert!(!is_good(&Data::new(), &authority, &wanted, NOW));
    }

    #[test]
    fn who_trusts_the_authority_trusts_the_certificate() {
        let authority = make_authority(NOW).unwrap();
        let server = make_server(&authority, &names(&["localhost"]), NOW).unwrap();
        let der = |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents;
        let (issuer, own) = (der(&authority[CA]), der(&server[CERTIFICATE]));
        let (_, issuer) = X509Certificate::from_der(&issuer).unwrap();
        let (_, own) = X509Certificate::from_der(&own).unwrap();
        assert_eq!(own.issuer(), issuer.subject());
        assert!(issuer.is_ca() && !own.is_ca());
        let usage = own.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth);
    }
}

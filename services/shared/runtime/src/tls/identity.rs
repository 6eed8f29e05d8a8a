//! A key with its certificate, and who a certificate says someone is.

use super::{SpiffeId, TlsError, provider};
use crate::config::Secret;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use slipway_kernel::Timestamp;
use std::{fmt, sync::Arc};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Who this process is: a key, the chain that proves it, and what stands in the chain's first certificate.
#[derive(Clone)]
pub struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    id: SpiffeId,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Identity {
    /// From the chain (the process's own certificate first) and the key, both PEM.
    ///
    /// # Errors
    /// When one of them cannot be read, they do not belong together, or the certificate holds no id of the mesh.
    pub fn from_pem(chain_pem: &str, key_pem: &Secret) -> Result<Self, TlsError> {
        let chain = certificates(chain_pem)?;
        let id = peer_id(&chain)?;
        let (not_before, not_after) = validity(&chain)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.expose().as_bytes())
            .map_err(|error| TlsError::Pem { what: "private key", reason: error.to_string() })?;
        let key = provider().key_provider.load_private_key(key)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match()?;
        Ok(Self { certified: Arc::new(certified), id, not_before, not_after })
    }

    /// Who.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.id
    }

    /// From when the certificate holds.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Until when the certificate holds.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// When to ask for the next one: after two thirds of its life, so that an authority that is away for a third of it is
    /// not missed.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        Timestamp(self.not_before.0 + self.not_after.0.saturating_sub(self.not_before.0) / 3 * 2)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Who a peer is, by the certificates it showed (its own first). Only of a connection whose chain was verified does this
/// mean anything.
///
/// # Errors
/// When there is none, it cannot be read, or it does not hold exactly one id of the mesh.
pub fn peer_id(certificates: &[CertificateDer<'_>]) -> Result<SpiffeId, TlsError> {
    let certificate = parsed(certificates)?;
    let names = certificate.subject_alternative_name().map_err(|error| TlsError::Certificate(error.to_string()))?;
    let ids: Vec<&str> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    match *ids {
        [id] => id.parse(),
        _ => Err(TlsError::Ids { found: ids.len() }),
    }
}

/// All certificates of a PEM text; none is an error.
pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |reason: String| TlsError::Pem { what: "certificate", reason };
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(error.to_string()))?;
    if chain.is_empty() { Err(fail("there is none".to_owned())) } else { Ok(chain) }
}

fn parsed<'a>(certificates: &'a [CertificateDer<'_>]) -> Result<X509Certificate<'a>, TlsError> {
    let own = certificates.first().ok_or(TlsError::NoCertificate)?;
    let (_, certificate) = X509Certificate::from_der(own).map_err(|error| TlsError::Certificate(error.to_string()))?;
    Ok(certificate)
}

fn validity(chain: &[CertificateDer<'_>]) -> Result<(Timestamp, Timestamp), TlsError> {
    let certificate = parsed(chain)?;
    let validity = certificate.validity();
    // A time before 1970 is as good as 1970: long past.
    let millis = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000));
    Ok((millis(validity.not_before.timestamp()), millis(validity.not_after.timestamp())))
}

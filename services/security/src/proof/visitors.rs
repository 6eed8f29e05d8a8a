//! Those who knock: what each of them shows.
//!
//! The ingress's identity is made here for the occasion: a proof must show that whoever has it gets in, and who has it is for
//! the authority to say. Its key stays in this process and it ends within minutes.

use super::knock;
use crate::{
    authority::{
        Authority, AuthorityError,
        certificate::{CertificateError, Signer, make_authority, spiffe},
        request,
    },
    domain::{
        identity::{Grant, PeerId, Usage},
        proof::{Knock, Visitor},
    },
};
use rustls::{ClientConfig, SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};
use slipway_kernel::{Service, Timestamp};
use slipway_runtime::tls::{Identity, KeyAndRequest, Reloadable, SpiffeId};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// How long what is made for a proof is valid: longer than any proof takes.
const LIFETIME: Duration = Duration::from_secs(300);

/// Everybody who knocks.
#[derive(Clone, Debug)]
pub(crate) struct Visitors {
    ingress: Reloadable,
    other_service: Reloadable,
    foreign: Reloadable,
}

impl Visitors {
    /// With credentials made for this proof.
    ///
    /// # Errors
    /// When there is no authority, or no randomness.
    pub(crate) fn new(authority: &Authority, now: Timestamp) -> Result<Self, AuthorityError> {
        let own = |service: Service| authority.own(&PeerId::Service(service), Usage::Client, now, LIFETIME);
        let bundle = authority.bundle().ok_or(AuthorityError::Absent)?;
        Ok(Self {
            ingress: own(Service::Ingress)?,
            // Security itself calls no worker but to be refused.
            other_service: own(Service::Security)?,
            foreign: Reloadable::new(forged(now)?, &bundle)?,
        })
    }

    /// Knocks once, within `bound`.
    pub(crate) async fn knock(
        &self,
        visitor: Visitor,
        address: SocketAddr,
        expected: &SpiffeId,
        bound: Duration,
    ) -> Knock {
        let shown = match visitor {
            Visitor::Plaintext => return knock::plain(address, bound).await,
            Visitor::NoCertificate => self.ingress.client_config(expected.clone()).map(|config| nameless(&config)),
            Visitor::ForeignAuthority => self.foreign.client_config(expected.clone()),
            Visitor::OtherService => self.other_service.client_config(expected.clone()),
            Visitor::Ingress => self.ingress.client_config(expected.clone()),
        };
        match (visitor, shown) {
            (_, Err(error)) => Knock::Undecided(crate::error::chain(&error)),
            (Visitor::Ingress, Ok(config)) => knock::call(address, config, bound).await,
            (_, Ok(config)) => knock::shake(address, config, bound).await,
        }
    }
}

/// The ingress's identity, vouched for by somebody else.
fn forged(now: Timestamp) -> Result<Identity, AuthorityError> {
    let made = make_authority(now, LIFETIME)?;
    let signer = Signer::read(&made.pem, &made.key_pem)?;
    let id = PeerId::Service(Service::Ingress);
    let asked = KeyAndRequest::generate(&spiffe(&id), &[])?;
    let unreadable = |why: String| AuthorityError::Certificate(CertificateError::Read(why));
    let (key, _) = request::read(&asked.csr_pem).map_err(|error| unreadable(error.0))?;
    let key = key.ok_or_else(|| unreadable("the forged key is of no kind that can be certified".to_owned()))?;
    let grant = Grant { id, usage: Usage::Client, addresses: Vec::new(), hosts: Vec::new() };
    let (pem, _) = signer.sign(&grant, &key, now, LIFETIME)?;
    Ok(Identity::from_pem(&pem, &asked.key_pem)?)
}

/// The same client, showing nothing.
fn nameless(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(Nobody);
    Arc::new(config)
}

/// Has no certificate.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

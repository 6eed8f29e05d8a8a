//! The identity and the trust of a process, replaceable while it serves.

use super::{
    Identity, SpiffeId, TlsError,
    identity::certificates,
    provider,
    verify::{ClientMay, ServerIs},
};
use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::TLS13,
};
use std::sync::Arc;

/// What new handshakes use. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Reloadable(Arc<State>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) identity: ArcSwap<Identity>,
    pub(super) trust: ArcSwap<Trust>,
}

/// The authority's certificates; several while one replaces the other.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    fn from_pem(bundle: &str) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(bundle)? {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .build()
            .map_err(|error| TlsError::Trust(error.to_string()))?;
        Ok(Self { roots, clients })
    }
}

impl Reloadable {
    /// With an identity and the authority's certificates (PEM).
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(identity: Identity, ca_bundle_pem: &str) -> Result<Self, TlsError> {
        let trust = Trust::from_pem(ca_bundle_pem)?;
        Ok(Self(Arc::new(State { identity: ArcSwap::from_pointee(identity), trust: ArcSwap::from_pointee(trust) })))
    }

    /// Takes a new identity for handshakes from now on.
    pub fn set_identity(&self, identity: Identity) {
        self.0.identity.store(Arc::new(identity));
    }

    /// Trusts these certificates from now on, and no others. Connections that stand, stand.
    ///
    /// # Errors
    /// When the certificates cannot be used; then those before stay.
    pub fn set_trust(&self, ca_bundle_pem: &str) -> Result<(), TlsError> {
        self.0.trust.store(Arc::new(Trust::from_pem(ca_bundle_pem)?));
        Ok(())
    }

    /// The identity in use.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.0.identity.load_full()
    }

    /// For a server that lets in only who shows a certificate of the authority with an id that `allow` accepts.
    ///
    /// # Errors
    /// When rustls does not accept the settings.
    pub fn server_config(
        &self,
        allow: impl Fn(&SpiffeId) -> bool + Send + Sync + 'static,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let verifier = ClientMay { state: Arc::clone(&self.0), allow: Box::new(allow) };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(Own(Arc::clone(&self.0))));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = protocols();
        Ok(Arc::new(config))
    }

    /// For a client that talks only to `expected`, and shows this identity.
    ///
    /// # Errors
    /// When rustls does not accept the settings.
    pub fn client_config(&self, expected: SpiffeId) -> Result<Arc<ClientConfig>, TlsError> {
        let verifier = ServerIs::new(Arc::clone(&self.0), expected);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            // "Dangerous" is rustls' name for any verifier of one's own; ours checks the chain with webpki all the same.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(Own(Arc::clone(&self.0))));
        config.resumption = Resumption::disabled();
        config.alpn_protocols = protocols();
        Ok(Arc::new(config))
    }
}

/// gRPC first, HTTP/1.1 for probes.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// Shows the identity of the moment.
#[derive(Debug)]
struct Own(Arc<State>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.identity.load().certified))
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.identity.load().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

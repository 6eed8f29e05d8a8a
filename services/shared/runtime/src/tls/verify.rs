//! The two verifiers: the chain by webpki, as everywhere, and then the id.

use super::{SpiffeId, identity::peer_id, provider, reload::State};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::{fmt, sync::Arc};

/// The peer is a part of the mesh, and not one that was wanted here.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer is {found}, wanted is {wanted}")]
pub struct WrongIdentity {
    /// Who it is.
    pub found: SpiffeId,
    /// Who was wanted.
    pub wanted: String,
}

// rustls shows what a verifier says in its debug form.
impl fmt::Debug for WrongIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn refuse(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// A client's check of a server: a valid chain to the authority, and the one id that was expected.
#[derive(Debug)]
pub(super) struct ServerIs {
    pub(super) state: Arc<State>,
    pub(super) expected: SpiffeId,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerIs {
    pub(super) fn new(state: Arc<State>, expected: SpiffeId) -> Self {
        Self { state, expected, algorithms: provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for ServerIs {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let trust = self.state.trust.load();
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &trust.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let found = peer_id(std::slice::from_ref(end_entity)).map_err(refuse)?;
        if found == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(refuse(WrongIdentity { found, wanted: self.expected.to_string() }))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Which ids a server lets in.
pub(super) type Allow = dyn Fn(&SpiffeId) -> bool + Send + Sync;

/// A server's check of a client: a valid chain to the authority, and an id that is allowed.
pub(super) struct ClientMay {
    pub(super) state: Arc<State>,
    pub(super) allow: Box<Allow>,
}

impl fmt::Debug for ClientMay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientMay")
    }
}

impl ClientCertVerifier for ClientMay {
    /// No hints: the clients of the mesh have one certificate each.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.state.trust.load().clients.verify_client_cert(end_entity, intermediates, now)?;
        let found = peer_id(std::slice::from_ref(end_entity)).map_err(refuse)?;
        if (self.allow)(&found) {
            Ok(verified)
        } else {
            Err(refuse(WrongIdentity { found, wanted: "one that is allowed here".to_owned() }))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.state.trust.load().clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.state.trust.load().clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.state.trust.load().clients.supported_verify_schemes()
    }
}

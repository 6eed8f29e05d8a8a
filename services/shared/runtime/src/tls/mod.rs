//! Mutual TLS between the parts of the mesh, TLS 1.3 only.
//!
//! Who someone is says a SPIFFE id in the certificate, not a host name: workers come and go on ports that nobody knows
//! beforehand. So both sides check three things, and a connection without all three does not come about: the chain leads
//! to the mesh's own authority and is valid now, the certificate holds exactly one id, and it is the one expected (by the
//! client) or among those allowed (by the server).
//!
//! A process makes its key itself ([`KeyAndRequest`]) and sends only the request; the certificate that comes back is an
//! [`Identity`]. [`Reloadable`] holds the identity and the authority's certificates so that both can be replaced while
//! connections are served: each new handshake takes what is there then. Sessions are not resumed, because a resumed one
//! would skip the check of a certificate that meanwhile expired or of an authority that meanwhile was replaced.

mod connect;
mod identity;
mod listen;
mod reload;
mod request;
mod spiffe;
mod verify;

pub use connect::{connect, connector};
pub use identity::{Identity, peer_id};
pub use listen::{TlsListener, incoming, over};
pub use reload::Reloadable;
pub use request::KeyAndRequest;
pub use spiffe::SpiffeId;
pub use verify::WrongIdentity;

use rustls::crypto::CryptoProvider;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// How long a handshake may take. On one network it takes milliseconds; a peer that needs longer is not one of ours.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why TLS could not be set up or a connection not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key or the request could not be made.
    #[error("cannot make a key and a certificate request")]
    Request(#[source] rcgen::Error),
    /// A name for the certificate is none.
    #[error("{name:?} is neither a DNS name nor an IP address")]
    Name {
        /// As given.
        name: String,
    },
    /// The text holds no certificate or no key.
    #[error("the PEM text holds no valid {what}: {reason}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// Why it was not found.
        reason: String,
    },
    /// The certificate cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// The peer showed no certificate.
    #[error("there is no certificate")]
    NoCertificate,
    /// A certificate of the mesh holds exactly one id.
    #[error("the certificate holds {found} SPIFFE ids, not one")]
    Ids {
        /// How many.
        found: usize,
    },
    /// The id is not of this mesh.
    #[error("{id:?} is not the id of a part of this mesh")]
    Id {
        /// As found.
        id: String,
    },
    /// rustls does not take the key, the certificate or the settings.
    #[error("the TLS settings are not accepted")]
    Rustls(#[from] rustls::Error),
    /// The authority's certificates make no verifier.
    #[error("the authority's certificates cannot be used: {0}")]
    Trust(String),
    /// Another part of the mesh answers there than the one expected.
    #[error("cannot connect to {address}: {found}")]
    WrongServer {
        /// Where to.
        address: SocketAddr,
        /// Who answered and who should have.
        found: WrongIdentity,
    },
    /// The connection did not come about.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The one provider of cryptography in the mesh.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes ring the provider for whoever asks rustls for the default one (reqwest, async-nats). A second time it changes
/// nothing.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

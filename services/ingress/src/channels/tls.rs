//! TLS of the public door: the operator's certificate, read again when its file changes.

use crate::error::IngressError;
use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between two looks at the files. Certificates are renewed weeks before they end.
const LOOK: Duration = Duration::from_secs(30);

/// The certificate of the door, for handshakes from now on.
#[derive(Debug)]
pub struct DoorCertificate {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

impl DoorCertificate {
    /// Reads both files.
    ///
    /// # Errors
    /// If one cannot be read or they do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, IngressError> {
        let current = read(certificate, key).map_err(IngressError::Certificate)?;
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: ArcSwap::from_pointee(current),
        }))
    }

    /// The settings of the door: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1, no client certificates.
    ///
    /// # Errors
    /// If rustls does not accept them.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, IngressError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| IngressError::Certificate(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// What the door shows now: its own certificate first.
    #[must_use]
    pub fn shown(&self) -> Option<CertificateDer<'static>> {
        self.current.load().cert.first().cloned()
    }

    /// Reads the files again whenever they change, until the shutdown. What cannot be used changes nothing.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let mut seen = self.modified();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let modified = self.modified();
            if modified != seen {
                match read(&self.certificate, &self.key) {
                    Ok(certified) => {
                        self.current.store(Arc::new(certified));
                        info!("the certificate of the door was renewed");
                        seen = modified;
                    }
                    // Perhaps only one of the two is there yet: looked at again.
                    Err(reason) => warn!(reason, "the new certificate of the door cannot be used; the old one stays"),
                }
            }
        }
    }

    fn modified(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
    }
}

impl ResolvesServerCert for DoorCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let problem = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_file_iter(certificate).map_err(|error| problem(certificate, &error))?.collect();
    let chain = chain.map_err(|error| problem(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| problem(key, &error))?;
    CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| problem(certificate, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read_with_its_own_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let made = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let certificate = write("cert.pem", &one.cert.pem());
        let key = write("key.pem", &one.signing_key.serialize_pem());
        let foreign = write("foreign.pem", &other.signing_key.serialize_pem());
        assert!(DoorCertificate::load(&certificate, &key).unwrap().server_config().is_ok());
        for (certificate, key) in [(&certificate, &foreign), (&key, &key), (&certificate, &PathBuf::from("nowhere"))] {
            assert!(matches!(DoorCertificate::load(certificate, key), Err(IngressError::Certificate(_))));
        }
    }
}

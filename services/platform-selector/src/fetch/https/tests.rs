//! Against a real TLS server of this process.

use super::*;
use crate::fetch::sink::tests::SMALL;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use slipway_kernel::{Digest, Span};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// Answers every connection with the same bytes.
struct Server {
    port: u16,
    folder: tempfile::TempDir,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn answering(answer: &'static [u8]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let names = vec!["localhost".to_owned(), "models.example".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    counter.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.read(&mut [0; 4_096]).await;
                    let _ = stream.write_all(answer).await;
                    // An empty answer stands for a server that says nothing and stays.
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { port, folder, asked }
    }

    fn config(&self) -> HttpsConfig {
        HttpsConfig {
            ports: vec![self.port],
            allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ca_file: Some(self.folder.path().join("ca.pem")),
            stall_timeout: Span::millis(300),
            ..HttpsConfig::default()
        }
    }

    async fn download(&self, config: HttpsConfig, resolver: impl Resolve, host: &str) -> Result<Fetched, FetchError> {
        let url = Url::parse(&format!("https://{host}:{}/m.onnx?signature=secret", self.port)).unwrap();
        let to = self.folder.path().join("model");
        let _ = std::fs::remove_file(&to);
        Door::new(config, Arc::new(resolver)).download(&url, &to, SMALL).await
    }

    async fn refused(&self, config: HttpsConfig, resolver: impl Resolve, host: &str) -> String {
        let error = self.download(config, resolver, host).await.unwrap_err();
        assert!(matches!(error, FetchError::NotAllowed { .. }), "{error:?}");
        assert_eq!(self.asked.load(Ordering::SeqCst), 0, "nobody was asked");
        error.to_string()
    }
}

/// Says something else each time it is asked.
struct Says(Vec<&'static str>, AtomicUsize);

impl Says {
    fn always(address: &'static str) -> Self {
        Self(vec![address], AtomicUsize::new(0))
    }
}

#[async_trait]
impl Resolve for Says {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let n = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
        Ok(self.0[n].split(',').map(|address| address.parse().unwrap()).collect())
    }
}

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nmodel";

#[tokio::test]
async fn a_file_is_downloaded_over_tls_from_the_checked_address() {
    let server = Server::answering(FINE).await;
    let fetched = server.download(server.config(), Says::always("127.0.0.1"), "models.example").await.unwrap();
    assert_eq!((fetched.size_bytes, fetched.digest), (5, Digest::of(b"model")));
}

#[tokio::test]
async fn an_address_that_is_not_public_is_never_asked() {
    let server = Server::answering(FINE).await;
    let mut config = server.config();
    config.allow_networks.clear();
    for (host, address) in [
        ("models.example", "127.0.0.1"),
        ("models.example", "169.254.169.254"),
        ("models.example", "8.8.8.8,10.0.0.1"),
        ("metadata.google.internal", "169.254.169.254"),
        ("127.0.0.1", "8.8.8.8"),
        ("2130706433", "8.8.8.8"),
        ("[::ffff:127.0.0.1]", "8.8.8.8"),
        ("localhost.", "127.0.0.1"),
    ] {
        let message = server.refused(config.clone(), Says::always(address), host).await;
        assert!(message.contains("https.allow_networks"), "{message}");
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_asked_where_it_was_checked() {
    let server = Server::answering(FINE).await;
    // First the test server, then the address of instance metadata: there is no second look-up.
    let rebinding = Says(vec!["127.0.0.1", "169.254.169.254"], AtomicUsize::new(0));
    assert!(server.download(server.config(), rebinding, "models.example").await.is_ok());
}

#[tokio::test]
async fn hosts_and_ports_outside_of_the_lists_are_never_asked() {
    let server = Server::answering(FINE).await;
    let config = HttpsConfig { hosts: vec!["*.trusted.example".into()], ..server.config() };
    let message = server.refused(config, Says::always("127.0.0.1"), "models.example").await;
    assert!(message.contains("https.hosts"), "{message}");
    let config = HttpsConfig { ports: vec![443], ..server.config() };
    let message = server.refused(config, Says::always("127.0.0.1"), "models.example").await;
    assert!(message.contains("https.ports"), "{message}");
}

#[tokio::test]
async fn what_the_server_says_instead_of_the_file_is_told_apart() {
    for (answer, transient, word) in [
        (
            &b"HTTP/1.1 302 Found\r\nlocation: https://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"[..],
            false,
            "redirects are not followed",
        ),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false, "404"),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", false, "signed address"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", false, "204"),
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", true, "503"),
        (b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n", true, "429"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n", false, "fetch.max_model"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n012345\r\n0\r\n\r\n",
            false,
            "fetch.max_model",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", true, "the download failed"),
        (b"", true, "in time"),
        (b"nonsense", true, "failed"),
    ] {
        let server = Server::answering(answer).await;
        let error = server.download(server.config(), Says::always("127.0.0.1"), "models.example").await.unwrap_err();
        let finding = error.finding("spec.model.uri", "https://models.example/m.onnx?signature=secret");
        assert_eq!(finding.cause == slipway_kernel::Cause::Transient, transient, "{finding:?}");
        assert!(finding.message.contains(word), "{word}: {}", finding.message);
        assert!(
            !finding.message.contains("secret") && !finding.evidence.iter().any(|e| e.contains("secret")),
            "{finding:?}"
        );
    }
}

#[tokio::test]
async fn a_server_with_a_foreign_certificate_is_not_trusted() {
    let server = Server::answering(FINE).await;
    let other = Server::answering(FINE).await;
    let config = HttpsConfig { ca_file: other.config().ca_file, ..server.config() };
    let error = server.download(config, Says::always("127.0.0.1"), "models.example").await.unwrap_err();
    assert!(matches!(&error, FetchError::Unavailable { .. }) && error.to_string().contains("certificate"), "{error}");
    let error = server.download(server.config(), Says::always("127.0.0.1"), "other.example").await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn a_pattern_covers_what_is_below_it_and_nothing_else() {
    for (pattern, host, covered) in [
        ("*", "a.b", true),
        ("example.com", "example.com", true),
        ("example.com", "a.example.com", false),
        ("*.example.com", "a.example.com", true),
        ("*.example.com", "a.b.example.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", "badexample.com", false),
        ("*.Example.com", "a.example.com", true),
    ] {
        assert_eq!(matches(pattern, host), covered, "{pattern} {host}");
    }
}

//! Fetching the keys of an issuer over TLS, from a server that may not mean well.

use crate::{
    auth::{
        issuers::{IssuerError, Issuers},
        outbound::{FetchError, Outbound},
        token::tests::Issuer,
    },
    channels::DoorCertificate,
    config::AuthConfig,
};
use axum::{Router, response::Redirect, routing::get};
use slipway_runtime::{CancellationToken, drain, tls};
use std::path::PathBuf;

struct Server {
    folder: tempfile::TempDir,
    port: u16,
    shutdown: CancellationToken,
}

impl Server {
    async fn start(app: Router) -> Self {
        slipway_runtime::tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let certificate = DoorCertificate::load(&path("cert.pem"), &path("key.pem")).unwrap();
        let (listener, address) = drain::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let incoming = tls::incoming(listener, certificate.server_config().unwrap()).unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(drain::http(incoming, app, drain::HttpLimits::default(), shutdown.clone()));
        Self { folder, port: address.port(), shutdown }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    fn issuers(&self, private: bool, trusted: bool) -> Issuers {
        let ca: Option<PathBuf> = trusted.then(|| self.folder.path().join("cert.pem"));
        let config = AuthConfig { jwks_private: private, jwks_ca_file: ca, ..AuthConfig::default() };
        Issuers::new(Outbound::new(&config).unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test]
async fn keys_are_fetched_over_tls_from_who_is_trusted_and_may_be_asked() {
    let jwks = String::from_utf8(Issuer::new().jwks()).unwrap();
    let server = Server::start(Router::new().route("/jwks", get(move || async move { jwks }))).await;
    let url = server.url("/jwks");
    assert_eq!(server.issuers(true, true).keys(&url, |_| true).await.unwrap().len(), 2);
    // A name that leads to loopback, and a certificate of nobody known.
    for issuers in [server.issuers(false, true), server.issuers(true, false)] {
        let refused = issuers.keys(&url, |_| true).await;
        assert!(matches!(refused, Err(IssuerError::Fetch { source: FetchError::Http(_), .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_set_of_keys_is_refused() {
    let large = "x".repeat(crate::limits::JWKS_BYTES + 1);
    let app = Router::new()
        .route("/redirect", get(|| async { Redirect::temporary("https://169.254.169.254/latest") }))
        .route("/large", get(move || async move { large }))
        .route("/text", get(|| async { "hello" }));
    let server = Server::start(app).await;
    let fetch = |path: &'static str| {
        let (issuers, url) = (server.issuers(true, true), server.url(path));
        async move { issuers.keys(&url, |_| true).await.unwrap_err() }
    };
    assert!(matches!(fetch("/redirect").await, IssuerError::Fetch { source: FetchError::Status(307), .. }));
    assert!(matches!(fetch("/missing").await, IssuerError::Fetch { source: FetchError::Status(404), .. }));
    assert!(matches!(fetch("/large").await, IssuerError::Fetch { source: FetchError::TooLong, .. }));
    assert!(matches!(fetch("/text").await, IssuerError::Keys { .. }));
}

//! Real handshakes on loopback: who gets through, and who does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use axum::{Extension, Router, extract::ConnectInfo, routing::get};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use slipway_kernel::{Service, Timestamp};
use slipway_runtime::{
    CancellationToken, Secret,
    drain::{self, HttpLimits},
    tls::{self, Identity, KeyAndRequest, Reloadable, SpiffeId, TlsError},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

const BOUND: Duration = Duration::from_secs(5);

/// What `security` does: signs requests.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

#[derive(Clone, Copy)]
enum Life {
    Now,
    Past,
    Future,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, made: &KeyAndRequest, life: Life, change: impl FnOnce(&mut CertificateParams)) -> (String, Secret) {
        let mut request = CertificateSigningRequestParams::from_pem(&made.csr_pem).unwrap();
        let (from, to) = match life {
            Life::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1)),
            Life::Past => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Life::Future => (date_time_ymd(2099, 1, 1), date_time_ymd(2100, 1, 1)),
        };
        (request.params.not_before, request.params.not_after) = (from, to);
        request.params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut request.params);
        (request.signed_by(&self.issuer).unwrap().pem(), made.key_pem.clone())
    }

    fn issue(&self, id: &SpiffeId, life: Life) -> Identity {
        let made = KeyAndRequest::generate(id, &[]).unwrap();
        let (chain, key) = self.sign(&made, life, |_| ());
        Identity::from_pem(&chain, &key).unwrap()
    }

    fn member(&self, id: &SpiffeId) -> Reloadable {
        Reloadable::new(self.issue(id, Life::Now), &self.pem).unwrap()
    }
}

fn ingress() -> SpiffeId {
    SpiffeId::Service(Service::Ingress)
}

fn validator() -> SpiffeId {
    SpiffeId::Service(Service::Validator)
}

fn worker() -> SpiffeId {
    "spiffe://slipway/ns/default/deployment/digits/revision/1-1".parse().unwrap()
}

/// A worker that lets in the ingress alone and says hello to whoever gets through.
struct Server {
    address: SocketAddr,
    end: CancellationToken,
}

impl Server {
    async fn start(credentials: &Reloadable) -> Self {
        let config = credentials.server_config(|id| *id == SpiffeId::Service(Service::Ingress)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route(
            "/",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { format!("hello {}", peer.ip()) }),
        );
        let end = CancellationToken::new();
        let listener = tls::incoming(listener, config).unwrap();
        tokio::spawn(drain::http(listener, app, HttpLimits::default(), end.clone()));
        Self { address, end }
    }

    /// Asks as a client would; an error of the handshake shows here or on the first read.
    async fn ask(&self, client: &Reloadable, expected: SpiffeId) -> Result<String, String> {
        let chain = |error: &dyn std::error::Error| {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            text
        };
        let config = client.client_config(expected).unwrap();
        let mut stream = tls::connect(self.address, config, BOUND).await.map_err(|error| chain(&error))?;
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        timeout(BOUND, stream.read_to_string(&mut answer)).await.unwrap().map_err(|error| error.to_string())?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

#[tokio::test]
async fn the_right_client_reaches_the_right_server() {
    let authority = Authority::new();
    let server = Server::start(&authority.member(&worker())).await;
    let answer = server.ask(&authority.member(&ingress()), worker()).await.unwrap();
    assert!(answer.ends_with("hello 127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn a_server_with_another_id_is_refused_by_the_client() {
    let authority = Authority::new();
    let server = Server::start(&authority.member(&worker())).await;
    let other = "spiffe://slipway/ns/default/deployment/digits/revision/1-2".parse().unwrap();
    let error = server.ask(&authority.member(&ingress()), other).await.unwrap_err();
    assert!(
        error.contains("revision/1-1, wanted is spiffe://slipway/ns/default/deployment/digits/revision/1-2"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_that_is_not_allowed_is_refused_by_the_server() {
    let authority = Authority::new();
    let server = Server::start(&authority.member(&worker())).await;
    assert!(server.ask(&authority.member(&validator()), worker()).await.is_err());
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused_by_the_client() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let trusting_both =
        Reloadable::new(stranger.issue(&worker(), Life::Now), &format!("{}{}", authority.pem, stranger.pem)).unwrap();
    let server = Server::start(&trusting_both).await;
    let error = server.ask(&authority.member(&ingress()), worker()).await.unwrap_err();
    // The stranger even bears the authority's name; its signatures are not the authority's.
    assert!(error.contains("BadSignature"), "{error}");
}

#[tokio::test]
async fn a_client_of_another_authority_is_refused_by_the_server() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Server::start(&authority.member(&worker())).await;
    let client = Reloadable::new(stranger.issue(&ingress(), Life::Now), &authority.pem).unwrap();
    assert!(server.ask(&client, worker()).await.is_err());
}

#[tokio::test]
async fn a_certificate_outside_its_time_is_refused_on_both_sides() {
    let authority = Authority::new();
    for (life, reason) in [(Life::Past, "certificate expired"), (Life::Future, "certificate not valid yet")] {
        let late = Reloadable::new(authority.issue(&worker(), life), &authority.pem).unwrap();
        let server = Server::start(&late).await;
        let error = server.ask(&authority.member(&ingress()), worker()).await.unwrap_err();
        assert!(error.contains(reason), "{error}");

        let server = Server::start(&authority.member(&worker())).await;
        let late = Reloadable::new(authority.issue(&ingress(), life), &authority.pem).unwrap();
        assert!(server.ask(&late, worker()).await.is_err());
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let authority = Authority::new();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    // The right trust and no certificate; rustls' own check of names has to be got past by a certificate with one.
    let made = KeyAndRequest::generate(&worker(), &["127.0.0.1".to_owned()]).unwrap();
    let (chain, key) = authority.sign(&made, Life::Now, |_| ());
    let named = Reloadable::new(Identity::from_pem(&chain, &key).unwrap(), &authority.pem).unwrap();
    let named = Server::start(&named).await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let refused = async {
        let mut stream =
            tls::connect(named.address, Arc::new(config), BOUND).await.map_err(|error| format!("{error:?}"))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.map_err(|error| error.to_string())?;
        let mut answer = [0; 1];
        timeout(BOUND, stream.read_exact(&mut answer)).await.unwrap().map_err(|error| error.to_string())
    }
    .await
    .unwrap_err();
    assert!(refused.contains("CertificateRequired"), "{refused}");
}

#[tokio::test]
async fn plain_text_and_silence_hold_up_nobody() {
    let authority = Authority::new();
    let server = Server::start(&authority.member(&worker())).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(BOUND, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(server.ask(&authority.member(&ingress()), worker()).await.is_ok());
}

#[tokio::test]
async fn a_new_identity_and_a_new_authority_need_no_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let (server_side, client_side) = (old.member(&worker()), old.member(&ingress()));
    let server = Server::start(&server_side).await;
    assert!(server.ask(&client_side, worker()).await.is_ok());

    server_side.set_trust(&new.pem).unwrap();
    assert!(server.ask(&client_side, worker()).await.is_err(), "the old authority is trusted no more");

    server_side.set_identity(new.issue(&worker(), Life::Now));
    client_side.set_identity(new.issue(&ingress(), Life::Now));
    client_side.set_trust(&new.pem).unwrap();
    assert!(server.ask(&client_side, worker()).await.is_ok());

    assert!(server_side.set_trust("no certificate").is_err());
    assert!(server.ask(&client_side, worker()).await.is_ok(), "a bundle that cannot be used changes nothing");
}

#[test]
fn an_identity_tells_who_until_when_and_when_to_renew() {
    let authority = Authority::new();
    let identity = authority.issue(&worker(), Life::Past);
    assert_eq!(*identity.spiffe_id(), worker());
    assert_eq!(identity.not_before(), Timestamp(1_577_836_800_000));
    assert_eq!(identity.not_after(), Timestamp(1_609_459_200_000));
    assert_eq!(identity.renew_at(), Timestamp(1_577_836_800_000 + 366 * 86_400_000 / 3 * 2));
}

#[test]
fn what_makes_no_identity_is_refused_with_the_reason() {
    let authority = Authority::new();
    let made = KeyAndRequest::generate(&worker(), &[]).unwrap();
    let (chain, key) = authority.sign(&made, Life::Now, |_| ());
    assert!(matches!(Identity::from_pem("", &key), Err(TlsError::Pem { what: "certificate", .. })));
    assert!(matches!(Identity::from_pem(&chain, &Secret::new("")), Err(TlsError::Pem { what: "private key", .. })));

    let other = KeyAndRequest::generate(&worker(), &[]).unwrap();
    assert!(matches!(Identity::from_pem(&chain, &other.key_pem), Err(TlsError::Rustls(_))));

    let (nobody, key) = authority.sign(&made, Life::Now, |params| params.subject_alt_names.clear());
    assert!(matches!(Identity::from_pem(&nobody, &key), Err(TlsError::Ids { found: 0 })));
    let (double, key) = authority.sign(&made, Life::Now, |params| {
        params.subject_alt_names.push(SanType::URI("spiffe://slipway/service/ingress".try_into().unwrap()));
    });
    assert!(matches!(Identity::from_pem(&double, &key), Err(TlsError::Ids { found: 2 })));
    let (foreign, key) = authority.sign(&made, Life::Now, |params| {
        params.subject_alt_names = vec![SanType::URI("spiffe://elsewhere/x".try_into().unwrap())];
    });
    assert!(matches!(Identity::from_pem(&foreign, &key), Err(TlsError::Id { .. })));
}

#[tokio::test]
async fn grpc_runs_over_it_and_the_server_learns_who_calls() {
    let authority = Authority::new();
    let config = authority.member(&worker()).server_config(|_| true).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = tls::incoming(listener, config).unwrap();
    let app = Router::new().route(
        "/who",
        get(|Extension(peer): Extension<TlsConnectInfo<TcpConnectInfo>>| async move {
            tls::peer_id(&peer.peer_certs().unwrap()).unwrap().to_string()
        }),
    );
    let shutdown = CancellationToken::new();
    let serving = tonic::transport::Server::builder()
        .add_routes(tonic::service::Routes::from(app))
        .serve_with_incoming_shutdown(listener, shutdown.clone().cancelled_owned());
    let server = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { drain::bounded(&shutdown, BOUND, serving).await }
    });

    let config = authority.member(&ingress()).client_config(worker()).unwrap();
    let channel = tonic::transport::Endpoint::from_static("http://worker")
        .connect_with_connector(tls::connector(address, config))
        .await
        .unwrap();
    let request = http::Request::get("http://worker/who").body(tonic::body::Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(channel, request).await.unwrap();
    let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), 1_024).await.unwrap();
    assert_eq!(body, "spiffe://slipway/service/ingress");
    shutdown.cancel();
    server.await.unwrap().unwrap().unwrap();
}

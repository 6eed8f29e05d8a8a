//! Real doors on loopback: one as it should be, and one for each way of being wrong.

use super::*;
use crate::{
    authority::{Authority, request},
    domain::identity::{Grant, PeerId, Usage},
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    version::TLS13,
};
use slipway_kernel::{Cause, RevisionId, Service, Span, Timestamp};
use slipway_runtime::{
    CancellationToken, Clock, Frame,
    tls::{self, Identity, KeyAndRequest, Reloadable},
};
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::{service::Routes, transport::Server};

struct Mesh {
    authority: Authority,
    now: Timestamp,
    _folder: tempfile::TempDir,
}

fn place() -> Place {
    Place {
        deployment: "default.digits".parse().unwrap(),
        revision: RevisionId::new(1, 1),
        replicas: 1,
        anonymous: false,
    }
}

fn worker() -> PeerId {
    PeerId::Revision { deployment: place().deployment, revision: place().revision }
}

impl Mesh {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Clock::system().now();
        Self { authority: Authority::for_test(folder.path(), now), now, _folder: folder }
    }

    /// Key and certificate of a worker, as a worker has them.
    fn signed(&self, id: &PeerId) -> (KeyAndRequest, String) {
        let made = KeyAndRequest::generate(&crate::authority::certificate::spiffe(id), &[]).unwrap();
        let key = request::read(&made.csr_pem).unwrap().0.unwrap();
        let grant = Grant { id: id.clone(), usage: Usage::Server, addresses: Vec::new(), hosts: Vec::new() };
        let signed = self.authority.sign(&grant, &key, self.now, Duration::from_secs(600)).unwrap();
        (made, signed.chain_pem)
    }

    fn member(&self, id: &PeerId) -> Reloadable {
        let (made, chain) = self.signed(id);
        Reloadable::new(Identity::from_pem(&chain, &made.key_pem).unwrap(), &self.authority.bundle().unwrap()).unwrap()
    }

    /// The settings of a server that is a worker by its certificate and checks its clients in its own way.
    fn careless(&self, clients: Option<Arc<dyn ClientCertVerifier>>) -> Arc<ServerConfig> {
        let (made, chain) = self.signed(&worker());
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap();
        let builder = match clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(made.key_pem.expose().as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// What is found out about a worker that listens there.
    async fn prove(&self, door: &Door) -> Result<Vec<Proof>, Vec<Finding>> {
        self.prove_records(vec![record("a", &door.address.to_string(), WorkerState::Ready)]).await
    }

    async fn prove_records(&self, records: Vec<WorkerRecord>) -> Result<Vec<Proof>, Vec<Finding>> {
        let frame = Frame::for_test("security");
        let config =
            ProofConfig { timeout: Span::millis(700), worker_wait: Span::millis(50), ..ProofConfig::default() };
        let proof = WorkerProof::new(Watched::fixed(records), config, SecurityMetrics::register(&frame.metrics));
        let visitors = Visitors::new(&self.authority, self.now).unwrap();
        match proof.of(&place(), visitors).await {
            Ok(proofs) => Ok(proofs),
            Err(Trouble::Findings(findings)) => Err(findings),
            Err(Trouble::Later(error)) => panic!("{error:#}"),
        }
    }
}

/// A gRPC server that implements nothing: any answer shows that a call got through.
struct Door {
    address: SocketAddr,
    end: CancellationToken,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Door {
    async fn with_tls(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
        let incoming = tls::incoming(listener, config).unwrap();
        let serving = Server::builder()
            .add_routes(Routes::default())
            .serve_with_incoming_shutdown(incoming, end.clone().cancelled_owned());
        tokio::spawn(serving);
        Self { address, end }
    }

    async fn in_plaintext() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let serving = Server::builder()
            .add_routes(Routes::default())
            .serve_with_incoming_shutdown(incoming, end.clone().cancelled_owned());
        tokio::spawn(serving);
        Self { address, end }
    }

    /// Takes connections and says nothing.
    async fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn({
            let end = end.clone();
            async move {
                let mut kept = Vec::new();
                loop {
                    tokio::select! {
                        accepted = listener.accept() => kept.extend(accepted),
                        () = end.cancelled() => return,
                    }
                }
            }
        });
        Self { address, end }
    }
}

/// As a worker's own door: the ingress and the validator, nobody else.
fn as_it_should_be(id: &SpiffeId) -> bool {
    matches!(id, SpiffeId::Service(Service::Ingress | Service::Validator))
}

fn record(instance: &str, address: &str, state: WorkerState) -> WorkerRecord {
    WorkerRecord {
        deployment: place().deployment,
        revision: place().revision,
        instance: instance.to_owned(),
        host: "host".to_owned(),
        address: address.to_owned(),
        admin: String::new(),
        pid: 1,
        fencing_token: 1,
        state,
        measurements: Vec::new(),
        detail: serde_json::Value::Null,
        since: Timestamp(0),
    }
}

/// The kinds of what was found, with who knocked.
fn holes(findings: &[Finding]) -> Vec<&str> {
    let mut holes: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::AuthHole && finding.cause == Cause::Deterministic)
        .map(|finding| finding.evidence.last().unwrap().trim_start_matches("worker-refuses-"))
        .collect();
    holes.sort_unstable();
    holes
}

/// Looks at a client's certificate and lets everybody in who has one.
#[derive(Debug)]
struct AnyCertificate;

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn a_door_that_only_the_ingress_and_the_validator_pass_is_proved() {
    let mesh = Mesh::new();
    let door = Door::with_tls(mesh.member(&worker()).server_config(as_it_should_be).unwrap()).await;
    let proofs = mesh.prove(&door).await.unwrap();
    for proof in &proofs {
        println!("{}: {}", proof.name, proof.detail);
    }
    assert_eq!(proofs.len(), 5);
    assert!(proofs[1].detail.contains("CertificateRequired"), "{}", proofs[1].detail);
    assert!(proofs[4].detail.contains("ServerLive was answered"), "{}", proofs[4].detail);
}

#[tokio::test]
async fn a_door_that_asks_nobody_for_a_certificate_is_a_hole() {
    let mesh = Mesh::new();
    let door = Door::with_tls(mesh.careless(None)).await;
    let findings = mesh.prove(&door).await.unwrap_err();
    assert_eq!(holes(&findings), ["foreign-authority", "no-certificate", "other-service"]);
}

#[tokio::test]
async fn a_door_that_takes_any_certificate_is_a_hole() {
    let mesh = Mesh::new();
    let door = Door::with_tls(mesh.careless(Some(Arc::new(AnyCertificate)))).await;
    let findings = mesh.prove(&door).await.unwrap_err();
    assert_eq!(holes(&findings), ["foreign-authority", "other-service"]);
}

#[tokio::test]
async fn a_door_open_to_the_whole_mesh_is_a_hole() {
    let mesh = Mesh::new();
    let door = Door::with_tls(mesh.member(&worker()).server_config(|_| true).unwrap()).await;
    assert_eq!(holes(&mesh.prove(&door).await.unwrap_err()), ["other-service"]);
}

#[tokio::test]
async fn a_door_without_tls_is_a_hole() {
    let mesh = Mesh::new();
    let door = Door::in_plaintext().await;
    assert_eq!(holes(&mesh.prove(&door).await.unwrap_err()), ["plaintext"]);
}

#[tokio::test]
async fn a_door_that_nobody_opens_proves_nothing() {
    let mesh = Mesh::new();
    let closed = Door::with_tls(mesh.member(&worker()).server_config(|_| false).unwrap()).await;
    let findings = mesh.prove(&closed).await.unwrap_err();
    assert!(findings.iter().all(|finding| finding.cause == Cause::Transient), "{findings:?}");
    assert_eq!(findings.len(), 1, "only the ingress is missed: {findings:?}");
    assert!(findings[0].message.contains("refused a call with the ingress's identity"), "{findings:?}");

    for findings in [
        mesh.prove(&Door::silent().await).await.unwrap_err(),
        mesh.prove_records(vec![record("a", "127.0.0.1:1", WorkerState::Ready)]).await.unwrap_err(),
        mesh.prove_records(vec![record("a", "nowhere", WorkerState::Ready)]).await.unwrap_err(),
    ] {
        assert!(findings.iter().all(|finding| finding.cause == Cause::Transient), "{findings:?}");
    }
}

#[tokio::test]
async fn another_who_listens_there_is_not_taken_for_the_worker() {
    let mesh = Mesh::new();
    let other = PeerId::Revision { deployment: place().deployment, revision: RevisionId::new(9, 9) };
    let door = Door::with_tls(mesh.member(&other).server_config(as_it_should_be).unwrap()).await;
    let findings = mesh.prove(&door).await.unwrap_err();
    assert!(findings.iter().all(|finding| finding.cause == Cause::Transient), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.message.contains("9-9")), "{findings:?}");
}

#[tokio::test]
async fn workers_without_identities_are_waited_for_and_then_named() {
    let mesh = Mesh::new();
    let mut of_another = record("b", "127.0.0.1:1", WorkerState::Ready);
    of_another.revision = RevisionId::new(1, 2);
    let findings = mesh.prove_records(vec![record("a", "", WorkerState::Warm), of_another]).await.unwrap_err();
    assert_eq!((findings.len(), findings[0].kind, findings[0].cause), (1, FindingKind::Timeout, Cause::Transient));
    assert_eq!(findings[0].evidence, ["worker:a is Warm"]);
}

#[tokio::test]
async fn one_open_door_among_closed_ones_is_found() {
    let mesh = Mesh::new();
    let good = Door::with_tls(mesh.member(&worker()).server_config(as_it_should_be).unwrap()).await;
    let bad = Door::with_tls(mesh.careless(None)).await;
    let records = vec![
        record("good", &good.address.to_string(), WorkerState::Ready),
        record("bad", &bad.address.to_string(), WorkerState::Ready),
    ];
    let findings = mesh.prove_records(records).await.unwrap_err();
    assert_eq!(holes(&findings).len(), 3);
    assert!(findings.iter().all(|finding| finding.evidence[0] == "worker:bad"), "{findings:?}");
}

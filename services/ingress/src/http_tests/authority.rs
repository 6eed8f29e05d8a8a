//! An authority as security is one: it signs what it is asked to.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa, KeyPair,
    KeyUsagePurpose,
};
use slipway_kernel::{DeploymentId, RevisionId, Service};
use slipway_runtime::tls::{Identity, KeyAndRequest, Reloadable, SpiffeId};

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn identity(&self, id: &SpiffeId) -> Reloadable {
        let made = KeyAndRequest::generate(id, &[]).unwrap();
        let identity = Identity::from_pem(&self.sign(&made.csr_pem), &made.key_pem).unwrap();
        Reloadable::new(identity, &self.certificate()).unwrap()
    }

    /// The certificate that a request asks for.
    pub(super) fn sign(&self, csr_pem: &str) -> String {
        CertificateSigningRequestParams::from_pem(csr_pem).unwrap().signed_by(&self.0).unwrap().pem()
    }

    pub(super) fn certificate(&self) -> String {
        self.0.pem()
    }

    pub(super) fn ingress(&self) -> Reloadable {
        self.identity(&SpiffeId::Service(Service::Ingress))
    }

    pub(super) fn worker(&self, deployment: &DeploymentId, revision: RevisionId) -> Reloadable {
        self.identity(&SpiffeId::Revision { deployment: deployment.clone(), revision })
    }
}

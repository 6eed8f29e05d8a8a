//! What security does: an authority that signs what it is asked for.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use slipway_bus::{Bus, Granted, IdentityRequest};
use slipway_kernel::Timestamp;
use slipway_runtime::tls::{Identity, KeyAndRequest, Reloadable, SpiffeId};
use std::sync::Arc;

/// The authority of a test's mesh.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub pem: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, csr_pem: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).unwrap();
        request.params.not_before = date_time_ymd(2020, 1, 1);
        request.params.not_after = date_time_ymd(2100, 1, 1);
        request.params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        request.signed_by(&self.issuer).unwrap().pem()
    }

    /// A member of the mesh with its own identity.
    #[must_use]
    pub fn member(&self, id: &SpiffeId) -> Reloadable {
        let made = KeyAndRequest::generate(id, &[]).unwrap();
        let identity = Identity::from_pem(&self.sign(&made.csr_pem), &made.key_pem).unwrap();
        Reloadable::new(identity, &self.pem).unwrap()
    }

    /// Grants every request that comes to `security`, until the bus is closed; `check` looks at each before.
    pub fn grant(self: &Arc<Self>, security: Bus, check: impl Fn(&IdentityRequest) + Send + Sync + 'static) {
        let authority = Arc::clone(self);
        tokio::spawn(async move {
            security.identities().set_trust(&authority.pem).await.unwrap();
            let mut requests = security.identities().requests().await.unwrap();
            loop {
                for request in requests.get().iter() {
                    check(request);
                    let granted = Granted {
                        chain_pem: authority.sign(&request.csr_pem),
                        ca_bundle_pem: authority.pem.clone(),
                        not_after: Timestamp(4_102_444_800_000),
                    };
                    security.identities().answer(request, Ok(granted)).await.unwrap();
                }
                if !requests.changed().await {
                    return;
                }
            }
        });
    }
}

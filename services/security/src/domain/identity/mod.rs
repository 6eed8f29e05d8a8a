//! Who may have which identity: a decision over what the broker vouches for (who asks), what the log says (whether that
//! revision lives) and what stands in the request. Nothing of the request goes into a certificate but its public key; the
//! rest is made from the [`Grant`].

mod entitlement;
mod request;
mod standing;

pub use request::{Key, RequestFacts, Unreadable};
pub use standing::{Standing, standing};

use slipway_kernel::{DeploymentId, RevisionId, Service};
use std::{fmt, net::IpAddr};

/// Who a certificate says somebody is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerId {
    /// One of the services.
    Service(Service),
    /// The workers of one revision.
    Revision {
        /// Of this deployment.
        deployment: DeploymentId,
        /// The revision.
        revision: RevisionId,
    },
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => write!(f, "service {service}"),
            Self::Revision { deployment, revision } => write!(f, "the workers of {deployment} {revision}"),
        }
    }
}

/// Who asks: by the place in the broker that only he may write to, so this can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// A service.
    Service(Service),
    /// Somebody else.
    Other,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To be called with.
    Server,
    /// To call with.
    Client,
    /// Both.
    Both,
}

/// What is known about the workers of a revision that ask for an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whether the revision lives.
    pub standing: Standing,
    /// Whether the instance that asks is registered as a live worker of that revision.
    pub registered: bool,
}

/// A request for an identity, with everything its decision depends on.
#[derive(Clone, Debug)]
pub struct Application<'a> {
    /// Who asks.
    pub requester: Requester,
    /// The identity asked for, as text.
    pub subject: &'a str,
    /// The same, read; `None` if it is none of this mesh.
    pub id: Option<&'a PeerId>,
    /// Names asked for beside the certificate request: what it may hold besides the identity.
    pub names: &'a [String],
    /// What stands in the certificate request.
    pub request: Result<&'a RequestFacts, &'a Unreadable>,
    /// About the revision, where one is asked for.
    pub claim: Option<Claim>,
    /// Host names that services may have in their certificates.
    pub hosts: &'a [String],
}

/// What is to be certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub id: PeerId,
    /// What for.
    pub usage: Usage,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Host names.
    pub hosts: Vec<String>,
}

/// The kinds of refusal; labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The identity is another's.
    NotEntitled,
    /// What is asked for is no identity of this mesh.
    NoIdentity,
    /// The log knows no such revision.
    NoSuchRevision,
    /// The revision is no longer to be served.
    RevisionOver,
    /// The instance is not registered as a live worker of the revision.
    NotRegistered,
    /// The certificate request cannot be read.
    Unreadable,
    /// The certificate request is not signed by its own key.
    BadSignature,
    /// The key is of a kind that is not accepted.
    WeakKey,
    /// The names in the certificate request are not the ones asked for, or not allowed.
    WrongNames,
    /// The certificate request asks to be an authority.
    WantsAuthority,
}

impl Reason {
    /// The word in metrics and refusals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotEntitled => "not-entitled",
            Self::NoIdentity => "no-identity",
            Self::NoSuchRevision => "no-such-revision",
            Self::RevisionOver => "revision-over",
            Self::NotRegistered => "not-registered",
            Self::Unreadable => "unreadable",
            Self::BadSignature => "bad-signature",
            Self::WeakKey => "weak-key",
            Self::WrongNames => "wrong-names",
            Self::WantsAuthority => "wants-authority",
        }
    }
}

/// Why somebody is not given an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The kind.
    pub reason: Reason,
    /// For a person: what was found and what would do.
    pub detail: String,
}

impl Denial {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.detail)
    }
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Certify this.
    Grant(Grant),
    /// Not yet: what is missing may only not have been heard of here. To be refused with this when it does not come.
    NotYet(Denial),
    /// Refuse.
    Refuse(Denial),
}

/// Decides. The order is from what costs nothing and gives nothing away to what needs the mesh.
#[must_use]
pub fn decide(application: &Application<'_>) -> Verdict {
    match checked(application) {
        Err(denial) => Verdict::Refuse(denial),
        Ok(grant) => match application.claim {
            Some(claim) => standing::weigh(grant, claim),
            None => Verdict::Grant(grant),
        },
    }
}

fn checked(application: &Application<'_>) -> Result<Grant, Denial> {
    let id = application.id.ok_or_else(|| {
        Denial::new(Reason::NoIdentity, format!("{:?} is no identity of this mesh", shortened(application.subject)))
    })?;
    let usage = entitlement::usage(application.requester, id)?;
    // Whoever speaks for a revision must show that it lives; an application without that is not complete.
    if matches!(id, PeerId::Revision { .. }) && application.claim.is_none() {
        return Err(Denial::new(Reason::NoSuchRevision, format!("nothing is known of {id}")));
    }
    let names = request::check(application, usage)?;
    Ok(Grant { id: id.clone(), usage, addresses: names.addresses, hosts: names.hosts })
}

/// What somebody else wrote, cut so that a refusal is not made large by it.
fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn worker(revision: &str) -> PeerId {
        PeerId::Revision { deployment: "default.digits".parse().unwrap(), revision: revision.parse().unwrap() }
    }

    /// What an honest requester sends for `id`.
    pub(crate) fn honest(uri: &str) -> RequestFacts {
        RequestFacts {
            key: Key::P256,
            signed: true,
            uris: vec![uri.to_owned()],
            hosts: Vec::new(),
            addresses: Vec::new(),
            other_names: 0,
            authority: false,
        }
    }

    fn application<'a>(requester: Service, id: &'a PeerId, facts: &'a RequestFacts) -> Application<'a> {
        let claim = Claim { standing: Standing::Live, registered: true };
        Application {
            requester: Requester::Service(requester),
            subject: "spiffe://x",
            id: Some(id),
            names: &[],
            request: Ok(facts),
            claim: matches!(id, PeerId::Revision { .. }).then_some(claim),
            hosts: &[],
        }
    }

    fn refused(verdict: Verdict) -> Reason {
        match verdict {
            Verdict::Refuse(denial) => denial.reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_live_worker_gets_its_revisions_identity_to_be_called_with() {
        let (id, facts) = (worker("2-1"), honest("spiffe://x"));
        let Verdict::Grant(grant) = decide(&application(Service::InferenceWorker, &id, &facts)) else { panic!() };
        assert_eq!((grant.id, grant.usage), (id, Usage::Server));
    }

    #[test]
    fn a_worker_is_waited_for_until_it_is_known_and_refused_when_its_revision_is_over() {
        let (id, facts) = (worker("2-1"), honest("spiffe://x"));
        for (standing, registered, reason, waits) in [
            (Standing::Unknown, true, Reason::NoSuchRevision, true),
            (Standing::Live, false, Reason::NotRegistered, true),
            (Standing::Over("x"), true, Reason::RevisionOver, false),
        ] {
            let mut application = application(Service::InferenceWorker, &id, &facts);
            application.claim = Some(Claim { standing, registered });
            match decide(&application) {
                Verdict::NotYet(denial) if waits => assert_eq!(denial.reason, reason),
                Verdict::Refuse(denial) if !waits => assert_eq!(denial.reason, reason),
                other => panic!("{other:?}"),
            }
        }
        let mut without = application(Service::InferenceWorker, &id, &facts);
        without.claim = None;
        assert_eq!(refused(decide(&without)), Reason::NoSuchRevision);
    }

    #[test]
    fn what_is_no_identity_is_refused_and_not_repeated_at_length() {
        let facts = honest("spiffe://x");
        let id = PeerId::Service(Service::Ingress);
        let long = "x".repeat(100_000);
        let application = Application { id: None, subject: &long, ..application(Service::Ingress, &id, &facts) };
        let Verdict::Refuse(denial) = decide(&application) else { panic!() };
        assert_eq!(denial.reason, Reason::NoIdentity);
        assert!(denial.to_string().len() < 300);
    }

    fn services() -> impl Strategy<Value = Service> {
        proptest::sample::select(Service::ALL.to_vec())
    }

    fn ids() -> impl Strategy<Value = PeerId> {
        prop_oneof![
            services().prop_map(PeerId::Service),
            ("[a-z]{1,3}", "[a-z]{1,3}", 0u32..3, 0u32..3).prop_map(|(namespace, name, generation, revision)| {
                PeerId::Revision {
                    deployment: format!("{namespace}.{name}").parse().unwrap(),
                    revision: RevisionId::new(generation, revision),
                }
            })
        ]
    }

    fn claims() -> impl Strategy<Value = Option<Claim>> {
        let standing = proptest::sample::select(vec![
            Standing::Live,
            Standing::Unknown,
            Standing::Over("the revision was taken back"),
        ]);
        proptest::option::of(
            (standing, any::<bool>()).prop_map(|(standing, registered)| Claim { standing, registered }),
        )
    }

    fn facts() -> impl Strategy<Value = RequestFacts> {
        let keys = proptest::sample::select(vec![Key::P256, Key::P384, Key::Ed25519, Key::Rsa(2_048), Key::Other]);
        let uris = proptest::collection::vec(proptest::sample::select(vec!["spiffe://x", "spiffe://y"]), 0..3);
        let hosts = proptest::collection::vec(proptest::sample::select(vec!["localhost", "evil.example"]), 0..2);
        (keys, any::<bool>(), uris, hosts, 0usize..2, any::<bool>()).prop_map(
            |(key, signed, uris, hosts, other_names, authority)| RequestFacts {
                key,
                signed,
                uris: uris.into_iter().map(str::to_owned).collect(),
                hosts: hosts.into_iter().map(str::to_owned).collect(),
                addresses: Vec::new(),
                other_names,
                authority,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn nobody_ever_gets_anothers_identity(
            requester in prop_oneof![services().prop_map(Requester::Service), Just(Requester::Other)],
            id in ids(),
            facts in facts(),
            claim in claims(),
            names in proptest::collection::vec(proptest::sample::select(vec!["localhost".to_owned()]), 0..2),
        ) {
            let hosts = ["localhost".to_owned()];
            let application = Application {
                requester,
                subject: "spiffe://x",
                id: Some(&id),
                names: &names,
                request: Ok(&facts),
                claim,
                hosts: &hosts,
            };
            if let Verdict::Grant(grant) = decide(&application) {
                prop_assert_eq!(&grant.id, &id);
                match &grant.id {
                    PeerId::Service(service) => {
                        prop_assert_eq!(requester, Requester::Service(*service));
                        prop_assert!(*service != Service::InferenceWorker);
                    }
                    PeerId::Revision { .. } => {
                        prop_assert_eq!(requester, Requester::Service(Service::InferenceWorker));
                        prop_assert_eq!(claim, Some(Claim { standing: Standing::Live, registered: true }));
                        prop_assert_eq!(grant.usage, Usage::Server);
                        prop_assert!(grant.hosts.is_empty());
                    }
                }
                // The request names exactly the identity, is signed, is no authority, and has an accepted key.
                prop_assert_eq!(&facts.uris, &["spiffe://x".to_owned()]);
                prop_assert!(facts.signed && !facts.authority && facts.other_names == 0);
                prop_assert!(matches!(facts.key, Key::P256 | Key::P384 | Key::Ed25519));
                prop_assert!(grant.hosts.iter().all(|host| host == "localhost"));
            }
        }
    }
}

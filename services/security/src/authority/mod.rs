//! The mesh's own certificate authority: made once, kept in files, followed by its successor in time, and trusted by whoever
//! follows the bundle it publishes.
//!
//! Where somebody else keeps the files (a mounted Secret), it makes none and forgets none: [`renew`] says what is to become of them.
//!
//! It signs only while what it has in its folder is what the mesh trusts. A replica that finds another authority in force, or
//! no key for the one in force, signs nothing and says so: whether to begin anew is an operator's decision.

mod bundle;
pub(crate) mod certificate;
mod renewal;
pub(crate) mod request;
mod store;

pub use certificate::CertificateError;
pub use renewal::{Renewal, renew};
pub use store::StoreError;

use crate::{
    config::{AuthorityConfig, Loss},
    domain::{
        authority::{Lifetimes, Standing, Term, lost_is_trusted_until, next_change, standing},
        identity::{Grant, PeerId, Usage},
    },
    error::chain,
    telemetry::SecurityMetrics,
};
use bundle::{certificates, normal};
use certificate::{Signer, make_authority, spiffe};
use rcgen::PublicKeyData;
use slipway_bus::{Bus, BusError, LeaseError, LeaseKey, Watched};
use slipway_kernel::{Service, Timestamp};
use slipway_runtime::{
    Frame,
    tls::{Identity, KeyAndRequest, Reloadable, TlsError},
};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::Store;
use tokio::sync::watch;

/// How long the lease under which a new authority is made lives when its holder dies. Making one takes milliseconds.
const LEASE: Duration = Duration::from_secs(10);
/// How soon to look again when another replica makes it.
const SOON: Duration = Duration::from_millis(300);
/// How soon to look again after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How often to look when nothing is to happen: another replica may have changed the folder.
const CALM: Duration = Duration::from_secs(60);
/// The bundle is published anew this often, though nothing changed: its table forgets what is a week old.
const REPUBLISH: Duration = Duration::from_secs(12 * 3_600);

/// Why there is no authority to sign with.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its folder.
    #[error("the authority's folder cannot be used")]
    Store(#[from] StoreError),
    /// Its certificates.
    #[error("a certificate of the authority cannot be made")]
    Certificate(#[from] CertificateError),
    /// What the mesh trusts is another authority.
    #[error(
        "the mesh trusts an authority whose key is not in this folder; put the folder back, or begin anew with \
         authority.without_key = \"replace\""
    )]
    Elsewhere,
    /// There is none yet, or no longer.
    #[error("there is no authority to sign with")]
    Absent,
    /// There is none where somebody else keeps it.
    #[error("there is no valid authority in the mounted folder; `slipway cluster-init` makes one")]
    NotMounted,
    /// The key and certificate made for itself cannot be used.
    #[error("an own identity cannot be made")]
    Own(#[from] TlsError),
    /// The broker.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The lease.
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

/// What is in force.
#[derive(Debug)]
struct Current {
    signing: Arc<Signer>,
    bundle: String,
}

/// What was signed.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) chain_pem: String,
    pub(crate) bundle_pem: String,
    pub(crate) not_after: Timestamp,
}

/// The authority.
#[derive(Debug)]
pub struct Authority {
    store: Store,
    lifetimes: Lifetimes,
    loss: Loss,
    current: watch::Sender<Option<Arc<Current>>>,
    /// Once in force, it begins anew no more: two installations that both may would replace each other for ever.
    was_in_force: Mutex<bool>,
    published: Mutex<Option<Timestamp>>,
}

/// How looking after it came out.
#[derive(Debug, PartialEq, Eq)]
enum Tended {
    /// There is one, and nothing changes by itself before this time.
    Until(Option<Timestamp>),
    /// Another replica is making it.
    BeingMade,
}

impl Authority {
    /// An authority kept in `folder`; nothing is in force before [`Authority::keep`] runs.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(folder: &Path, config: &AuthorityConfig, identity: Duration) -> Result<Self, AuthorityError> {
        Ok(Self {
            store: Store::open(folder, config.mounted)?,
            lifetimes: Lifetimes { authority: config.lifetime.0, identity, settle: config.settle.0 },
            loss: config.without_key,
            current: watch::channel(None).0,
            was_in_force: Mutex::new(false),
            published: Mutex::new(None),
        })
    }

    /// Waits until there is one to sign with.
    pub async fn in_force(&self) {
        // The sender lives in `self`.
        let _ = self.current.subscribe().wait_for(Option::is_some).await;
    }

    /// Whom everybody is to trust, PEM; `None` while there is nothing in force.
    #[must_use]
    pub fn bundle(&self) -> Option<String> {
        self.current.borrow().as_ref().map(|current| current.bundle.clone())
    }

    /// Signs what was granted, for the holder of `key`.
    pub(crate) fn sign(
        &self,
        grant: &Grant,
        key: &impl PublicKeyData,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Signed, AuthorityError> {
        let current = self.current.borrow().clone().ok_or(AuthorityError::Absent)?;
        let (chain_pem, not_after) = current.signing.sign(grant, key, now, lifetime)?;
        Ok(Signed { chain_pem, bundle_pem: current.bundle.clone(), not_after })
    }

    /// An identity for this process itself. Its key is never written anywhere.
    ///
    /// # Errors
    /// When there is nothing to sign with, or no randomness.
    pub fn own(
        &self,
        id: &PeerId,
        usage: Usage,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Reloadable, AuthorityError> {
        let made = KeyAndRequest::generate(&spiffe(id), &[])?;
        let unreadable = |why: String| AuthorityError::Certificate(CertificateError::Read(why));
        let (key, _) = request::read(&made.csr_pem).map_err(|error| unreadable(error.0))?;
        let key = key.ok_or_else(|| unreadable("the own key is of no kind that can be certified".to_owned()))?;
        let grant = Grant { id: id.clone(), usage, addresses: Vec::new(), hosts: Vec::new() };
        let signed = self.sign(&grant, &key, now, lifetime)?;
        let identity = Identity::from_pem(&signed.chain_pem, &made.key_pem)?;
        Ok(Reloadable::new(identity, &signed.bundle_pem)?)
    }

    /// Looks after the authority until it is dropped: makes it, publishes it, has it followed by the next.
    pub(crate) async fn keep(&self, bus: Bus, frame: Frame, metrics: SecurityMetrics) -> Result<(), BusError> {
        let condition = frame.health.condition("authority");
        let mut trust = bus.identities().trust().await?;
        loop {
            let pause = match self.tend(&bus, &trust).await {
                Ok(Tended::Until(next)) => {
                    condition.set_ready();
                    self.show(&frame, &metrics);
                    next.map_or(CALM, |next| next.since(bus.clock().now()).min(CALM))
                }
                Ok(Tended::BeingMade) => SOON,
                Err(error) => {
                    condition.set_not_ready(chain(&error));
                    tracing::error!(error = %chain(&error), "the authority cannot be used");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                live = trust.changed() => if !live { return Err(BusError::Connection("closed".to_owned())) },
            }
        }
    }

    fn show(&self, frame: &Frame, metrics: &SecurityMetrics) {
        if let Some(current) = self.current.borrow().as_ref() {
            let Term { since, until } = current.signing.term;
            metrics.authority_expires(until);
            let trusted = certificates(&current.bundle).len();
            frame.status.set("authority", &serde_json::json!({ "since": since, "until": until, "trusted": trusted }));
        }
    }

    async fn tend(&self, bus: &Bus, trust: &Watched<Option<String>>) -> Result<Tended, AuthorityError> {
        let now = bus.clock().now();
        let published = trust.get().as_deref().map(certificates).unwrap_or_default();
        let mut signers = self.store.load()?;
        if !self.may_sign(&signers, &published) {
            self.current.send_replace(None);
            return Err(AuthorityError::Elsewhere);
        }
        if !self.store.is_mounted() && self.standing(&signers, now).make_next {
            let key = LeaseKey::mesh(Service::Security, "authority");
            match bus.leases().acquire(&key, LEASE).await? {
                Some(lease) => {
                    signers = self.make_next(now)?;
                    drop(lease);
                }
                // While there is one that signs, its successor can be made a moment later.
                None if self.standing(&signers, now).signing.is_none() => return Ok(Tended::BeingMade),
                None => {}
            }
        }
        let standing = self.standing(&signers, now);
        let absent = || if self.store.is_mounted() { AuthorityError::NotMounted } else { AuthorityError::Absent };
        let signing = standing.signing.and_then(|n| signers.get(n)).ok_or_else(absent)?;
        let bundle = self.bundle_of(&signers, &standing, &published, now);
        self.publish(bus, &bundle, &published, now).await?;
        *self.was_in_force.lock().unwrap_or_else(PoisonError::into_inner) = true;
        // Told only after everybody can know: what it signs is trusted.
        self.current.send_replace(Some(Arc::new(Current { signing: Arc::clone(signing), bundle })));
        Ok(Tended::Until(next_change(&terms(&signers), now, &self.lifetimes)))
    }

    /// Under the lease: looks again, for another replica may have been faster, and makes one if there still is to be one.
    fn make_next(&self, now: Timestamp) -> Result<Vec<Arc<Signer>>, AuthorityError> {
        let signers = self.store.load()?;
        let standing = self.standing(&signers, now);
        for (n, signer) in signers.iter().enumerate() {
            if Some(n) != standing.signing && !standing.trusted.contains(&n) {
                self.store.forget(signer.term)?;
            }
        }
        if standing.make_next {
            self.store.keep(now, &make_authority(now, self.lifetimes.authority)?)?;
            tracing::info!(valid_for = ?self.lifetimes.authority, "a new authority was made");
        }
        Ok(self.store.load()?)
    }

    fn standing(&self, signers: &[Arc<Signer>], now: Timestamp) -> Standing {
        standing(&terms(signers), now, &self.lifetimes)
    }

    /// Whether what is in the folder is what the mesh trusts, or may take its place.
    fn may_sign(&self, signers: &[Arc<Signer>], published: &[String]) -> bool {
        let ours = signers.iter().any(|signer| published.contains(&normal(&signer.pem)));
        let begins = self.loss != Loss::Wait && !*self.was_in_force.lock().unwrap_or_else(PoisonError::into_inner);
        published.is_empty() || ours || begins
    }

    /// The authority's trusted certificates, oldest first, then those of a lost one that may still be needed.
    fn bundle_of(&self, signers: &[Arc<Signer>], standing: &Standing, published: &[String], now: Timestamp) -> String {
        let mut bundle: Vec<String> =
            standing.trusted.iter().filter_map(|n| signers.get(*n)).map(|signer| normal(&signer.pem)).collect();
        if self.loss != Loss::ReplaceAndDistrust {
            let ours: Vec<String> = signers.iter().map(|signer| normal(&signer.pem)).collect();
            let lost_is_trusted = now < lost_is_trusted_until(&terms(signers), &self.lifetimes);
            let newest = signers.last().map_or(Timestamp(0), |signer| signer.term.since);
            let others = published.iter().filter(|one| !ours.contains(one));
            // A mounted folder changes for one replica before it does for another: what is newer than all of ours, ours will be.
            bundle.extend(others.filter(|one| lost_is_trusted || made_after(one, newest)).cloned());
        }
        bundle.concat()
    }

    async fn publish(&self, bus: &Bus, bundle: &str, published: &[String], now: Timestamp) -> Result<(), BusError> {
        let last = *self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = last.is_some_and(|at| now < at.after(REPUBLISH));
        if fresh && certificates(bundle) == published {
            return Ok(());
        }
        bus.identities().set_trust(bundle).await?;
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }
}

/// Whether a certificate of an authority was made after `newest`.
fn made_after(pem: &str, newest: Timestamp) -> bool {
    certificate::inspect(pem).is_ok_and(|(term, _)| term.since > newest)
}

fn terms(signers: &[Arc<Signer>]) -> Vec<Term> {
    signers.iter().map(|signer| signer.term).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    impl Authority {
        /// One that is in force without a broker.
        pub(crate) fn for_test(folder: &Path, now: Timestamp) -> Self {
            let authority = Self::new(folder, &AuthorityConfig::default(), Duration::from_secs(86_400)).unwrap();
            let signers = authority.make_next(now).unwrap();
            let standing = authority.standing(&signers, now);
            let bundle = authority.bundle_of(&signers, &standing, &[], now);
            let signing = Arc::clone(&signers[standing.signing.unwrap()]);
            authority.current.send_replace(Some(Arc::new(Current { signing, bundle })));
            authority
        }
    }

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn authority(folder: &Path, loss: Loss) -> Authority {
        let config = AuthorityConfig { without_key: loss, ..AuthorityConfig::default() };
        Authority::new(folder, &config, Duration::from_secs(86_400)).unwrap()
    }

    #[test]
    fn it_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (authority(folder.path(), Loss::Wait), authority(folder.path(), Loss::Wait));
        let first = one.make_next(NOW).unwrap();
        let second = two.make_next(NOW.after(Duration::from_secs(5))).unwrap();
        assert_eq!((first.len(), second.len()), (1, 1));
        assert_eq!(first[0].pem, second[0].pem);
    }

    #[test]
    fn its_successor_takes_over_and_its_files_go_when_nothing_of_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path(), Loss::Wait);
        let lifetimes = authority.lifetimes;
        authority.make_next(NOW).unwrap();
        let later = NOW.after(lifetimes.authority / 3 * 2);
        let both = authority.make_next(later).unwrap();
        assert_eq!(both.len(), 2);
        let bundle = authority.bundle_of(&both, &authority.standing(&both, later), &[], later);
        assert_eq!(certificates(&bundle), [normal(&both[0].pem), normal(&both[1].pem)]);
        let much_later = later.after(lifetimes.settle).after(lifetimes.identity);
        assert_eq!(authority.make_next(much_later).unwrap().len(), 1);
    }

    #[test]
    fn without_the_key_of_the_one_in_force_it_signs_only_if_told_to_begin_anew() {
        let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let foreign = vec![normal(&authority(other.path(), Loss::Wait).make_next(NOW).unwrap()[0].pem)];
        for (loss, may, trusted) in
            [(Loss::Wait, false, 2), (Loss::Replace, true, 2), (Loss::ReplaceAndDistrust, true, 1)]
        {
            let authority = authority(mine.path(), loss);
            assert_eq!(authority.may_sign(&[], &foreign), may, "{loss:?}");
            assert!(authority.may_sign(&[], &[]), "a first one is nobody's loss");
            let signers = authority.make_next(NOW).unwrap();
            let standing = authority.standing(&signers, NOW);
            let bundle = authority.bundle_of(&signers, &standing, &foreign, NOW);
            assert_eq!(certificates(&bundle).len(), trusted, "{loss:?}");
            let day_after = NOW.after(Duration::from_secs(86_400));
            let bundle = authority.bundle_of(&signers, &standing, &foreign, day_after);
            assert_eq!(certificates(&bundle).len(), 1, "{loss:?}");
            *authority.was_in_force.lock().unwrap() = true;
            assert!(!authority.may_sign(&signers, &foreign), "two that replace each other would never end");
            assert!(authority.may_sign(&signers, &certificates(&bundle)));
        }
    }

    #[test]
    fn what_another_replica_has_mounted_already_is_not_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path(), Loss::Wait);
        let signers = authority.make_next(NOW).unwrap();
        let standing = authority.standing(&signers, NOW);
        let later = NOW.after(authority.lifetimes.authority / 3 * 2);
        let made = |at: Timestamp| normal(&make_authority(at, authority.lifetimes.authority).unwrap().pem);
        let (before, after) = (made(Timestamp(NOW.0 - 1_000)), made(later));
        let published = vec![before, normal(&signers[0].pem), after.clone()];
        let bundle = authority.bundle_of(&signers, &standing, &published, later);
        assert_eq!(certificates(&bundle), [normal(&signers[0].pem), after]);
    }

    #[test]
    fn its_own_identities_are_trusted_by_its_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::for_test(folder.path(), NOW);
        let id = PeerId::Service(Service::Security);
        let own = authority.own(&id, Usage::Client, NOW, Duration::from_secs(60)).unwrap();
        assert_eq!(*own.identity().spiffe_id(), spiffe(&id));
        assert_eq!(own.identity().not_after(), NOW.after(Duration::from_secs(60)));
        assert_eq!(certificates(authority.bundle().unwrap()).len(), 1);
    }

    #[test]
    fn nothing_is_signed_before_it_is_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path(), Loss::Wait);
        let own = authority.own(&PeerId::Service(Service::Security), Usage::Client, NOW, Duration::from_secs(60));
        assert!(matches!(own, Err(AuthorityError::Absent)));
        assert_eq!(authority.bundle(), None);
    }
}

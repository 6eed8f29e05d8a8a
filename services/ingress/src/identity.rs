//! The own certificate, with which workers know that it is ingress who asks: requested from security, renewed after two
//! thirds of its life. The key never leaves this process. Until it is there no worker can be reached.

use crate::{stack::Ingress, upstream::Pool};
use slipway_bus::{Bus, Granted, IdentityError, Watched};
use slipway_kernel::{Service, Timestamp};
use slipway_runtime::{
    Clock, Condition,
    tls::{Identity, KeyAndRequest, Reloadable, SpiffeId, TlsError},
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long one request for a certificate waits. Security answers within milliseconds once it runs.
const ANSWER: Duration = Duration::from_secs(10);
/// The pause after a failure: at first about as long as security takes to start, then no longer than a person waits.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum NoIdentity {
    #[error("security did not issue a certificate")]
    Refused(#[from] IdentityError),
    #[error("the certificate cannot be used")]
    Unusable(#[from] TlsError),
}

/// Keeps the certificate fresh until the shutdown.
pub async fn run(
    ingress: Arc<Ingress>,
    bus: Bus,
    condition: Condition,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let trust = bus.identities().trust().await?;
    let mut keeper = Keeper { bus, reloadable: None };
    let mut pause = PAUSE.0;
    loop {
        let wait = match keeper.renew(&ingress.pool).await {
            Ok(renew_at) => {
                ingress.metrics.identity(true);
                condition.set_ready();
                pause = PAUSE.0;
                renew_at.since(ingress.clock.now()).max(PAUSE.0)
            }
            Err(error) => {
                ingress.metrics.identity(false);
                warn!(error = &error as &dyn std::error::Error, "no certificate yet");
                keeper.judge(&condition, &ingress.clock);
                let now = pause;
                pause = (pause * 2).min(PAUSE.1);
                now
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = sleep(wait) => {}
            () = keeper.follow_trust(trust.clone()), if keeper.reloadable.is_some() => {}
        }
    }
}

struct Keeper {
    bus: Bus,
    reloadable: Option<Reloadable>,
}

impl Keeper {
    /// Asks for a certificate and uses it; returns when to ask for the next.
    async fn renew(&mut self, pool: &Pool) -> Result<Timestamp, NoIdentity> {
        let id = SpiffeId::Service(Service::Ingress);
        let made = KeyAndRequest::generate(&id, &[])?;
        let identities = self.bus.identities();
        let granted = identities.request(self.bus.instance(), &id.to_string(), &made.csr_pem, &[], ANSWER).await?;
        let Granted { chain_pem, ca_bundle_pem, .. } = granted;
        let identity = Identity::from_pem(&chain_pem, &made.key_pem)?;
        let renew_at = identity.renew_at();
        match &self.reloadable {
            Some(reloadable) => {
                reloadable.set_trust(&ca_bundle_pem)?;
                reloadable.set_identity(identity);
            }
            None => {
                let reloadable = Reloadable::new(identity, &ca_bundle_pem)?;
                pool.set_identity(reloadable.clone());
                self.reloadable = Some(reloadable);
            }
        }
        info!(renew_at = renew_at.0, "there is a new certificate");
        Ok(renew_at)
    }

    /// An old certificate that is still good is good enough.
    fn judge(&self, condition: &Condition, clock: &Clock) {
        match &self.reloadable {
            Some(reloadable) if reloadable.identity().not_after() > clock.now() => {}
            Some(_) => condition.set_not_ready("the certificate has expired and security issues no other"),
            None => condition.set_not_ready("security has not issued a certificate yet"),
        }
    }

    /// Trusts whom security says; never ends while the broker is there.
    async fn follow_trust(&self, mut trust: Watched<Option<String>>) {
        let Some(reloadable) = &self.reloadable else { return };
        loop {
            if let Some(bundle) = trust.get().as_ref()
                && let Err(error) = reloadable.set_trust(bundle)
            {
                warn!(error = &error as &dyn std::error::Error, "whom to trust cannot be read; what was trusted stays");
            }
            if !trust.changed().await {
                return std::future::pending().await;
            }
        }
    }
}

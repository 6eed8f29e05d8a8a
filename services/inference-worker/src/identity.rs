//! Who the worker is: a key that never leaves the process, and a certificate from security for it.
//!
//! Without an identity the worker serves nothing. It asks until it is given one, because security grants it only once the
//! revision is deployed; it asks again at two thirds of its life.

use std::net::IpAddr;
use std::time::Duration;

use slipway_bus::{Bus, Granted, IdentityError};
use slipway_runtime::tls::{Identity, KeyAndRequest, Reloadable, SpiffeId, TlsError};
use slipway_runtime::{CancellationToken, Clock, Condition};

use crate::config::Assignment;
use crate::findings::chain;

/// How long one request waits for its answer. Security answers in milliseconds when it is there.
const ANSWER: Duration = Duration::from_secs(10);
/// First pause before asking again; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A deployment waits for its workers, so it is asked often; each question is one small entry in a table.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Asks for identities.
#[derive(Debug, Clone)]
pub struct Applicant {
    bus: Bus,
    clock: Clock,
    id: SpiffeId,
    instance: String,
    names: Vec<String>,
}

/// Why one request gave no identity.
#[derive(Debug, thiserror::Error)]
enum Ungranted {
    #[error("the identity was not granted")]
    Refused(#[from] IdentityError),
    #[error("the granted identity is of no use")]
    Useless(#[from] TlsError),
}

impl Applicant {
    /// An applicant for the worker's revision, reachable under this address.
    #[must_use]
    pub fn new(bus: Bus, clock: Clock, assignment: &Assignment, address: IpAddr) -> Self {
        Self {
            bus,
            clock,
            id: SpiffeId::Revision { deployment: assignment.deployment.clone(), revision: assignment.revision },
            instance: assignment.instance.clone(),
            names: vec![address.to_string()],
        }
    }

    /// The first identity, asked for until it is granted; `None` when the worker is to end first.
    pub async fn first(&self, shutdown: &CancellationToken, condition: &Condition) -> Option<Reloadable> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = tokio::select! {
                () = shutdown.cancelled() => return None,
                asked = self.ask() => match asked
                    .and_then(|(identity, granted)| Ok(Reloadable::new(identity, &granted.ca_bundle_pem)?))
                {
                    Ok(reloadable) => return Some(reloadable),
                    Err(error) => error,
                },
            };
            tracing::info!(error = %chain(&error), "no identity yet");
            condition.set_not_ready(chain(&error));
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = self.clock.sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    /// Renews the identity and follows the authority, for as long as the process lives.
    pub async fn keep(self, reloadable: Reloadable, condition: Condition) -> anyhow::Result<()> {
        let mut trust = self.bus.identities().trust().await?;
        let mut pause = FIRST_PAUSE;
        let mut next = reloadable.identity().renew_at();
        loop {
            tokio::select! {
                live = trust.changed() => {
                    anyhow::ensure!(live, "the authority is followed no more");
                    self.take_trust(&reloadable, trust.get().as_deref());
                }
                () = self.clock.sleep_until(next) => match self.ask().await {
                    Ok((identity, _)) => {
                        reloadable.set_identity(identity);
                        condition.set_ready();
                        pause = FIRST_PAUSE;
                        next = reloadable.identity().renew_at();
                    }
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "the identity could not be renewed yet");
                        self.report_expiry(&reloadable, &condition);
                        next = self.clock.now().after(pause);
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                },
            }
        }
    }

    fn take_trust(&self, reloadable: &Reloadable, bundle: Option<&str>) {
        let Some(bundle) = bundle else { return };
        if let Err(error) = reloadable.set_trust(bundle) {
            // What was trusted before still is; a bundle that cannot be read must not lock everyone out.
            tracing::error!(%error, "the authority's new certificates are of no use");
        }
    }

    fn report_expiry(&self, reloadable: &Reloadable, condition: &Condition) {
        if reloadable.identity().not_after() <= self.clock.now() {
            condition.set_not_ready("the identity has expired");
        }
    }

    async fn ask(&self) -> Result<(Identity, Granted), Ungranted> {
        // A new key each time: an old one may have been asked for by a process that is gone.
        let made = KeyAndRequest::generate(&self.id, &self.names)?;
        let granted = self
            .bus
            .identities()
            .request(&self.instance, &self.id.to_string(), &made.csr_pem, &self.names, ANSWER)
            .await?;
        let identity = Identity::from_pem(&granted.chain_pem, &made.key_pem)?;
        Ok((identity, granted))
    }
}

//! A lease that is held.

use super::{Held, LeaseError, renew};
use crate::{connect::Bus, kv::Table};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// A held lease. Dropping it releases it. It is lost when it could not be renewed in time by this process's own monotonic clock, or
/// somebody else has it: then the effect it guards must stop.
#[derive(Debug)]
pub struct Lease {
    bus: Bus,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: String,
    token: u64,
    table: Table,
    ttl: Duration,
    state: Mutex<State>,
    /// Until when it is held for certain: counted from when the last successful renewal was asked for, not answered.
    until: watch::Sender<Instant>,
    lost: CancellationToken,
    dropped: CancellationToken,
}

#[derive(Debug)]
struct State {
    held: Held,
    revision: u64,
}

impl Lease {
    pub(super) fn start(
        bus: &Bus,
        table: Table,
        key: String,
        mut held: Held,
        revision: u64,
        ttl: Duration,
        asked: Instant,
    ) -> Self {
        held.token = revision;
        let shared = Arc::new(Shared {
            key,
            token: revision,
            table,
            ttl,
            state: Mutex::new(State { held, revision }),
            until: watch::Sender::new(asked + ttl),
            lost: CancellationToken::new(),
            dropped: CancellationToken::new(),
        });
        bus.background(keep(Arc::clone(&shared)));
        Self { bus: bus.clone(), shared }
    }

    /// The fencing token: the same as long as the lease is held, larger than that of every earlier holder. It travels with the effect.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.shared.token
    }

    /// The name.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.shared.key
    }

    /// Whether it is still held. A process that was stopped for a while knows at once when it goes on.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.shared.lost.is_cancelled() && Instant::now() < *self.shared.until.borrow()
    }

    /// Ends when the lease is lost.
    pub async fn lost(&self) {
        self.shared.lost.cancelled().await;
    }

    /// Says something with the lease, for those who follow it.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] when it is not held any more; a broker error leaves the value to the next renewal.
    pub async fn set_value(&self, value: &impl Serialize) -> Result<(), LeaseError> {
        let value = serde_json::to_value(value).map_err(|error| crate::error::BusError::Unreadable {
            action: format!("write `{}`", self.shared.key),
            reason: error.to_string(),
        })?;
        self.shared.renew(Some(value)).await
    }

    /// Releases it and waits until others can take it.
    ///
    /// # Errors
    /// When the broker does not answer; the lease then runs out by itself.
    pub async fn release(self) -> Result<(), LeaseError> {
        self.shared.dropped.cancel();
        self.shared.give_up().await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.dropped.cancel();
        let shared = Arc::clone(&self.shared);
        self.bus.farewell(async move {
            if let Err(error) = shared.give_up().await {
                tracing::debug!(key = shared.key, %error, "the lease is left to run out");
            }
        });
    }
}

impl Shared {
    /// Held over the whole exchange: two renewals at once would each see the other as a thief.
    async fn renew(&self, value: Option<serde_json::Value>) -> Result<(), LeaseError> {
        let mut state = self.state.lock().await;
        if self.lost.is_cancelled() {
            return Err(LeaseError::Lost { key: self.key.clone() });
        }
        if let Some(value) = value {
            state.held.value = value;
        }
        let (asked, until) = (Instant::now(), *self.until.borrow());
        if asked >= until {
            // A process that was stopped must not renew what it no longer had.
            self.lost.cancel();
            return Err(LeaseError::Lost { key: self.key.clone() });
        }
        let renewing = renew(&self.table, &self.key, &state.held, state.revision, self.ttl);
        // Past the end of the lease an answer is worth nothing.
        match tokio::time::timeout_at(until, renewing).await {
            Ok(Ok(Some(revision))) => {
                state.revision = revision;
                self.until.send_replace(asked + self.ttl);
                Ok(())
            }
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(None)) | Err(_) => {
                self.lost.cancel();
                Err(LeaseError::Lost { key: self.key.clone() })
            }
        }
    }

    async fn give_up(&self) -> Result<(), LeaseError> {
        let state = self.state.lock().await;
        if self.lost.is_cancelled() {
            return Ok(());
        }
        self.lost.cancel();
        self.table.remove_at(&self.key, state.revision).await?;
        Ok(())
    }
}

async fn keep(shared: Arc<Shared>) {
    let mut pause = shared.ttl / 3;
    loop {
        let until = *shared.until.borrow();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.dropped.cancelled() => return,
            () = tokio::time::sleep_until(until) => {
                tracing::warn!(key = shared.key, "the lease ran out before it could be renewed");
                shared.lost.cancel();
                return;
            }
        }
        pause = match shared.renew(None).await {
            Ok(()) => shared.ttl / 3,
            Err(LeaseError::Lost { .. }) => {
                tracing::warn!(key = shared.key, "the lease is lost");
                return;
            }
            // The broker is away for a moment: try again while there is time.
            Err(LeaseError::Bus(error)) => {
                tracing::debug!(key = shared.key, %error, "renewing a lease failed");
                shared.ttl / 10
            }
        };
    }
}

//! Making the connection: the first one within a time or without end, all later ones for ever; a broker that is too old is refused.

use super::{Bus, BusConfig};
use crate::{
    error::BusError,
    metrics::BusMetrics,
    principal::Principal,
    topology::{self, inbox},
};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use slipway_kernel::Span;
use slipway_runtime::Condition;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

/// The oldest broker that has all that is used: per-key lifetimes with markers (2.11), guarded writes over a filter, asynchronous
/// persistence (2.12).
const OLDEST: (u32, u32) = (2, 12);
const OLDEST_TEXT: &str = "2.12";
/// The longest pause between two attempts to connect. A broker that restarts is found again within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the event callback of the connection reports to.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) connections: watch::Sender<u64>,
    pub(super) violations: broadcast::Sender<Arc<str>>,
    pub(super) condition: Condition,
    pub(super) metrics: BusMetrics,
    pub(super) principal: Principal,
}

impl Listener {
    fn hear(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.connections.send_modify(|count| *count += 1);
                self.condition.set_ready();
                self.metrics.connected.set(1);
            }
            Event::Disconnected | Event::Closed => {
                self.condition.set_not_ready("not connected to the broker");
                self.metrics.connected.set(0);
            }
            Event::ServerError(error) => {
                let text = error.to_string();
                tracing::warn!(principal = %self.principal, error = %text, "the broker objects");
                // Nobody may be waiting for it.
                let _ = self.violations.send(text.into());
            }
            Event::SlowConsumer(subscription) => {
                tracing::warn!(subscription, "messages were dropped because nobody took them in time");
            }
            Event::LameDuckMode | Event::Draining | Event::ClientError(_) => {
                tracing::debug!(%event, "connection");
            }
        }
    }
}

fn options(config: &BusConfig, principal: Principal, seed: Option<String>, listener: &Listener) -> ConnectOptions {
    let heard = listener.clone();
    let mut options = match seed {
        Some(seed) => ConnectOptions::with_nkey(seed),
        None => ConnectOptions::new(),
    };
    if let Some(ca) = &config.ca_file {
        options = options.add_root_certificates(ca.clone());
    }
    options
        .name(principal)
        .custom_inbox_prefix(inbox(principal))
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(config.request_timeout.0))
        // A dead peer is noticed after two of these.
        .ping_interval(Duration::from_secs(10))
        .max_reconnects(None)
        .reconnect_delay_callback(pause)
        // What may wait for the connection's writer: beyond it senders wait, which is the back-pressure wanted.
        .client_capacity(2_048)
        // Deliveries that may wait for one subscriber; a follower that is slower than this reads the gap again.
        .subscription_capacity(65_536)
        .event_callback(move |event| {
            let heard = heard.clone();
            async move { heard.hear(&event) }
        })
}

/// The pause before the nth attempt: doubling from 50 ms, at most `LONGEST_PAUSE`, each shortened by up to a half at random so that
/// all services of a mesh do not knock at once.
fn pause(attempt: usize) -> Duration {
    let exponent = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    let full = Duration::from_millis(50 << exponent).min(LONGEST_PAUSE);
    full.mul_f64(1.0 - rand::random::<f64>() / 2.0)
}

/// Until when the broker, and what a service needs of it, may take to be there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// Until this moment.
    Until(Instant),
    /// As long as it takes: an orchestrator starts everything at once, and who waits where he is is there soonest.
    Endless,
}

impl Patience {
    /// From now on; nothing at all stands for no end.
    pub(super) fn of(timeout: Span) -> Self {
        if timeout == Span::default() { Self::Endless } else { Self::Until(Instant::now() + timeout.0) }
    }

    fn is_over(self) -> bool {
        matches!(self, Self::Until(deadline) if Instant::now() >= deadline)
    }

    const fn has_end(self) -> bool {
        matches!(self, Self::Until(_))
    }
}

pub(super) async fn first_connection(
    config: &BusConfig,
    principal: Principal,
    seed: Option<String>,
    listener: &Listener,
    patience: Patience,
) -> Result<Client, BusError> {
    let servers: Vec<&str> = config.url.split(',').map(str::trim).collect();
    let mut attempt = 0;
    loop {
        attempt += 1;
        match options(config, principal, seed.clone(), listener).connect(servers.as_slice()).await {
            Ok(client) => return Ok(client),
            Err(source) => {
                let refused = matches!(
                    source.kind(),
                    ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation
                );
                // Who waits without end waits for the broker to be told of its key, too.
                if (refused && patience.has_end()) || patience.is_over() {
                    return Err(BusError::Connect { url: config.url.clone(), principal, source });
                }
                let away =
                    if refused { "the broker does not know this key yet" } else { "the broker does not answer yet" };
                if attempt == 1 {
                    tracing::info!(url = config.url, error = %source, "waiting for the broker");
                }
                listener.condition.set_not_ready(format!("{away}: {}: {source}", config.url));
                tokio::time::sleep(pause(attempt)).await;
            }
        }
    }
}

/// Waits until the broker has the streams, consumers and buckets that this version needs.
pub(super) async fn topology(bus: &Bus, condition: &Condition, patience: Patience) -> Result<(), BusError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let missing = match topology::version(bus).await {
            Ok(Some(found)) if found >= topology::VERSION => return Ok(()),
            Ok(found) => BusError::Topology { found, needed: topology::VERSION },
            Err(error) => error,
        };
        if patience.is_over() {
            return Err(missing);
        }
        if attempt == 1 {
            tracing::info!(reason = %missing, "waiting for the streams");
        }
        condition.set_not_ready(missing.to_string());
        tokio::time::sleep(pause(attempt)).await;
    }
}

pub(super) fn check_version(client: &Client) -> Result<(), BusError> {
    let found = client.server_info().version;
    if is_recent(&found) { Ok(()) } else { Err(BusError::TooOld { found, needed: OLDEST_TEXT }) }
}

fn is_recent(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_broker_is_known_by_its_version() {
        for version in ["2.12.0", "2.15.1", "2.12.0-beta.1", "3.0.0", "10.1.0"] {
            assert!(is_recent(version), "{version}");
        }
        for version in ["2.9.10", "2.11.9", "1.4.1", "", "latest"] {
            assert!(!is_recent(version), "{version}");
        }
    }

    #[test]
    fn patience_ends_when_it_is_over_and_none_given_is_endless() {
        assert!(!Patience::of(Span::default()).is_over() && !Patience::of(Span::default()).has_end());
        let brief = Patience::of(Span::seconds(60));
        assert!(brief.has_end() && !brief.is_over());
        assert!(Patience::Until(Instant::now()).is_over());
    }

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        assert!(pause(1) <= Duration::from_millis(50));
        for attempt in [0, 1, 5, 100, usize::MAX] {
            assert!(pause(attempt) <= LONGEST_PAUSE && pause(attempt) >= Duration::from_millis(25));
        }
    }
}

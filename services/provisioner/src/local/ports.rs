//! Ports: each worker answers on two of the loopback interface, chosen by the system.

use super::proof;
use slipway_kernel::{Finding, FindingKind, Proof};
use tokio::net::TcpListener;

/// Ports of one worker: requests, administration.
const PER_WORKER: u32 = 2;
/// More are not tried: who has this many free has more.
const MOST: u32 = 64;

/// As many ports can be bound at once as the first workers need.
pub(super) async fn check(workers: u32) -> Result<Proof, Finding> {
    let wanted = workers.saturating_mul(PER_WORKER).min(MOST);
    let mut bound = Vec::new();
    for n in 0..wanted {
        match TcpListener::bind(("127.0.0.1", 0)).await {
            Ok(listener) => bound.push(listener),
            Err(error) => {
                let message = format!(
                    "only {n} of {wanted} ports could be bound on 127.0.0.1: {error}; free ports or file descriptors"
                );
                let finding = Finding::transient(FindingKind::Unschedulable, message);
                return Err(finding.with_figures(f64::from(n), f64::from(wanted), "count"));
            }
        }
    }
    Ok(proof("ports", format!("{wanted} ports bound on 127.0.0.1 at once, and released")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_ports_are_bound_for_each_worker() {
        assert!(check(3).await.unwrap().detail.starts_with("6 ports"));
        assert!(check(1_000).await.unwrap().detail.starts_with("64 ports"));
    }
}

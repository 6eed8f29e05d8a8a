//! Which part of the log each ingress replica routes by. A shift has arrived when every live replica is past it.

use crate::{
    connect::Bus,
    error::BusError,
    kv::{Table, decode_all},
    topology::Bucket,
    watched::Watched,
};
use serde::{Deserialize, Serialize};
use slipway_kernel::{RevisionId, Timestamp};
use std::time::Duration;

/// What one replica routes by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteReport {
    /// The replica.
    pub instance: String,
    /// It has applied the log up to this sequence.
    #[serde(with = "slipway_kernel::wire::u64_string")]
    pub applied: u64,
    /// When it said so, by its own clock.
    pub at: Timestamp,
    /// How revisions whose share changes do here.
    #[serde(default)]
    pub stats: Vec<RevisionStats>,
}

/// How one revision did at one replica since its share changed last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStats {
    /// `<namespace>.<deployment>`.
    pub deployment: String,
    /// The revision.
    pub revision: RevisionId,
    /// Requests answered.
    #[serde(with = "slipway_kernel::wire::u64_string")]
    pub requests: u64,
    /// Of these, failed by our fault.
    #[serde(with = "slipway_kernel::wire::u64_string")]
    pub failures: u64,
    /// 99 of 100 were answered within this, in milliseconds.
    pub p99_ms: f64,
}

/// Why the replicas are not where they should be.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Some live replicas are not there yet.
    #[error("ingress replicas behind: {}", instances.join(", "))]
    Behind {
        /// Which.
        instances: Vec<String>,
    },
    /// The reports could not be read.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// What the live replicas said, as far as it was read.
#[derive(Debug)]
pub(crate) struct Known {
    reports: Vec<RouteReport>,
    read: u64,
}

impl Known {
    fn behind(&self, sequence: u64) -> impl Iterator<Item = &RouteReport> {
        self.reports.iter().filter(move |report| report.applied < sequence)
    }
}

/// The reports.
#[derive(Clone, Debug)]
pub struct RouteReports {
    table: Table,
    bus: Bus,
}

impl RouteReports {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { table: Table::new(bus.clone(), Bucket::Routes), bus }
    }

    fn key(&self) -> String {
        // One key per replica; the entry goes with its writer.
        format!("ingress.{}", self.bus.instance())
    }

    /// Says that this replica routes by the log up to `applied`. To be repeated each 5 s, or the replica is no longer waited for.
    ///
    /// # Errors
    /// When the write fails.
    pub async fn report(&self, applied: u64) -> Result<(), BusError> {
        self.report_with(applied, Vec::new()).await
    }

    /// The same, with how the revisions do whose share changes.
    ///
    /// # Errors
    /// When the write fails.
    pub async fn report_with(&self, applied: u64, stats: Vec<RevisionStats>) -> Result<(), BusError> {
        let at = self.bus.clock().now();
        let report = RouteReport { instance: self.bus.instance().to_owned(), applied, at, stats };
        self.table.put(&self.key(), &report).await.map(drop)
    }

    /// Says that this replica routes no more.
    ///
    /// # Errors
    /// When the write fails; the report then expires.
    pub async fn withdraw(&self) -> Result<(), BusError> {
        self.table.remove(&self.key()).await
    }

    /// The live replicas.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn replicas(&self) -> Result<Vec<RouteReport>, BusError> {
        let entries = self.table.list(">").await?;
        Ok(decode_all(&entries).into_iter().map(|(_, report)| report).collect())
    }

    /// Follows the live replicas.
    ///
    /// # Errors
    /// When the broker does not answer at first.
    pub async fn follow(&self) -> Result<Watched<Vec<RouteReport>>, BusError> {
        self.table.follow(">", |entries| decode_all(entries).into_iter().map(|(_, report)| report).collect()).await
    }

    /// Waits until every live replica routes by the log up to `sequence`; returns how many there are. None is not an error here:
    /// nothing routes, so nothing routes wrongly.
    ///
    /// # Errors
    /// [`RouteError::Behind`] when `timeout` is over, naming the replicas that are not there.
    pub async fn wait_all(&self, sequence: u64, timeout: Duration) -> Result<usize, RouteError> {
        // What was reported before this was asked counts, though the broker may not have told of it here yet.
        let newest = self.table.newest().await?;
        let mut known = self.bus.routes_cell().get_or_try_init(|| self.follow_known()).await?.clone();
        let all_there = |known: &Known| known.read >= newest && known.behind(sequence).next().is_none();
        if let Some(known) = known.wait(timeout, all_there).await {
            return Ok(known.reports.len());
        }
        let behind = known.get().behind(sequence).map(|report| report.instance.clone()).collect();
        Err(RouteError::Behind { instances: behind })
    }

    async fn follow_known(&self) -> Result<Watched<Known>, BusError> {
        let known = self.table.follow_marked(">", |entries, read| Known {
            reports: decode_all(entries).into_iter().map(|(_, report)| report).collect(),
            read,
        });
        known.await
    }
}

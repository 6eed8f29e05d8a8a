//! The broker as far as queued requests need one, in memory.

use crate::mailbox::Mailbox;
use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use slipway_bus::{Accepted, AcceptedRequest, BusError, QueueError, Recorded};
use slipway_kernel::{DeploymentId, RequestId, RevisionId};
use slipway_proto::slipway::inference::v1::{CapturedResult, CapturedResults};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

type Key = (DeploymentId, RequestId);

#[derive(Default)]
pub(crate) struct MemoryMailbox {
    pub(super) accepted: Mutex<BTreeMap<Key, AcceptedRequest>>,
    pub(super) queued: Mutex<Vec<(RevisionId, Bytes)>>,
    pub(super) data: Mutex<Vec<Bytes>>,
    pub(super) results: Mutex<BTreeMap<Key, Bytes>>,
    pub(crate) captured: Mutex<Vec<(DeploymentId, Vec<CapturedResult>)>>,
    pub(super) full: AtomicBool,
    pub(crate) away: AtomicBool,
}

impl MemoryMailbox {
    fn reach(&self) -> Result<(), BusError> {
        if self.away.load(Ordering::SeqCst) { Err(BusError::Connection("away".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Mailbox for MemoryMailbox {
    async fn accept(
        &self,
        id: &DeploymentId,
        request: &RequestId,
        entry: &AcceptedRequest,
    ) -> Result<Accepted, BusError> {
        self.reach()?;
        // The one way to make a handler panic.
        assert_ne!(request.as_str(), "panic", "the mailbox was asked to panic");
        let mut accepted = self.accepted.lock().unwrap();
        let key = (id.clone(), request.clone());
        if let Some(known) = accepted.get(&key) {
            return Ok(Accepted::Existing(known.clone()));
        }
        accepted.insert(key, entry.clone());
        Ok(Accepted::New)
    }

    async fn accepted(&self, id: &DeploymentId, request: &RequestId) -> Result<Option<AcceptedRequest>, BusError> {
        self.reach()?;
        Ok(self.accepted.lock().unwrap().get(&(id.clone(), request.clone())).cloned())
    }

    async fn forget(&self, id: &DeploymentId, request: &RequestId) -> Result<(), BusError> {
        self.accepted.lock().unwrap().remove(&(id.clone(), request.clone()));
        Ok(())
    }

    async fn leave(
        &self,
        _: &DeploymentId,
        revision: RevisionId,
        _: &RequestId,
        payload: Bytes,
        data: Option<&Bytes>,
        _: Option<&str>,
    ) -> Result<(), QueueError> {
        self.reach().map_err(QueueError::Unavailable)?;
        if self.full.load(Ordering::SeqCst) {
            return Err(QueueError::Full);
        }
        self.queued.lock().unwrap().push((revision, payload));
        self.data.lock().unwrap().extend(data.cloned());
        Ok(())
    }

    async fn result(&self, id: &DeploymentId, request: &RequestId) -> Result<Option<Bytes>, BusError> {
        self.reach()?;
        Ok(self.results.lock().unwrap().get(&(id.clone(), request.clone())).cloned())
    }

    async fn record(
        &self,
        id: &DeploymentId,
        request: &RequestId,
        result: Bytes,
        _: Option<&str>,
    ) -> Result<Recorded, QueueError> {
        self.reach().map_err(QueueError::Unavailable)?;
        match self.results.lock().unwrap().entry((id.clone(), request.clone())) {
            Entry::Occupied(_) => Ok(Recorded::Already),
            Entry::Vacant(place) => {
                place.insert(result);
                Ok(Recorded::Stored)
            }
        }
    }

    async fn capture(&self, id: &DeploymentId, batch: Bytes) -> Result<(), QueueError> {
        self.reach().map_err(QueueError::Unavailable)?;
        let results = CapturedResults::decode(batch).unwrap().results;
        self.captured.lock().unwrap().push((id.clone(), results));
        Ok(())
    }
}

//! The proof that a store does what the sequences stand on.

use super::{super::probe_row, ObjectsSink, encode, keys};
use crate::{
    domain::{Row, RowKey},
    error::SinkError,
};
use futures::{TryStreamExt as _, future::join_all};
use object_store::{ObjectStoreExt as _, path::Path as ObjectPath};
use slipway_kernel::{DeploymentId, Proof};

/// How many create the same object at once. A store that looks first and writes then lets two of them win.
const RACERS: usize = 4;

impl ObjectsSink {
    /// Several create the same object at once: one of them must win, and what is read back must be what that one wrote. Then it is
    /// listed and removed.
    pub(super) async fn prove_store(&self, deployment: &DeploymentId) -> Result<Proof, SinkError> {
        let probes = (0..RACERS).map(|_| probe_row(deployment)).collect::<Vec<_>>();
        let folder = self.path(&format!("{}/{}/_probe", deployment.namespace, deployment.name));
        let path = folder.clone().join(format!("{}.probe", probes[0].request_id));
        let proved = self.race(&probes, &folder, &path).await;
        // Also what failed leaves nothing behind.
        let removed = self.store.delete(&path).await;
        proved?;
        removed.map_err(|error| self.failed("removed", error))?;
        let detail = format!(
            "of {RACERS} that wrote an object at once one was taken; it was read back, compared, listed and removed"
        );
        Ok(Proof { name: self.name.clone(), detail })
    }

    async fn race(&self, probes: &[Row], folder: &ObjectPath, path: &ObjectPath) -> Result<(), SinkError> {
        let mut contents = Vec::with_capacity(probes.len());
        for probe in probes {
            let content = encode(std::slice::from_ref(probe), self.layout);
            contents.push(content.map_err(|reason| SinkError::Row { sink: self.name.clone(), reason })?);
        }
        let tries = contents.iter().map(|content| self.create(path, content.clone()));
        let mut winners = Vec::new();
        for (n, created) in join_all(tries).await.into_iter().enumerate() {
            if created?.is_some() {
                winners.push(n);
            }
        }
        // Once more, when it is there for certain.
        let again = self.create(path, contents[0].clone()).await?;
        if winners.len() > 1 || again.is_some() {
            let winners = winners.len() + usize::from(again.is_some());
            return Err(SinkError::Unconditional { sink: self.name.clone(), winners });
        }
        let read = self.store.get(path).await.map_err(|error| self.failed("read", error))?;
        let read = read.bytes().await.map_err(|error| self.failed("read", error))?;
        // Whoever won may not have been told so, when its answer was lost and it was tried again.
        let won = contents.iter().position(|content| read == *content);
        let same = won.is_some_and(|won| {
            winners.iter().all(|winner| *winner == won)
                && keys(read, self.layout) == Ok(vec![RowKey::of(&probes[won].request_id)])
        });
        let listed: Vec<_> =
            self.store.list(Some(folder)).try_collect().await.map_err(|error| self.failed("listed", error))?;
        if !same || !listed.iter().any(|object| object.location == *path) {
            return Err(SinkError::ProbeDiffers { sink: self.name.clone() });
        }
        Ok(())
    }
}

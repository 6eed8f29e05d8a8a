//! A folder with one JSON object a file. The file's name is the row's key, and a file that is there is never written again.

use super::{Sink, open_folder, probe_row};
use crate::{domain::Row, error::SinkError};
use async_trait::async_trait;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, local::LocalFileSystem,
    path::Path as ObjectPath,
};
use slipway_kernel::{DeploymentId, Proof, RevisionId};
use std::sync::Arc;

/// A folder of JSON files: `<namespace>/<deployment>/<request id>.json`.
#[derive(Clone, Debug)]
pub(crate) struct FilesSink {
    store: Arc<LocalFileSystem>,
    name: String,
}

impl FilesSink {
    /// The sink for a `file:///` URI that was checked at the gate. The folder is made if it is not there.
    pub(crate) fn new(uri: &str) -> Result<Self, SinkError> {
        let (store, name) = open_folder(uri)?;
        Ok(Self { store: Arc::new(store), name })
    }

    fn key(row: &Row) -> ObjectPath {
        ObjectPath::from_iter([row.namespace.as_str(), row.deployment.as_str(), &format!("{}.json", row.request_id)])
    }

    fn suspects(deployment: &DeploymentId, revision: RevisionId) -> ObjectPath {
        let name = format!("_suspect-{revision}");
        ObjectPath::from_iter([deployment.namespace.as_str(), deployment.name.as_str(), &name])
    }

    fn failed(&self, action: &'static str, source: StoreError) -> SinkError {
        SinkError::Object { sink: self.name.clone(), action, source }
    }

    async fn create(&self, key: &ObjectPath, content: Vec<u8>) -> Result<bool, SinkError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(key, PutPayload::from(content), options).await {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(self.failed("written", error)),
        }
    }
}

#[async_trait]
impl Sink for FilesSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn prove(&self, deployment: &DeploymentId) -> Result<Proof, SinkError> {
        let row = probe_row(deployment);
        let key = Self::key(&row);
        self.write(&[&row]).await?;
        let read = self.store.get(&key).await.map_err(|error| self.failed("read", error))?;
        let read = read.bytes().await.map_err(|error| self.failed("read", error))?;
        self.store.delete(&key).await.map_err(|error| self.failed("removed", error))?;
        let same =
            serde_json::from_slice::<serde_json::Value>(&read).is_ok_and(|value| value["requestId"] == row.request_id);
        if !same {
            return Err(SinkError::ProbeDiffers { sink: self.name.clone() });
        }
        Ok(Proof { name: self.name.clone(), detail: "a file was written, read back, compared and removed".to_owned() })
    }

    async fn write(&self, rows: &[&Row]) -> Result<u64, SinkError> {
        let mut written = 0;
        for row in rows {
            // A row is a tree of strings and numbers; it always has JSON.
            let content = serde_json::to_vec(row).unwrap_or_default();
            written += u64::from(self.create(&Self::key(row), content).await?);
        }
        Ok(written)
    }

    /// Files are not rewritten: a marker beside them names the revision, as the files themselves do.
    async fn mark_suspect(&self, deployment: &DeploymentId, revision: RevisionId) -> Result<u64, SinkError> {
        let text = format!("results of revision {revision} are suspect: it was taken back\n");
        Ok(u64::from(self.create(&Self::suspects(deployment, revision), text.into_bytes()).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn a_file_is_written_once_and_a_probe_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let sink = FilesSink::new(&format!("file://{}", folder.path().display())).unwrap();
        let id: DeploymentId = "default.digits".parse().unwrap();
        sink.prove(&id).await.unwrap();
        let mut row = probe_row(&id);
        row.request_id = "r1".to_owned();
        assert_eq!(sink.write(&[&row, &row]).await.unwrap(), 1);
        let files: Vec<_> = fs::read_dir(folder.path().join("default/digits")).unwrap().flatten().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(sink.mark_suspect(&id, RevisionId::new(1, 1)).await.unwrap(), 1);
        assert_eq!(sink.mark_suspect(&id, RevisionId::new(1, 1)).await.unwrap(), 0);
    }
}

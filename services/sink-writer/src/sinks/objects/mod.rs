//! Objects of many rows, in a folder or a bucket: a sequence for each partition, in which every request stands once.
//!
//! The store needs to do two things: create an object only where none is, and read what was created. Names of data objects
//! are seen by readers from the moment that they are durable, with all their rows; nothing is renamed, replaced or taken away
//! later. See [`Sequence`] for why a row is never in two objects.

mod index;
mod known;
mod ndjson;
mod open;
mod parquet;
mod prove;

use super::Sink;
use crate::{
    domain::{Row, RowKey, Sequence, place},
    error::SinkError,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use known::Known;
use object_store::{
    Error as StoreError, GetResult, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    path::Path as ObjectPath,
};
use slipway_kernel::{
    DeploymentId, Proof, RevisionId,
    spec::{Compression, Layout, ObjectFormat},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How often a writer may lose the race for a number before it gives the rows back. Each time another one has appended, so the
/// sequence goes on; this many in a row are more writers than there are replicas.
const MAX_RACES: usize = 64;
/// Objects whose keys are read at once when a partition is opened: round trips, not bytes, are what takes the time.
const READ_AT_ONCE: usize = 16;
/// The largest object that is read for its keys. Ours are a few dozen MiB; a larger one under such a name is somebody else's.
const MAX_OBJECT: u64 = 1 << 30;

/// Objects of many rows.
pub(crate) struct ObjectsSink {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    layout: Layout,
    name: String,
    known: Mutex<Known>,
}

impl ObjectsSink {
    fn new(store: Arc<dyn ObjectStore>, prefix: ObjectPath, layout: Layout, name: String, max_keys: usize) -> Self {
        Self { store, prefix, layout, name, known: Mutex::new(Known::new(max_keys)) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, action: &'static str, source: StoreError) -> SinkError {
        SinkError::Object { sink: self.name.clone(), action, source }
    }

    /// The path of something below the prefix.
    fn path(&self, relative: &str) -> ObjectPath {
        ObjectPath::from_iter(self.prefix.parts().chain(ObjectPath::from(relative).parts()))
    }

    fn data_path(&self, partition: &str, number: u64) -> ObjectPath {
        self.path(&format!("{partition}/{}", place::object(number, self.layout)))
    }

    /// Beside the data, not among it: what lists a partition finds rows only.
    fn index_path(&self, partition: &str, number: u64) -> ObjectPath {
        let (deployment, times) = partition.split_at(partition.find("/date=").unwrap_or(0));
        self.path(&format!("{deployment}/_keys{times}/{}.keys", place::object(number, self.layout)))
    }

    /// Creates an object where none is; tells its entity tag, or nothing if there is one.
    async fn create(&self, path: &ObjectPath, content: Vec<u8>) -> Result<Option<String>, SinkError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(path, PutPayload::from(content), options).await {
            Ok(put) => Ok(Some(put.e_tag.unwrap_or_default())),
            Err(StoreError::AlreadyExists { .. }) => Ok(None),
            Err(error) => Err(self.failed("written", error)),
        }
    }

    async fn get(&self, path: &ObjectPath) -> Result<Option<GetResult>, SinkError> {
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    /// Appends what is not in the partition's sequence yet. Returns how many rows that was.
    async fn append(&self, partition: &str, rows: &[&Row]) -> Result<u64, SinkError> {
        let sequence = self.known().open(partition);
        let mut sequence = sequence.lock().await;
        let appended = self.append_to(partition, &mut sequence, rows).await;
        // After a failure too: what was read stays true.
        self.known().used(partition, sequence.len());
        appended
    }

    async fn append_to(&self, partition: &str, sequence: &mut Sequence, rows: &[&Row]) -> Result<u64, SinkError> {
        let keys: Vec<RowKey> = rows.iter().map(|row| RowKey::of(&row.request_id)).collect();
        for _ in 0..MAX_RACES {
            self.catch_up(partition, sequence).await?;
            let fresh = sequence.fresh(&keys);
            if fresh.is_empty() {
                return Ok(0);
            }
            let content = self.encoded(fresh.iter().map(|at| rows[*at].clone()).collect()).await?;
            let number = sequence.next();
            if let Some(e_tag) = self.create(&self.data_path(partition, number), content).await? {
                let keys: Vec<RowKey> = fresh.iter().map(|at| keys[*at]).collect();
                self.keep_keys(partition, number, &e_tag, &keys).await;
                sequence.learn(keys);
                return Ok(u64::try_from(fresh.len()).unwrap_or(u64::MAX));
            }
            // Another writer was first, or an earlier try of this one that was not told so. Its object is read by name.
            if let Some(keys) = self.keys_at(partition, number).await? {
                sequence.learn(keys);
            }
        }
        Err(SinkError::Contended { sink: self.name.clone(), races: MAX_RACES })
    }

    /// Reads the keys of what others have appended. The list only says how far to read: what it leaves out is found when a number
    /// turns out to be taken.
    async fn catch_up(&self, partition: &str, sequence: &mut Sequence) -> Result<(), SinkError> {
        let folder = self.path(partition);
        let listed = match sequence.next().checked_sub(1) {
            Some(last) => self.store.list_with_offset(Some(&folder), &self.data_path(partition, last)),
            None => self.store.list(Some(&folder)),
        };
        let numbers = listed.try_filter_map(|object| {
            let own =
                object.location.prefix_matches(&folder) && object.location.parts_count() == folder.parts_count() + 1;
            let number = object.location.filename().and_then(|name| place::number(name, self.layout));
            std::future::ready(Ok(number.filter(|_| own)))
        });
        let newest = numbers.try_fold(None, |newest, number| std::future::ready(Ok(newest.max(Some(number))))).await;
        let Some(newest) = newest.map_err(|error| self.failed("listed", error))? else { return Ok(()) };
        let unread = stream::iter(sequence.next()..=newest).map(|number| self.keys_at(partition, number));
        let mut unread = unread.buffered(READ_AT_ONCE);
        while let Some(keys) = unread.try_next().await? {
            // One that is not there was taken out by hand; its rows are gone, and its number is not used again.
            sequence.learn(keys.unwrap_or_default());
        }
        Ok(())
    }

    /// The keys of an object, from its index or else from its rows; none if there is no such object.
    async fn keys_at(&self, partition: &str, number: u64) -> Result<Option<Vec<RowKey>>, SinkError> {
        let path = self.data_path(partition, number);
        let meta = match self.store.head(&path).await {
            Ok(meta) => meta,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.failed("read", error)),
        };
        if let Some(e_tag) = &meta.e_tag
            && let Some(index) = self.get(&self.index_path(partition, number)).await?
        {
            let index = index.bytes().await.map_err(|error| self.failed("read", error))?;
            if let Some(keys) = index::read(&index, e_tag) {
                return Ok(Some(keys));
            }
        }
        let unreadable = |reason| SinkError::Unreadable { sink: self.name.clone(), object: path.to_string(), reason };
        if meta.size > MAX_OBJECT {
            return Err(unreadable(format!("{} bytes; at most {MAX_OBJECT} are read", meta.size)));
        }
        let Some(found) = self.get(&path).await? else { return Ok(None) };
        let e_tag = found.meta.e_tag.clone();
        let content = found.bytes().await.map_err(|error| self.failed("read", error))?;
        let layout = self.layout;
        let keys = blocking(move || keys(content, layout)).await.map_err(unreadable)?;
        if let Some(e_tag) = e_tag {
            self.keep_keys(partition, number, &e_tag, &keys).await;
        }
        Ok(Some(keys))
    }

    /// Keeps the keys of an object beside it. Without them its rows are read instead, so a failure is nobody's concern.
    async fn keep_keys(&self, partition: &str, number: u64, e_tag: &str, keys: &[RowKey]) {
        if e_tag.is_empty() {
            return;
        }
        let index = PutPayload::from(index::write(e_tag, keys));
        if let Err(error) = self.store.put(&self.index_path(partition, number), index).await {
            tracing::debug!(sink = self.name, partition, number, %error, "the keys of an object could not be kept beside it");
        }
    }

    /// Rows as the content of an object. What cannot be said in the format is a row's fault, not the store's.
    async fn encoded(&self, rows: Vec<Row>) -> Result<Vec<u8>, SinkError> {
        let layout = self.layout;
        let encoded = blocking(move || encode(&rows, layout)).await;
        encoded.map_err(|reason| SinkError::Row { sink: self.name.clone(), reason })
    }
}

fn encode(rows: &[Row], layout: Layout) -> Result<Vec<u8>, String> {
    match layout.format {
        ObjectFormat::Ndjson => ndjson::write(rows, layout.compression == Compression::Gzip),
        ObjectFormat::Parquet => parquet::write(rows, layout.compression == Compression::Snappy),
    }
}

fn keys(content: Bytes, layout: Layout) -> Result<Vec<RowKey>, String> {
    match layout.format {
        ObjectFormat::Ndjson => ndjson::keys(&content, layout.compression == Compression::Gzip),
        ObjectFormat::Parquet => parquet::keys(content),
    }
}

/// Runs what takes the processor for a while where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

#[async_trait]
impl Sink for ObjectsSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn prove(&self, deployment: &DeploymentId) -> Result<Proof, SinkError> {
        self.prove_store(deployment).await
    }

    async fn write(&self, rows: &[&Row]) -> Result<u64, SinkError> {
        let mut partitions: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            let partition = place::partition(row, self.layout.partition);
            let partition = partition.map_err(|reason| SinkError::Row { sink: self.name.clone(), reason })?;
            partitions.entry(partition).or_default().push(row);
        }
        let mut written = 0;
        for (partition, rows) in partitions {
            written += self.append(&partition, &rows).await?;
        }
        Ok(written)
    }

    /// Objects are not rewritten: a marker beside them names the revision, as their rows do.
    async fn mark_suspect(&self, deployment: &DeploymentId, revision: RevisionId) -> Result<u64, SinkError> {
        let path = self.path(&format!("{}/{}/_suspect-{revision}", deployment.namespace, deployment.name));
        let text = format!("results of revision {revision} are suspect: it was taken back\n");
        Ok(u64::from(self.create(&path, text.into_bytes()).await?.is_some()))
    }
}

#[cfg(test)]
mod tests;
